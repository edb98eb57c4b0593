"""Transient failures: the next sweep repeats the read, and no finding is gone meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from auditor.core.digests import DiffID
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.layer_records import StoredRecords
from auditor.store.layer_store import Blob
from tests.fleet.conftest import Sweeps
from tests.fleet.planted import Remote
from tests.images import image, layer
from tests.scan.test_transient import FILES, killed

pytestmark = pytest.mark.registry
PLANTED = image(layer({"etc/motd": "hello\n"}), layer({"a.7z": FILES["a.7z"]}))


def one(document: dict[str, Any]) -> dict[str, Any]:
    (found,) = document["images"]
    return {"critical": found["by_severity"].get("critical", 0), "gone": found["gone"]}


def failing(sweeps: Sweeps, address: str, **more: Any) -> dict[str, Any]:
    """Sweep while each process of a reader is killed."""
    with pytest.MonkeyPatch.context() as patch:
        killed(patch)
        return sweeps(address, **more)


def test_the_next_sweep_reads_the_layer_and_audits_the_image_again(sweeps_in: Sweeps, address: str) -> None:
    Remote(address).push("team/app", "1", PLANTED)
    first = failing(sweeps_in, address)
    assert one(first)["critical"] == 0 and first["layers"]["read"] == 2
    second = sweeps_in(address)
    assert one(second)["critical"] == 1 and second["layers"]["read"] == 1
    third = sweeps_in(address)
    assert one(third)["critical"] == 1 and third["layers"]["read"] == 0


def test_no_finding_is_gone_after_a_transient_failure(sweeps_in: Sweeps, address: str) -> None:
    Remote(address).push("team/app", "1", PLANTED)
    assert one(sweeps_in(address))["critical"] == 1
    failed = one(failing(sweeps_in, address, fresh=True))
    assert failed["critical"] == 1 and failed["gone"] == 0
    assert one(sweeps_in(address))["critical"] == 1


def test_a_record_of_the_store_is_believed_only_where_it_was_written_with_the_key(url: str) -> None:
    from contextlib import closing

    from sqlalchemy import text

    with closing(SweepStore(url)) as store:
        records = StoredRecords(store)
        records.keep_record("key", b"data")
        records.keep_record("other", b"clean")
        records.keep_blob("blob", Blob(7, DiffID("sha256:" + "b" * 64)))
        assert records.record("key") == b"data" and records.blob("blob") == Blob(7, DiffID("sha256:" + "b" * 64))
        forged = "SELECT data, size FROM record WHERE size = (SELECT max(size) FROM record)"
        store.write(lambda connection: connection.execute(text(f"UPDATE record SET (data, size) = ({forged})")))
        assert (records.record("key"), records.record("other")) == (None, None)
