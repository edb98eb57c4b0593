"""Layer records in the store, shared by all machines that use it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, func, select, update

from auditor.core.digests import DiffID, Digest
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore, upsert
from auditor.store.layer_store import Blob
from auditor.store.mac import SIZE, is_authentic, mac

DEFAULT_BYTES = 8 << 30
"""Default limit of stored records; beyond it, the least recently used ones are deleted."""

_TOUCH_S = 3600  # interval between updates of the time of last use
_CHECKS = 100  # size checks per `max_bytes` stored, because each one sums up all records

# Built once: SQLAlchemy takes longer to build a statement than SQLite to run it.
_OWN = t.record.c.key.in_(bindparam("own", expanding=True))
_RECORDS = select(t.record.c.key, t.record.c.data, t.record.c.used).where(_OWN)
_KEYS = select(t.record.c.key).where(_OWN)
_TOUCH = update(t.record).where(_OWN).values(used=bindparam("now"))


class StoredRecords:
    """The `RecordStore` of a sweep. It stores no slices, because registries send layers as separate blobs.

    The data of each row begins with its MAC (auditor/store/mac.py), which reveals damage.
    """

    def __init__(self, store: SweepStore, max_bytes: int | None = None) -> None:
        self.key = store.key
        self._store, self._max_bytes = store, DEFAULT_BYTES if max_bytes is None else max_bytes
        self._unchecked = self._max_bytes  # bytes stored since the last size check

    def record(self, key: str) -> bytes | None:
        """Return a record and update the time of its last use."""
        return self.records([key]).get(key)

    def records(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the stored records among keys, and update the times of their last use."""
        names = {_hashed(key): key for key in keys}
        rows = self._rows(_RECORDS, names)
        now = int(time.time())
        old = [row.key for row in rows if row.used < now - _TOUCH_S]
        if old:
            self._store.write(lambda c: c.execute(_TOUCH, {"own": old, "now": now}))
        found = {names[row.key]: bytes(row.data) for row in rows}
        return {
            key: data[SIZE:] for key, data in found.items() if is_authentic(self.key, data[:SIZE], key, data[SIZE:])
        }

    def present(self, keys: Iterable[str]) -> set[str]:
        """Return the keys of which the store has a record, without a check of its MAC."""
        names = {_hashed(key): key for key in keys}
        return {names[row.key] for row in self._rows(_KEYS, names)}

    def _rows(self, query: Select[Any], names: Collection[str]) -> Sequence[Any]:
        return self._store.read(lambda c: c.execute(query, {"own": list(names)}).all()) if names else ()

    def keep_record(self, key: str, data: bytes) -> None:
        """Store a record, and delete the least recently used ones beyond the limit."""
        row = self.row(key, data)
        own = {"key": row.pop("key")}
        self._store.write(lambda c: upsert(c, t.record, own, row))
        self._unchecked += row["size"]
        if self._unchecked > self._max_bytes / _CHECKS:
            self._shrink()
            self._unchecked = 0

    def row(self, key: str, data: bytes) -> dict[str, Any]:
        """Return the row of a record, used now."""
        data = mac(self.key, key, data) + data
        return {"key": _hashed(key), "data": data, "size": len(data), "used": int(time.time())}

    def blob(self, key: str) -> Blob | None:
        """Return size and diff_id of a stored blob, by its digest and the code that read it.

        The table of layers does not record which code read them.
        """
        return self.blobs([key]).get(key)

    def blobs(self, keys: Iterable[str]) -> dict[str, Blob]:
        """Return the stored blobs among keys, as `blob` does."""
        found = self.records(f"blob {key}" for key in keys)
        return {key.removeprefix("blob "): _blob(data) for key, data in found.items()}

    def keep_blob(self, key: str, blob: Blob) -> None:
        """Store size and diff_id of a blob; both digests were verified."""
        self.keep_record(f"blob {key}", f"{blob.size} {blob.diff_id}".encode())

    def slice(self, identity: str) -> Digest | None:  # noqa: ARG002
        """Return None: see the class."""
        return None

    def keep_slice(self, identity: str, digest: Digest) -> None:
        """Store nothing: see the class."""

    def _shrink(self) -> None:
        def work(connection: Connection) -> None:  # in one transaction: the last records may not be committed yet
            if connection.execute(select(func.coalesce(func.sum(t.record.c.size), 0))).scalar_one() > self._max_bytes:
                total = func.sum(t.record.c.size).over(order_by=(t.record.c.used.desc(), t.record.c.key)).label("total")
                ranked = select(t.record.c.key, total).subquery()
                old = select(ranked.c.key).where(ranked.c.total > self._max_bytes)
                connection.execute(delete(t.record).where(t.record.c.key.in_(old)))

        self._store.write(work)


def _blob(data: bytes) -> Blob:
    size, _, diff_id = data.decode().partition(" ")
    return Blob(int(size), DiffID(diff_id))


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
