"""Real git repositories, and somebody else's hooks in them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import Cli, require

SEEN = 'printf "%s %s\\n" "$1" "$2" > "{seen}"; cat >> "{seen}"; exit {status}\n'


class Repository:
    """A repository with one commit, and a bare one that it pushes to."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        require(shutil.which("git") is not None, "git")
        self.cli, self.folder, self.remote = cli, folder, folder.parent / "remote.git"
        cli.environment |= {
            "PATH": f"{Path(sys.executable).parent}:{cli.environment['PATH']}",
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_{what}": "x@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        self.git("init", "-q", "-b", "main", folder)
        self.git("init", "-q", "--bare", self.remote)
        self.git("remote", "add", "origin", self.remote)
        self.commit("readme", "one\n")

    def git(self, *arguments: object, at: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *map(str, arguments)],
            cwd=at or self.folder,
            env={**self.cli.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def commit(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        self.git("add", name)
        assert self.git("commit", "-q", "-m", name).returncode == 0

    def push(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.git("push", "-q", "origin", *(arguments or ("main",)), at=None, **environment)

    @property
    def hook(self) -> Path:
        return self.folder / ".git/hooks/pre-push"

    def write_hook(self, text: str, mode: int = 0o755) -> Path:
        """Write a hook of somebody else's; return the file that it notes what it sees in."""
        seen = self.folder.parent / "seen"
        self.hook.parent.mkdir(exist_ok=True)
        self.hook.write_text("#!/bin/sh\n" + text.replace("{seen}", str(seen)))
        self.hook.chmod(mode)
        return seen
