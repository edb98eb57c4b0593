"""Which images have a report in the store."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.core.entries import Skipped
from auditor.fleet.store import image_list, queries
from auditor.fleet.store.database import SweepStore
from auditor.scan import Scanner
from tests.fleet.stored import Stored, service
from tests.images import token


@pytest.mark.parametrize("reason", [None, "too large"])
def test_a_clean_image_has_a_report_only_if_something_was_not_read(
    tmp_path: Path, scanner: Scanner, reason: str | None
) -> None:
    clean, leaking = service("docs"), service("api", token(1))
    with closing(SweepStore(f"sqlite:///{tmp_path}/store.sqlite")) as store:
        stored = Stored(store, scanner, tmp_path / "images")
        content = {"team/docs": {"1": clean}, "team/api": {"1": leaking}}
        stored.sweep("2026-11-23", content)
        if reason is not None:
            key = ("team/docs", id(clean))
            stored._audits[key] = replace(stored._audits[key], skipped=(Skipped("/big", 0, reason),))
        sweep = stored.sweep("2026-11-24", content)
        api, docs = image_list.images(store, sweep)
        assert (api.has_report, docs.has_report) == (True, reason is not None)
        if reason is not None:
            assert queries.report(store, docs.id)["skipped"][0]["reason"] == reason
