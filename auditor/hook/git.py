"""Facts about a repository from the git command, which knows worktrees, bare repositories and core.hooksPath."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from auditor.core.dataclass import dataclass
from auditor.core.errors import UsageError

_NONE = frozenset("0")


@dataclass(frozen=True, slots=True)
class Hooks:
    """Folder that git runs hooks from. `shared` is set where other repositories run them too."""

    folder: Path
    shared: bool


def root(start: Path) -> Path | None:
    """Return the top of the worktree, or the folder of a bare repository; None outside any. Raises UsageError."""
    top = _git(start, "rev-parse", "--show-toplevel")
    found = top.stdout.strip() if top.returncode == 0 else ""
    if not found:
        bare = _git(start, "rev-parse", "--absolute-git-dir")
        found = bare.stdout.strip() if bare.returncode == 0 else ""
    return Path(found) if found else None


def hooks(start: Path) -> Hooks:
    """Return the hook folder. Raises UsageError outside a repository, or if core.hooksPath is no folder."""
    top = root(start)
    if top is None:
        reason = _git(start, "rev-parse", "--git-dir").stderr.strip().removeprefix("fatal: ")
        raise UsageError(f"{start}: {reason or 'not a git repository'}")
    # A relative core.hooksPath is relative to the folder in which hooks run: githooks(5). So git runs there.
    folder = top / _git(top, "rev-parse", "--git-path", "hooks").stdout.rstrip("\n")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: core.hooksPath is no folder, so git runs no hooks. Set another")
    scope = _git(top, "config", "--show-scope", "--get", "core.hooksPath").stdout.partition("\t")[0]
    return Hooks(folder, scope in ("global", "system"))


def deletes_only(lines: Iterable[str]) -> bool:
    """Whether a push only removes refs. `lines` are those that git passes to pre-push hooks."""
    updates = [line.split() for line in lines if line.strip()]
    return bool(updates) and all(len(update) == 4 and set(update[1]) == _NONE for update in updates)


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
        )
    except OSError as exc:
        raise UsageError(f"git: can't be run: {exc.strerror}. Install git, or correct PATH") from exc
