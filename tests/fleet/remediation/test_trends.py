"""Trends of open secrets: in the order of the sweeps, without acknowledged secrets and other repositories."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from auditor.fleet.remediation.trends import open_secret_trend
from auditor.fleet.store import queries, retention
from auditor.fleet.store.acknowledgements import save_acknowledgement
from auditor.fleet.store.database import SweepStore
from auditor.scan import Scanner
from tests.fleet.stored import OWNED, Stored, service
from tests.images import token


@pytest.fixture
def stored(tmp_path: Path, scanner: Scanner) -> Iterator[Stored]:
    with closing(SweepStore(f"sqlite:///{tmp_path}/store.sqlite")) as store:
        yield Stored(store, scanner, tmp_path / "images")


def by_owner(stored: Stored) -> list[dict[str, int]]:
    return [point.by_owner for point in open_secret_trend(stored.store, queries.sweeps(stored.store), OWNED)]


def test_a_clock_that_goes_back_does_not_change_the_order(stored: Stored) -> None:
    old, new = service("old", token(1)), service("new", token(2))
    stored.sweep("2026-11-24", {"shop/a": {"1": old}})
    stored.sweep("2026-11-20", {"shop/a": {"1": old}, "team/b": {"1": new}})
    stored.sweep("2026-11-25", {"shop/a": {"1": old}, "team/b": {"1": new}})
    assert by_owner(stored) == [{"shop": 1}, {"shop": 1, "web": 1}, {"shop": 1, "web": 1}]


def test_a_secret_that_was_gone_and_returned_counts_from_its_first_sight(stored: Stored) -> None:
    leaking, clean = service("a", token(1)), service("clean")
    for day, built in (("2026-11-01", clean), ("2026-11-02", leaking), ("2026-11-03", clean), ("2026-11-04", leaking)):
        stored.sweep(day, {"shop/a": {"1": built}})
    assert by_owner(stored) == [{}, *[{"shop": 1}] * 3]


def test_a_secret_first_seen_by_a_deleted_sweep_counts_in_later_ones_alone(stored: Stored) -> None:
    old, new = service("old", token(1)), service("new", token(2))
    first = stored.sweep("2026-11-01", {"shop/a": {"1": old}}, filter_text="--repos shop/*")
    stored.sweep("2026-11-02", {"shop/a": {"1": old}, "team/b": {"1": new}})
    last = stored.sweep("2026-11-03", {"shop/a": {"1": old}, "team/b": {"1": new}})
    assert retention.delete_old_sweeps(stored.store, "2026-11-03T00:00:00Z") == 1
    assert [row.id for row in queries.sweeps(stored.store)] == [first.id, last.id]
    assert by_owner(stored) == [{"shop": 1}, {"shop": 1, "web": 1}]


def test_an_acknowledged_secret_is_not_open(stored: Stored) -> None:
    sweep = stored.sweep("2026-11-24", {"shop/a": {"1": service("a", token(1), token(2))}})
    secret = queries.findings(stored.store, sweep.id)[0].secret
    save_acknowledgement(stored.store, secret, "vendor key", "ada", "2026-11-24T07:00:00Z", None)
    (point,) = open_secret_trend(stored.store, [sweep], OWNED)
    assert (point.by_owner, point.by_age) == ({"shop": 1}, {"under a day": 1})


def test_other_repositories_are_left_out(stored: Stored) -> None:
    content = {"shop/a": {"1": service("a", token(1))}, "team/b": {"1": service("b", token(1), token(2))}}
    sweep = stored.sweep("2026-11-24", content)
    (point,) = open_secret_trend(stored.store, [sweep], OWNED, {"shop/a"})
    assert (point.by_owner, point.by_age) == ({"shop": 1}, {"under a day": 1})
