"""What a scan costs is held against what it cost before: counts, not times."""

from __future__ import annotations

import json
from pathlib import Path

from auditor.detect.rules import Ruleset
from bench.count import LAST, counted

MOST = 1.1


def test_a_scan_costs_no_more_than_it_did(ruleset: Ruleset, cache: Path) -> None:
    last, now = json.loads(LAST.read_text()), counted(ruleset, cache)
    assert now.keys() == last.keys()
    dearer = {name: (last[name], count) for name, count in now.items() if count > last[name] * MOST}
    assert not dearer, f"{dearer}: find out why; where it is worth it, `make bench-count` keeps the new figures"
