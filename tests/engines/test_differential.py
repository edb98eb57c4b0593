"""The engine is the referee: random and hand-made images, loaded by Docker, and what image-audit says of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from auditor.detect.rules import Ruleset
from auditor.scan import Scanner
from tests.conftest import require
from tests.engines import cases
from tests.engines.checks import Judge
from tests.engines.docker import Engine
from tests.engines.generated import stack

_CHUNKS, _EACH, _TRIES = 19, 16, 200


@pytest.fixture(scope="module")
def judge(ruleset: Ruleset, cache: Path) -> Iterator[Judge]:
    require(os.getuid() == 0, "root, who mounts what the engine would")
    try:
        engine = Engine()
        driver = engine.driver()
    except docker.errors.DockerException:
        driver = ""
    require(driver == "overlay2", "a Docker engine with the driver overlay2")
    scanner = Scanner(ruleset, cache=cache)
    yield Judge(engine, scanner)
    scanner.close()
    engine.close()


@pytest.mark.parametrize("chunk", range(_CHUNKS))
def test_random_images_are_what_the_engine_shows(judge: Judge, chunk: int) -> None:
    loaded = 0
    for seed in range(chunk * _TRIES, (chunk + 1) * _TRIES):
        loaded += judge.check(f"random-{seed}", stack(seed))
        if loaded == _EACH:
            return
    pytest.fail(f"the engine loaded {loaded} of {_TRIES} images")


@pytest.mark.parametrize("name", cases.CASES)
def test_hand_made_images_are_what_the_engine_shows(judge: Judge, name: str) -> None:
    assert judge.check(f"made-{name}", cases.CASES[name])


def test_there_are_as_many_images_as_promised() -> None:
    assert _CHUNKS * _EACH >= 300 and len(cases.CASES) >= 60
