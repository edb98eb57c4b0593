"""Retention: stored results that are used again, and rows that are deleted."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from auditor.findings.selection import Selection
from auditor.fleet.store import image_list, ledger, queries, retention
from auditor.fleet.store.lease import hold_lease, sweep_lease_name
from tests.fleet.conftest import Sweeps
from tests.fleet.planted import Content, Remote, application
from tests.images import OCI, descriptor, gzipped, layer, token

pytestmark = pytest.mark.registry
Filled = tuple[str, Content]
LATER = "2027-01-01T00:00:00Z"


def test_another_selection_audits_again_and_reads_nothing(sweeps: Sweeps, filled: Filled) -> None:
    sweeps(filled[0])
    found = sweeps(filled[0], selection=Selection(exclude_paths=("/app/.env",)))
    assert not any(item["by_severity"] for item in found["images"]) and found["layers"]["read"] == 0
    assert sum(item["gone"] for item in found["images"]) == 0, "the images are the same"
    again = sweeps(filled[0])
    assert sum(item["new"] for item in again["images"]) == 0
    assert sum(item["by_severity"].get("critical", 0) for item in again["images"]) == 20


def test_without_the_cache_every_layer_is_read_again(sweeps: Sweeps, filled: Filled) -> None:
    first = sweeps(filled[0])
    assert sweeps(filled[0], fresh=True)["layers"] == first["layers"]


def test_the_records_in_the_store_are_bounded(sweeps: Sweeps, filled: Filled) -> None:
    found = sweeps(filled[0], record_bytes=4096)
    assert found["failed"] == [] and found["layers"]["read"] == found["layers"]["unique"]
    with closing(sqlite3.connect(str(sweeps.store.url.database))) as database:
        (size,) = database.execute("SELECT sum(size) FROM record").fetchone()
    assert 0 < size <= 4096
    assert sweeps(filled[0])["layers"]["read"] == 0


def test_old_sweeps_are_deleted_and_the_newest_stays(sweeps_in: Sweeps, address: str) -> None:
    remote = Remote(address)
    root = remote.push("team/app", "1", application(0, "one", token(1)))
    sweeps_in(address)
    remote.delete("team/app", root["digest"])
    remote.push("team/app", "2", application(0, "two", token(2)))
    found = sweeps_in(address)
    assert retention.delete_old_sweeps(sweeps_in.store, LATER) == 1
    (left,) = queries.sweeps(sweeps_in.store)
    assert left.id == 2
    assert len(image_list.images(sweeps_in.store, left)) == len(found["images"]) == 1
    assert sweeps_in(address)["layers"]["read"] == 0


def test_layers_of_an_image_that_failed_are_not_read_again(sweeps_in: Sweeps, address: str) -> None:
    remote, built = Remote(address), application(0, "bad", None)
    remote.push("team/app", "good", application(1, "good", token(1)))
    sweeps_in(address)
    data = gzipped(layer({"good": b"x"}))
    remote.blob("team/app", data)
    remote.blob("team/app", built.config_bytes)
    document = {
        "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
        "config": descriptor(built.config_bytes, OCI + "config.v1+json"),
        "layers": [descriptor(data, OCI + "layer.v1.tar+gzip")] * 2,
    }  # fmt: skip
    remote.manifest("team/app", "bad", document)
    found = sweeps_in(address)
    assert len(found["failed"]) == 1 and found["layers"]["read"] == 1
    assert retention.delete_old_sweeps(sweeps_in.store, sweeps_in.clock()) == 1
    assert sweeps_in(address)["layers"]["read"] == 0


def test_rows_of_a_running_sweep_are_not_deleted(sweeps_in: Sweeps, address: str) -> None:
    store, remote = sweeps_in.store, Remote(address)
    remote.push("team/app", "1", application(0, "one", token(1)))
    sweeps_in(address), sweeps_in(address)
    with hold_lease(store, sweep_lease_name("other", "scope"), "other is being swept"):
        other = ledger.begin_sweep(store, "other", "scope", "rules", "2026-01-01T00:00:00Z")
        ledger.save_downloads(store, other, [("sha256:" + "0" * 64, "sha256:" + "1" * 64, 7)])
        assert retention.delete_old_sweeps(store, LATER) == 1
        assert ledger.was_downloaded(store, other, "sha256:" + "0" * 64)
        ledger.save_failures(store, other, [("team/web", "lost")])
        ledger.finish_sweep(store, other, LATER, {})
    assert [row.registry for row in queries.sweeps(store)] == [address, "other"]


def test_a_killed_sweep_that_never_continued_is_deleted(sweeps_in: Sweeps, address: str) -> None:
    killed = ledger.begin_sweep(sweeps_in.store, address, "scope", "rules", "2026-01-01T00:00:00Z")
    Remote(address).push("team/app", "1", application(0, "one", token(1)))
    sweeps_in(address)
    assert retention.delete_old_sweeps(sweeps_in.store, "2026-02-01T00:00:00Z") == 1
    again = ledger.begin_sweep(sweeps_in.store, address, "scope", "rules", LATER)
    assert again.id != killed.id and not again.resumed
