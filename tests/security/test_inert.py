"""Names of an image that are code to somebody, in all that commands print and write: they are text everywhere.

How a browser and Markdown take them: tests/report; the dashboard and its tables: tests/fleet/dashboard.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from auditor.core.text import printable
from tests.hostile.names import HOSTILE_NAMES, NAMES
from tests.hostile.test_corpus import assert_is_inert
from tests.nursery import Done
from tests.security.places import Place

REPORTS = ("r.json", "r.html", "r.sarif", "r.md", "r.xml", "gl-secret-detection-report.json")
LINES = (
    "scan names.tar -v", f"scan names.tar -q {' '.join(f'-o {name}' for name in REPORTS)}", "history names.tar",
    "history names.tar --format json", "recover names.tar /no/such/file", "hook run",
    "flatten names.tar -o flat.tar -v --proof proof.json", "scan names.tar -q --write-baseline b.yaml",
    "baseline audit b.yaml", "dockerfile Dockerfile", "dockerfile Dockerfile --format json",
)  # fmt: skip
_COMMANDS = re.compile(r"##(?:vso)?\[|^\s*::(?:error|warning)", re.MULTILINE | re.IGNORECASE)


@pytest.fixture
def names(place: Place) -> Place:
    """A place with an image, and a build context, of hostile names."""
    HOSTILE_NAMES.docker_archive(place.cli.folder / "names.tar")
    (place.cli.folder / ".image-audit.yaml").write_text("images: [names.tar]\ndockerfiles: [Dockerfile]\n")
    for number, name in enumerate(NAMES):
        folder = place.cli.folder / f"{number}{name.replace('/', '_')}"[:100]
        folder.mkdir()
        (folder / ".env").write_text("")
    return place


def texts(place: Place, done: list[Done]) -> dict[str, str]:
    """All that was printed and written, by where."""
    files = [*(place.cli.folder / name for name in REPORTS), *(place.cli.folder / n for n in ("proof.json", "b.yaml"))]
    found = {path.name: path.read_text() for path in files}
    for number, one in enumerate(done):
        found |= {f"{LINES[number]}: output": one.out.decode(), f"{LINES[number]}: errors": one.err.decode()}
    return found


def test_nothing_acts_on_a_terminal_or_in_the_log_of_a_build_server(names: Place) -> None:
    done = [names.run(line, stdin=b"k\n" * 99) for line in LINES]
    assert all(one.status in (0, 1, 2) and b"internal error" not in one.err for one in done), done
    found = texts(names, done)
    for text in found.values():
        assert_is_inert(text)
    lines = [text for where, text in found.items() if where.endswith(("output", "errors")) and "json" not in where]
    assert [text for text in lines if _COMMANDS.search(text)] == []
    ET.parse(Path(names.cli.folder / "r.xml"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("##vso[task.setvariable]x", "#\\x23vso[task.setvariable]x"),
        ("##[error]x", "#\\x23[error]x"),
        ("::error file=a::x", ":\\x3aerror file=a::x"),
        ("::Add-Mask::x", ":\\x3aAdd-Mask::x"),
        ("std::string", "std::string"),
        ("## heading", "## heading"),
    ],
)
def test_commands_of_build_servers_are_told_from_other_texts(text: str, shown: str) -> None:
    assert printable(text) == shown
