"""A git repository in which files were committed with secrets and deleted again, as an image carries it along."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path


def repository(files: Mapping[str, bytes], *, packed: bool) -> dict[str, bytes]:
    """Return the files of a `.git`, whose history holds `files`; packed, with deltas, or one object a file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _git(folder, "init", "-q")
        for step, cut in enumerate((0.5, 1.0)):
            for path, data in files.items():
                _write(folder / path, _grown(data, cut))
            _commit(folder, step)
        for path in files:
            (folder / path).unlink()
        _write(folder / "README", b"nothing to see\n")
        _commit(folder, 2)
        if packed:
            _git(folder, "gc", "-q", "--aggressive", "--prune=now")
        kept = (path for path in sorted((folder / ".git").rglob("*")) if path.is_file() and "hooks" not in path.parts)
        return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def _grown(data: bytes, cut: float) -> bytes:
    """Return a file as it was before its last lines came, or whole; long enough for a delta to pay."""
    lines = data.splitlines(keepends=True)
    filler = b"".join(b"# setting %d is described on page %d\n" % (n, n * 7) for n in range(40))
    return b"".join(lines[: int(len(lines) * cut)]) + filler


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _commit(folder: Path, step: int) -> None:
    _git(folder, "add", "-A")
    _git(folder, "commit", "-qm", f"step {step}", when=step)


def _git(folder: Path, *words: str, when: int = 0) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        env |= {
            f"GIT_{who}_NAME": "lab",
            f"GIT_{who}_EMAIL": "lab@example.invalid",
            f"GIT_{who}_DATE": f"{1_700_000_000 + when} +0000",
        }
    subprocess.run(["git", *words], cwd=folder, env=env, check=True, capture_output=True)
