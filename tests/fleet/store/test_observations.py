"""Observations: repositories that have not changed, and the last sweep that saw their tags and images."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from auditor.fleet.store import queries, retention
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore
from tests.fleet.conftest import Sweeps
from tests.fleet.planted import Remote, application
from tests.images import token

pytestmark = pytest.mark.registry
LATER = "2027-01-01T00:00:00Z"


def observed(store: SweepStore) -> list[tuple[int, int]]:
    """Sweeps, with the observation that each refers to."""
    return [tuple(row) for row in store.read(lambda c: c.execute(select(t.seen).order_by(t.seen.c.sweep)).all())]


def last_seen(store: SweepStore, table: str) -> list[int]:
    own = t.metadata.tables[table].c
    return sorted(store.read(lambda c: c.execute(select(own.last_seen)).scalars().all()))


@pytest.fixture
def remote(address: str) -> Remote:
    """One repository; tag 1 leaks, tag 2 is clean."""
    made = Remote(address)
    made.push("team/app", "1", application(0, "one", token(1)))
    made.push("team/app", "2", application(0, "two", None))
    return made


def test_later_sweeps_share_the_observation_until_the_repository_changes(
    sweeps_in: Sweeps, address: str, remote: Remote
) -> None:
    store = sweeps_in.store
    first, again = sweeps_in(address), sweeps_in(address)
    assert again["images"] == [{**image, "new": 0} for image in first["images"]]
    assert observed(store) == [(2, 1)]
    assert (last_seen(store, "tag"), last_seen(store, "image"), last_seen(store, "finding")) == ([1, 1], [1, 1], [2])
    root = remote.push("team/app", "1", application(0, "one", token(1)))
    remote.delete("team/app", root["digest"])
    assert [image["tags"] for image in sweeps_in(address)["images"]] == [["2"]]
    assert observed(store) == [(3, 2)]
    assert (last_seen(store, "tag"), last_seen(store, "image"), last_seen(store, "finding")) == ([2, 3], [2, 3], [2])


def test_a_sweep_with_a_filter_has_observations_of_its_own(sweeps: Sweeps, address: str, remote: Remote) -> None:
    sweeps(address), sweeps(address, tags=("2",))
    assert [row.counts["tags"] for row in queries.sweeps(sweeps.store)] == [2, 1]
    remote.push("team/app", "1", application(0, "one", token(1)))
    moved = remote.push("team/app", "2", application(0, "moved", token(2)))
    assert [image["digest"] for image in sweeps(address, tags=("2",))["images"]] == [moved["digest"]]
    remote.push("team/app", "2", application(0, "two", None))
    found = sweeps(address)
    assert [image["tags"] for image in found["images"]] == [["1"], ["2"]], "as the first sweep saw them"
    assert [image["digest"] for image in found["withdrawn"]] == [moved["digest"]]


def test_withdrawn_images_of_an_unchanged_repository_are_asked_for_again(
    sweeps_in: Sweeps, address: str, remote: Remote
) -> None:
    sweeps_in(address)
    root = remote.push("team/app", "1", application(0, "one", token(1)))
    remote.push("team/app", "1", application(0, "other", None))
    for _ in range(2):
        assert [image["pullable"] for image in sweeps_in(address)["withdrawn"]] == [True]
    assert len({number for _, number in observed(sweeps_in.store)}) == 1
    remote.delete("team/app", root["digest"])
    assert [image["pullable"] for image in sweeps_in(address)["withdrawn"]] == [False]
    assert queries.sweeps(sweeps_in.store)[-1].counts["gone"] == 1
    assert sweeps_in(address)["withdrawn"] == []


def test_retention_keeps_what_a_later_sweep_saw_unchanged(sweeps_in: Sweeps, address: str, remote: Remote) -> None:
    for _ in range(3):
        sweeps_in(address)
    assert retention.delete_old_sweeps(sweeps_in.store, LATER) == 2
    found = sweeps_in(address)
    assert found["layers"]["read"] == 0 and [image["new"] for image in found["images"]] == [0, 0]
    sweeps_in(address, tags=("1",))
    sweeps_in(address, tags=("1",))
    assert retention.delete_old_sweeps(sweeps_in.store, LATER) == 2
    assert [row.id for row in queries.sweeps(sweeps_in.store)] == [4, 6]
    assert len(sweeps_in(address)["images"]) == 2


def test_an_image_that_is_audited_again_each_time_is_never_taken_for_unchanged(
    sweeps: Sweeps, address: str, remote: Remote
) -> None:
    sweeps(address, fresh=True)
    assert sweeps(address, fresh=True)["layers"]["read"] == sweeps(address)["layers"]["unique"]
    assert [image["new"] for image in sweeps(address)["images"]] == [0, 0]
