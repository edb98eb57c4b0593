"""Every input of the corpus, audited by a process of its own: its exit code, its peak of memory, and what it says."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.hostile import archives, crowds, documents, inside, layers, names, registries
from tests.hostile.case import Case
from tests.hostile.wire import LOGIN, RUNNING, keep_logins

CASES = (
    *archives.CASES,
    *crowds.CASES,
    *documents.CASES,
    *layers.CASES,
    *inside.CASES,
    *names.CASES,
    *registries.CASES,
)
IN_REPORTS = {case.name for case in (*crowds.CASES, *documents.CASES, *names.CASES)}
"""Cases whose texts come into reports: every format is written and read for them, for the others JSON alone."""
LIMIT_S, LIMIT_MB = 60, 400
MEASURE = str(Path(__file__).with_name("measure.py"))
REPORTS = ("report.json", "report.html", "report.sarif", "report.md", "report.xml", "gl-secret-detection-report.json")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


@dataclass(frozen=True)
class Ended:
    """How a process ended; `memory_mb` is the largest resident memory that it, or a child of it, had."""

    status: int
    out: str
    err: str
    memory_mb: float


def run(cli: Cli, *arguments: object) -> Ended:
    """Run a command; fail where it takes too long."""
    result = cli.folder.parent / "measured.json"
    done = subprocess.run(
        [sys.executable, "-S", MEASURE, str(LIMIT_S), result, sys.executable, "-m", "auditor", *map(str, arguments)],
        stdin=subprocess.DEVNULL, capture_output=True, env=cli.environment, cwd=cli.folder, check=True,
    )  # fmt: skip
    measured = json.loads(result.read_text())
    assert measured["status"] != -signal.SIGKILL, f"it takes more than {LIMIT_S} s"
    return Ended(measured["status"], done.stdout.decode(), done.stderr.decode(), measured["kibibytes"] / 1024)


@pytest.fixture(autouse=True)
def registries_end() -> Iterator[None]:
    """Close the registries of a case."""
    yield
    while RUNNING:
        RUNNING.pop().close()


def reports_of(case: Case) -> tuple[str, ...]:
    return REPORTS if case.name in IN_REPORTS else REPORTS[:1]


def audited(cli: Cli, case: Case) -> tuple[Ended, dict[str, Any] | None]:
    """Audit an input into all reports; return the JSON one where there is one. To registries there is a login."""
    source = cli.folder / "input"
    source.mkdir()
    target = case.build(source)
    keep_logins(Path(cli.environment["DOCKER_CONFIG"]))
    outputs = [word for name in reports_of(case) for word in ("-o", name)]
    done = run(cli, *(case.command or ("scan", *outputs)), target)
    path = cli.folder / "report.json"
    return done, json.loads(path.read_text()) if path.exists() else None


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_it_ends_as_the_table_says(cli: Cli, case: Case) -> None:
    outside = set(Path("/tmp").iterdir())  # where the inputs try to write
    done, report = audited(cli, case)
    print(f"{case.name}: {done.status}, {done.memory_mb:.0f} MB, {done.err.strip()}")
    assert done.status in ((0, 1) if case.status < 0 else (case.status,)), done.err
    assert done.memory_mb < min(case.memory_mb, LIMIT_MB)
    assert not {path for path in set(Path("/tmp").iterdir()) - outside if path.name in ("up", "absolute", "slipped")}
    assert_is_inert(done.out + done.err)
    assert "Traceback" not in done.err and "internal error" not in done.err
    for registry in RUNNING:
        assert not registry.leaks or not any(asked.has_login for asked in registry.asked)
    assert not {word for word in LOGIN if word in done.out + done.err}
    if case.command[:2] == ("registry", "scan"):
        assert case.says in done.out + done.err, done.out + done.err
        return
    if done.status == 2:
        assert report is None and done.out == ""
        assert len(done.err.splitlines()) == 1 and case.says in done.err, done.err
        return
    assert report is not None and done.err == ""
    reasons = [item["reason"] for item in report["skipped"]]
    assert case.says in "\n".join(reasons), reasons
    for name in reports_of(case) if not case.command else ():
        assert_is_inert((cli.folder / name).read_text())


def assert_is_inert(text: str) -> None:
    """Nothing but line ends acts on a terminal, and nothing turns the direction of writing."""
    found = _CONTROL.search(text)
    assert found is None, repr(text[max(0, found.start() - 60) : found.end() + 20])


def test_there_are_as_many_inputs_as_were_promised() -> None:
    assert len(CASES) >= 80 and len({case.name for case in CASES}) == len(CASES)
    assert all(case.memory_mb <= LIMIT_MB for case in CASES)
