"""Layer records of a simulated registry, planted in the store as if its layers had been read."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from sqlalchemy import insert

from auditor.api import components, rulesets
from auditor.core.command_options import SweepOptions
from auditor.core.digests import DiffID, Digest
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.layer_records import StoredRecords
from auditor.scan import LayerRecord, Scanner
from auditor.scan.record_format import encode_record
from auditor.store.records import Records
from bench.simulated_content import FakeRegistry
from tests.images import layer, token

_FILES = 20
_BATCH = 2_000


def plant(url: str, registry: FakeRegistry) -> None:
    """Store a record of each layer of a registry."""
    options = SweepOptions()
    with closing(SweepStore(url)) as store, components.scanner(options, rulesets.ruleset(options)) as scanner:
        plant_records(store, scanner, registry)


def plant_records(store: SweepStore, scanner: Scanner, registry: FakeRegistry) -> None:
    """Store a record of each layer, as this scanner would make it."""
    rows = _rows(store, scanner, registry)
    while batch := list(itertools.islice(rows, _BATCH)):
        store.write(lambda c, own=batch: c.execute(insert(t.record), own))  # type: ignore[misc]


def _rows(store: SweepStore, scanner: Scanner, registry: FakeRegistry) -> Iterator[dict[str, Any]]:
    stored = StoredRecords(store)
    records, templates = Records(scanner, stored), dict[int | None, LayerRecord]()
    for one in registry.all_layers():
        if one.secret not in templates:
            templates[one.secret] = _scanned(scanner, one.secret).with_hmacs(store.key, keep_text=False)
        record = replace(templates[one.secret], digest=Digest(one.digest), diff_id=DiffID(one.diff_id), size=one.size)
        values = {
            records.record_key(record.diff_id): encode_record(record),
            f"blob {records.blob_key(record.digest)}": f"{record.size} {record.diff_id}".encode(),
        }
        for key, data in values.items():
            yield stored.row(key, data)


def _scanned(scanner: Scanner, secret: int | None) -> LayerRecord:
    """Return the record of a small layer, with a secret if it has a number."""
    files = {f"srv/app/module{number}.py": f"print({number})\n" for number in range(_FILES)}
    if secret is not None:
        files["srv/app/.env"] = f"GITHUB_TOKEN={token(secret)}\n"
    return scanner.scan_layer(io.BytesIO(layer(files)), "layer")
