"""Valid but dear content costs what it did, no more for its size than twice as much of it, and no unknown C function.

What is counted is said in bench/work.py; `python -m tests.hostile.test_work --write` keeps new figures in work.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from auditor.core.finding import Confidence
from auditor.detect.detect_secrets_plugins import plugin_rules
from auditor.detect.rule_cache import cached_builtin_rules
from auditor.detect.rules import Ruleset, select
from auditor.findings.selection import Selection
from auditor.pipeline import Request, audit
from auditor.report import json_report
from auditor.report.render_options import RenderOptions
from auditor.scan import Scanner
from bench.work import Work, counted
from tests.hostile import key_material
from tests.hostile.expensive import CASES, Case
from tests.images import image, layer

LAST = Path(__file__).with_name("work.json")
SLACK = 1.3
"""How much more work than is kept may be done: versions of Python count a little differently."""
GROWTH = 2.3
FREE, MOST = 1_500_000, 3_000_000
"""Calls and units for a file with as many findings as a file may have, and for each megabyte of a layer: a second."""


def work_of(
    case: Case, size: int, folder: Path, ruleset: Ruleset, cache: Path, *, warm: bool = False
) -> tuple[Work, float]:
    """The work of an audit and its report, and the megabytes of the layer. `warm`: a larger one ran before."""
    data = layer(dict(case.make(size)))
    path = image(data).docker_archive(folder / f"{size}.tar")

    def run() -> None:
        scanner = Scanner(ruleset, 1, cache=cache)
        try:
            audits = audit(str(path), scanner, Request(selection=Selection(min_confidence=Confidence.LOW)))
            json_report.render(audits, RenderOptions("2026-01-01T00:00:00Z"))
        finally:
            scanner.close()

    if not warm:
        run()  # compiles expressions, and imports what is imported late
    return counted(run), len(data) / 1e6


def test_the_cases_have_names_of_their_own_and_kept_figures() -> None:
    assert {case.name for case in CASES} == json.loads(LAST.read_text()).keys() and len(CASES) >= 25


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_dear_content_costs_what_it_did(case: Case, tmp_path: Path, ruleset: Ruleset, cache: Path) -> None:
    twice, _ = work_of(case, 2 * case.small, tmp_path, ruleset, cache)
    once, size = work_of(case, case.small, tmp_path, ruleset, cache, warm=True)
    print(f"{case.name}: {once.total} in {size:.2f} MB, {twice.total} for twice as much")
    assert once.unknown == (), "C functions of unknown cost: bound what they are given, then list their module"
    assert once.total <= SLACK * json.loads(LAST.read_text())[case.name]
    assert twice.total <= GROWTH * once.total
    assert once.total <= FREE + MOST * size


def test_loading_a_key_is_seen_though_it_is_one_call() -> None:
    key = key_material.dsa(1024)
    work = counted(lambda: load_der_private_key(key, None))
    assert work.calls + work.units < 20
    assert [name.rpartition(".")[2] for name in work.unknown] == ["load_der_private_key"]


def main() -> None:
    """Keep the figures of this machine."""
    ruleset = select((*cached_builtin_rules(None), *plugin_rules()))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        figures = {case.name: work_of(case, case.small, root, ruleset, root)[0].total for case in CASES}
    LAST.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__" and "--write" in sys.argv:
    main()
