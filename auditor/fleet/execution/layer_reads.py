"""Layers of a sweep: each is requested once, and its record stored before an image that needs it is audited."""

from __future__ import annotations

from concurrent.futures import Future

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
from auditor.scan.record_format import decode_record
from auditor.store.records import Records

_AVAILABLE = 200_000
"""Layers known to be stored; others are looked up again."""


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
        self._requests: dict[Digest, Future[bytes] | AuditError] = {}
        self._available: LRUCache[Digest, None] = LRUCache(_AVAILABLE)

    def request(self, repository: str, layer: Layer) -> None:
        """Request a layer unless its record is stored or it was requested before."""
        digest = layer.digest
        if digest is None or digest in self._requests or digest in self._available:
            return
        if self._has(digest):
            self._available[digest] = None
            return
        self._progress.expect(layer.size or 0)
        self._requests[digest] = self._engine.submit(LayerTask(repository, digest, layer.size))

    def wait(self, layer: Layer) -> None:
        """Wait until the record of a layer is stored. Raises the AuditError of a failed read."""
        if layer.digest is None:
            return
        request = self._requests.get(layer.digest)
        if isinstance(request, Future):
            try:
                self._keep(layer.digest, request.result())
            except AuditError as exc:
                self._requests[layer.digest] = exc
                raise
            del self._requests[layer.digest]
            self._available[layer.digest] = None
        elif request is not None:
            raise request

    def _has(self, digest: Digest) -> bool:
        blob = self._stored.blob(self._records.blob_key(digest))
        if blob is None or (self._fresh and not ledger.was_downloaded(self._store, self._sweep, digest)):
            return False
        return self._stored.has_record(self._records.record_key(blob.diff_id))

    def _keep(self, digest: Digest, data: bytes) -> None:
        try:
            record = decode_record(data)
        except ValueError as exc:
            raise Damaged(f"layer {digest}: invalid record from the engine: {exc}") from exc
        if record.digest != digest:
            raise Damaged(f"layer {digest}: the engine returned the record of {record.digest}")
        self._records.keep(record, data)
        ledger.save_download(self._store, self._sweep, digest, record.diff_id, record.size)
        self._records.remember(record)
