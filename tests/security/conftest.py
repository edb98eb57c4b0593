from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Cli, started_nursery
from tests.security import places
from tests.security.places import Place


@pytest.fixture
def place(cli: Cli, tmp_path: Path) -> Place:
    return places.made(cli, tmp_path, started_nursery())
