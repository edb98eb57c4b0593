"""What a page's reader has at hand: an engine of its own, and services in the place of names that are examples."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import require

SETUPS = {path.stem: path for path in sorted((Path(__file__).parent / "setups").glob("*.sh"))}
SERVICES = ("registry", "hooks", "database")
# No network in containers: builds say so themselves, else the builder looks for a bridge.
_DOCKER = '#!/bin/sh\n[ "$1" = build ] && { shift; set -- build --network none "$@"; }\nexec %s "$@"\n'
_FORKED = Path(__file__).with_name("forked.py")


class Engine:
    """A Docker engine with a folder and a socket of its own, so that no image of this machine is touched."""

    def __init__(self, folder: Path) -> None:
        require(os.geteuid() == 0 and shutil.which("dockerd") is not None, "root, to start a Docker engine,")
        self._folder, self.address = folder, f"unix://{folder}/engine.sock"
        (folder / "daemon.json").write_text("{}")
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false", "-H", self.address,
                    "--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid",
                    "--config-file", folder / "daemon.json",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        while self._docker("info").returncode:
            assert self._process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)

    def _docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["docker", "-H", self.address, *arguments], capture_output=True, text=True, check=False)

    def clear(self) -> None:
        """Remove all containers, and all images but the one to build upon."""
        if containers := self._docker("ps", "-aq").stdout.split():
            self._docker("rm", "-f", *containers)
        images = self._docker("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").stdout.splitlines()
        names = [line.split()[0].replace("<none>:<none>", line.split()[1]) for line in images]
        if gone := [name for name in names if name != "busybox:latest"]:
            self._docker("rmi", "-f", *gone)

    def close(self) -> None:
        """Stop it, and remove what it kept."""
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder)


@dataclass(frozen=True)
class Names:
    """Names in pages that stand for the reader's own, and the addresses of the services that answer in their place."""

    registry: str | None = None
    hooks: str | None = None
    database: str | None = None

    def stand(self, text: str) -> str:
        """The text with addresses of this machine."""
        if self.registry:
            text = text.replace(_REGISTRY, self.registry)
        if self.hooks:
            text = text.replace(_HOOKS, self.hooks)
        text = text.replace(_SCHEDULER, "tcp://127.0.0.1:")
        return _DATABASE.sub(self.database, text) if self.database else text

    def named(self, text: str) -> str:
        """What a command printed, with the names again."""
        for address, name in ((self.registry, _REGISTRY), (self.hooks, _HOOKS)):
            text = text.replace(address, name) if address else text
        return text


_REGISTRY, _HOOKS = "registry.example.com", "https://hooks.example.com"
_SCHEDULER = "tcp://scheduler:"
_DATABASE = re.compile(r"postgresql://\S*?db\.example\.com/\w+")


def docker_command(folder: Path) -> None:
    """Write the docker command of the reader."""
    (folder / "docker").write_text(_DOCKER % shutil.which("docker"))
    (folder / "docker").chmod(0o755)


def forked_command(folder: Path, address: str) -> None:
    """Write an `image-audit` that the nursery at this address forks: it takes a third of the processor time."""
    words = [sys.executable, "-I", "-S", str(_FORKED), address]
    (folder / "image-audit").write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    (folder / "image-audit").chmod(0o755)
