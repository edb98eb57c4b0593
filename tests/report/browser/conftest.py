"""The report as a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.scan import Scanner
from tests.images import Built
from tests.report.browser import planted


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory, scanner: Scanner) -> Callable[..., Path]:
    """Write the report of images, once for the same name; return the page's path."""
    made: dict[str, Path] = {}

    def write(name: str, *images: Built) -> Path:
        if name not in made:
            made[name] = planted.page(tmp_path_factory.mktemp(name), scanner, *images)
        return made[name]

    return write
