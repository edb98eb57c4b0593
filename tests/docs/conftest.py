"""What a reader needs to follow a page: an engine without images, a folder, and the services that the page asks for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import started_nursery
from tests.docs.page import Page
from tests.docs.reader import Done, read
from tests.docs.services import SETUPS, Engine, Names, docker_command, forked_command
from tests.fleet.conftest import postgres
from tests.fleet.receiver import Receiver

__all__ = ["postgres"]  # a fixture of another folder
STARTED = ("docs/tutorial.md",)
"""Pages that start image-audit as its users do; those of others are forked."""


@pytest.fixture(scope="session")
def own_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("engine")
    engine = Engine(folder)
    run_setup("busybox", tmp_path_factory.mktemp("busybox"), {"DOCKER_HOST": engine.address, "PATH": "/usr/bin:/bin"})
    yield engine
    engine.close()


def run_setup(name: str, folder: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-eu", str(SETUPS[name])], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{SETUPS[name].name}: {done.stderr}"


@dataclass
class Reader:
    """Follows pages in a folder of its own."""

    folder: Path
    programs: Path
    environment: dict[str, str]
    start: Callable[[tuple[str, ...]], Names]

    def __call__(self, page: Page) -> tuple[list[Done], Names]:
        if page.name not in STARTED:
            forked_command(self.programs, started_nursery().address)
        names = self.start(page.setups)
        work = self.folder / "work"
        work.mkdir()
        environment = self.environment | ({"REGISTRY": names.registry} if names.registry else {})
        for name in page.setups:
            if name in SETUPS:
                run_setup(name, work, environment)
        return read(page, self.folder, self.environment, names.stand), names


@pytest.fixture
def reader(
    request: pytest.FixtureRequest, tmp_path: Path, environment: dict[str, str], own_engine: Engine
) -> Iterator[Reader]:
    programs, receivers = tmp_path / "bin", list[Receiver]()
    programs.mkdir()
    docker_command(programs)

    def start(setups: tuple[str, ...]) -> Names:
        if "hooks" in setups:
            receivers.append(Receiver())
        return Names(
            request.getfixturevalue("start_registry")() if "registry" in setups else None,
            receivers[0].url.removesuffix("/hook") if receivers else None,
            request.getfixturevalue("postgres").new_database() if "database" in setups else None,
        )

    del environment["PYTHONDONTWRITEBYTECODE"]  # no page limits the size of files
    environment |= {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{environment['PATH']}",
        "DOCKER_HOST": own_engine.address,
        "COLUMNS": "80",
        "TERM": "dumb",
        # pytest removes old folders of other runs when it ends, which takes minutes after a large run.
        "PYTEST_DEBUG_TEMPROOT": str(tmp_path),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "x@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    yield Reader(tmp_path, programs, environment, start)
    for receiver in receivers:
        receiver.close()
    own_engine.clear()
