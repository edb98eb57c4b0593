"""Layers of a sweep: each is requested once, and its record stored with the first image that needs it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from itertools import islice

from cachetools import LRUCache

from auditor.core.digests import Digest
from auditor.core.errors import AuditError, Damaged
from auditor.core.progress import Progress
from auditor.fleet.execution.engine import Engine, LayerTask
from auditor.fleet.store import ledger
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.layer_records import StoredRecords
from auditor.fleet.store.presence import Sweep
from auditor.images.source import Layer
from auditor.scan import LayerRecord
from auditor.scan.record_format import decode_record
from auditor.store.layer_store import Blob
from auditor.store.records import Records

_AVAILABLE = 200_000
"""Layers known to be stored; others are looked up again."""
_BLOBS = 4_000
"""Layers whose size and diff_id are kept in memory, to be read from the store once for request and audit."""
_LOADED = 16
"""Records read from the store at a time: that of a layer of 100,000 files takes some MB."""
_UNKEPT = 1 << 20
"""Bytes of records in memory that are not stored yet; beyond it, they are stored without waiting for an audit."""


class LayerReads:
    """Requests layers from an engine that the store lacks; with `fresh`, all that this sweep has not yet read."""

    def __init__(
        self,
        store: SweepStore,
        stored: StoredRecords,
        records: Records,
        engine: Engine,
        sweep: Sweep,
        progress: Progress,
        *,
        fresh: bool,
    ) -> None:
        self._store, self._stored, self._records = store, stored, records
        self._engine, self._sweep, self._progress, self._fresh = engine, sweep, progress, fresh
        self._requested: dict[Digest, Future[bytes]] = {}
        self._failed: dict[Digest, AuditError] = {}
        self._unkept: list[tuple[LayerRecord, bytes]] = []
        self._available: LRUCache[Digest, None] = LRUCache(_AVAILABLE)
        self._blobs: LRUCache[Digest, Blob] = LRUCache(_BLOBS)

    @property
    def requested(self) -> int:
        """Number of layers that were requested and not waited for."""
        return len(self._requested)

    def request(self, images: Iterable[tuple[str, Sequence[Layer]]]) -> None:
        """Request layers whose records are not stored, and that were not requested before: repository and layers."""
        known = (self._requested, self._failed, self._available)
        new = {
            layer.digest: LayerTask(repository, layer.digest, layer.size)
            for repository, layers in images
            for layer in layers
            if layer.digest and not any(layer.digest in k for k in known)
        }
        stored = self._stored_among(new)
        for digest, task in new.items():
            if digest in stored:
                self._available[digest] = None
            else:
                self._progress.expect(task.size or 0)
                self._requested[digest] = self._engine.submit(task)

    def are_read(self, layers: Iterable[Layer]) -> bool:
        """Whether `wait` for layers would return at once."""
        return all(request.done() for _, request in self._requests(layers))

    def wait(self, layers: Sequence[Layer]) -> None:
        """Wait for the records of layers, which `keep` stores, and load those that are stored."""
        for digest, request in self._requests(layers):
            try:
                data = request.result()
                record = _decoded(digest, data)
                self._unkept.append((record, data))
                self._records.remember(record)
                self._available[digest] = None
            except AuditError as exc:
                self._failed[digest] = exc
            del self._requested[digest]
        if sum(len(data) for _, data in self._unkept) > _UNKEPT:  # may be too many to be remembered
            self._store.write(lambda _: self.keep())
            self.kept()
        self._load({layer.digest for layer in layers if layer.digest and not self._records.is_known(layer)})

    def check(self, layers: Iterable[Layer]) -> None:
        """Raise the AuditError of the first layer that failed."""
        for layer in layers:
            if layer.digest in self._failed:
                raise self._failed[layer.digest]

    def keep(self) -> None:
        """Store the records that were waited for. May be repeated, until `kept` is called."""
        for record, data in self._unkept:
            self._records.keep(record, data)
        ledger.save_downloads(
            self._store, self._sweep, [(record.digest, record.diff_id, record.size) for record, _ in self._unkept]
        )

    def kept(self) -> None:
        """Release the records that `keep` stored."""
        self._unkept.clear()

    def _requests(self, layers: Iterable[Layer]) -> list[tuple[Digest, Future[bytes]]]:
        digests = dict.fromkeys(layer.digest for layer in layers)
        return [(digest, self._requested[digest]) for digest in digests if digest in self._requested]

    def _stored_among(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return the layers whose records are stored; with `fresh`, by this sweep."""
        keys = {
            digest: self._records.record_key(blob.diff_id)
            for digest, blob in self._found_blobs(digests).items()
            if not self._fresh or ledger.was_downloaded(self._store, self._sweep, digest)
        }
        present = self._stored.present(keys.values())
        return {digest for digest, key in keys.items() if key in present}

    def _load(self, digests: Iterable[Digest]) -> None:
        """Remember the stored records of layers, which an audit would otherwise read one by one."""
        blobs = self._found_blobs(digests)
        left = iter(blobs)
        while some := list(islice(left, _LOADED)):
            keys = {digest: self._records.record_key(blobs[digest].diff_id) for digest in some}
            stored = self._stored.records(keys.values())
            for digest, key in keys.items():
                record = self._records.cached(digest, blobs[digest], stored[key]) if key in stored else None
                if record is not None:
                    self._records.remember(record)

    def _found_blobs(self, digests: Iterable[Digest]) -> dict[Digest, Blob]:
        """Return size and diff_id of the layers that the store has."""
        found = {digest: self._blobs.get(digest) for digest in digests}
        keys = {self._records.blob_key(digest): digest for digest, blob in found.items() if blob is None}
        for key, blob in self._stored.blobs(keys).items():
            found[keys[key]] = self._blobs[keys[key]] = blob
        return {digest: blob for digest, blob in found.items() if blob is not None}


def _decoded(digest: Digest, data: bytes) -> LayerRecord:
    try:
        record = decode_record(data)
    except ValueError as exc:
        raise Damaged(f"layer {digest}: invalid record from the engine: {exc}") from exc
    if record.digest != digest:
        raise Damaged(f"layer {digest}: the engine returned the record of {record.digest}")
    return record
