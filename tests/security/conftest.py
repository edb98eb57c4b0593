from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.nursery import Nursery
from tests.security import places
from tests.security.places import Place


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def place(cli: Cli, tmp_path: Path, nursery: Nursery) -> Place:
    return places.made(cli, tmp_path, nursery)
