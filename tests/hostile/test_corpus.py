"""Every input of the corpus, audited by a process of its own: its exit code, its peak of memory, and what it says.

The processes are forked from a small one, which saves the imports.
"""

from __future__ import annotations

import atexit
import functools
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.hostile import archives, crowds, documents, inside, layers, names, registries
from tests.hostile.case import Case
from tests.hostile.wire import LOGIN, RUNNING, keep_logins
from tests.nursery import Nursery

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
FRESH = (
    "an honest registry", "names that act", "noise", "gzip that is cut", "an index 100,000 deep", "a database of noise",
    "3,000 secrets in a file", "a layer that comes slowly", "a list of pages without end", "an upload to metadata",
)  # fmt: skip
"""Cases that run in a process that imports the program and takes it apart, too: one or two of each way to end."""
LIMIT_S, LIMIT_MB = 60, 400
LIBRARIES_MB = 8
"""Pages of libraries that a process has mapped when it has imported the program; a forked one maps what it calls."""
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


Run = Callable[..., Ended]
"""Runs a command; fails where it takes too long."""


def fresh(cli: Cli, *arguments: object) -> Ended:
    """Run a command as users do: in a process that imports the program."""
    result = cli.folder.parent / "measured.json"
    done = subprocess.run(
        [sys.executable, "-S", MEASURE, str(LIMIT_S), result, sys.executable, "-m", "auditor", *map(str, arguments)],
        stdin=subprocess.DEVNULL, capture_output=True, env=cli.environment, cwd=cli.folder, check=True,
    )  # fmt: skip
    measured = json.loads(result.read_text())
    assert measured["status"] != -signal.SIGKILL, f"it takes more than {LIMIT_S} s"
    return Ended(measured["status"], done.stdout.decode(), done.stderr.decode(), measured["kibibytes"] / 1024)


@functools.cache
def small_nursery() -> Nursery:
    """A nursery with the modules of every scan, and no more: its memory counts as that of each command."""
    made = Nursery("auditor.cli.scan", "auditor.scan.scan_pool", "auditor.report.table")
    atexit.register(made.close)
    return made


def forked(cli: Cli, *arguments: object) -> Ended:
    """Run a command in a process that is forked from a small one."""
    words = [str(word) for word in arguments]
    done = small_nursery().run(words, cli.environment, cli.folder, umask=0o022, watched=False, limit_s=LIMIT_S)
    return Ended(done.status, done.out.decode(), done.err.decode(), done.memory_mb + LIBRARIES_MB)


@pytest.fixture(autouse=True)
def registries_end() -> Iterator[None]:
    """Close the registries of a case."""
    yield
    while RUNNING:
        RUNNING.pop().close()


def reports_of(case: Case) -> tuple[str, ...]:
    return REPORTS if case.name in IN_REPORTS else REPORTS[:1]


def audited(cli: Cli, case: Case, run: Run) -> tuple[Ended, dict[str, Any] | None]:
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
    check(cli, case, forked)


@pytest.mark.parametrize("name", FRESH)
def test_it_ends_so_where_it_imports_the_program(cli: Cli, name: str) -> None:
    (case,) = (case for case in CASES if case.name == name)
    check(cli, case, fresh)


def test_a_forked_process_is_measured_like_a_fresh_one(cli: Cli) -> None:
    target = names.HOSTILE_NAMES.docker_archive(cli.folder / "image.tar")
    alone, other = (run(cli, "scan", "--no-cache", "-o", "report.json", target).memory_mb for run in (fresh, forked))
    assert abs(other - alone) < LIBRARIES_MB


def check(cli: Cli, case: Case, run: Run) -> None:
    """Audit an input, and compare with the table."""
    outside = set(Path("/tmp").iterdir())  # where the inputs try to write
    done, report = audited(cli, case, run)
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
