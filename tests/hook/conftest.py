from __future__ import annotations

import pytest

from tests.conftest import Cli
from tests.hook.repository import Repository


@pytest.fixture
def repository(cli: Cli) -> Repository:
    return Repository(cli, cli.folder)
