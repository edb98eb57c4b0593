"""Stores of released versions, as they wrote them: an upgrade keeps sweeps, findings, ids, tags and withdrawn images.

Each file of `released/` has the rows of a store of two sweeps, by table; bytes are {"base64": …}. The first sweep saw
team/app:1 and team/app:2, the second one team/app:2 alone, and team/app:1 could still be pulled by its digest.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, Connection, MetaData, insert, text

from auditor.fleet.remediation.locations import secret_by_value
from auditor.fleet.remediation.plan import make_plan
from auditor.fleet.service.alerts import Event
from auditor.fleet.store import database, image_list, queries
from auditor.fleet.store.acknowledgements import acknowledgements, save_acknowledgement
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.lookup import images_with
from auditor.fleet.store.upgrade import upgrade_tables
from auditor.scan import Scanner
from tests.fleet.alerted import told_alerts
from tests.fleet.stored import OWNED, Stored, service
from tests.images import token

RELEASED = tuple(sorted((Path(__file__).parent / "released").glob("*.json.gz")))


def write_store(url: str, file: Path) -> dict[str, list[dict[str, Any]]]:
    """Create a store of the revision that a file is named after, with its rows; return the rows."""
    rows: dict[str, list[dict[str, Any]]] = json.loads(gzip.decompress(file.read_bytes()))
    engine = database._engine(database._parsed(url))
    with engine.begin() as connection:
        upgrade_tables(connection, file.name.partition(".")[0])
        metadata = MetaData()
        metadata.reflect(connection)
        for table in metadata.sorted_tables:
            flags = {column.name for column in table.columns if isinstance(column.type, Boolean)}
            for values in rows.get(table.name, ()):
                connection.execute(insert(table).values({key: _value(key, one, flags) for key, one in values.items()}))
        if connection.dialect.name == "postgresql":
            _set_sequences(connection, [name for name, own in rows.items() if "id" in own[0]])
    engine.dispose()
    return rows


def _value(name: str, value: Any, flags: set[str]) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return bool(value) if name in flags and value is not None else value


def _set_sequences(connection: Connection, tables: list[str]) -> None:
    """Let the numbers of new rows follow those of the inserted ones."""
    for name in tables:
        sequence = f"pg_get_serial_sequence('{name}', 'id')"
        connection.execute(text(f"SELECT setval({sequence}, (SELECT max(id) FROM {name}))"))


@pytest.mark.parametrize("file", RELEASED, ids=lambda file: file.name.partition(".")[0])
def test_a_released_store_is_upgraded_and_keeps_all_it_has(
    empty_url: str, file: Path, scanner: Scanner, tmp_path: Path
) -> None:
    rows = write_store(empty_url, file)
    with closing(SweepStore(empty_url)) as store:
        first, second = queries.sweeps(store)
        assert (first.counts["new"], second.counts["new"], second.counts["withdrawn"]) == (2, 0, 1)
        found = queries.findings(store, second.id)
        assert {row.id for row in found} == {row["finding"] for row in rows["finding"]}
        assert {row.first_seen for row in found} == {"2026-11-23T05:00:00Z"}
        assert queries.report(store, found[0].image)["findings"]
        (withdrawn,) = image_list.withdrawn(store, second.id)
        assert (withdrawn.tags, withdrawn.pullable) == (("1",), True)
        secrets = [secret_by_value(store, token(number)) for number in (1, 2)]
        assert {group.pullable for secret in secrets for group in images_with(store, secret)} == {True}
        assert len(make_plan(store, second, OWNED).revoke) == 2
        assert [one.event for one in told_alerts(store, OWNED)] == [Event.NEW, Event.NEW]
        image = service("b", token(2), hidden=1)
        last = Stored(store, scanner, tmp_path / "images").sweep("2026-11-25", {"team/app": {"2": image}})
        assert (last.counts["new"], last.counts["gone"]) == (0, 1)
        assert [one.event for one in told_alerts(store, OWNED)] == [Event.GONE]
        save_acknowledgement(store, secrets[0], "vendor key", "ada", "2026-11-24T07:00:00Z", None)
    with closing(SweepStore(empty_url)) as store:
        assert set(acknowledgements(store)) == {secrets[0]}


def test_items_of_stored_images_that_were_not_read_are_counted(empty_url: str) -> None:
    write_store(empty_url, RELEASED[0])
    engine = database._engine(database._parsed(empty_url))
    report = zlib.compress(json.dumps({"skipped": [{"path": "/a"}, {"path": "/b"}]}).encode())
    with engine.begin() as connection:
        image = connection.execute(text("SELECT image FROM report ORDER BY image DESC LIMIT 1")).scalar_one()
        connection.execute(
            text("UPDATE report SET data = :data WHERE image = :image"), {"data": report, "image": image}
        )
    engine.dispose()
    with closing(SweepStore(empty_url)) as store:
        rows = {row.id: row.skipped for row in image_list.images(store, queries.sweeps(store)[-1])}
    assert rows[image] == 2 and sum(rows.values()) == 2
