"""Layer records: scanned, or taken from the cache. Either way the digests hold.

A digest counts only once the bytes were hashed. A part of a file that did not change since it was hashed keeps its
digest, and a registry's blob was asked for by its digest; anything else that the cache may know is hashed again, which
takes a fraction of a scan. Or a hostile archive could name a clean layer's digest and pass.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import BinaryIO, Protocol

from auditor.codec.file_slices import FileSlice
from auditor.codec.hashing import HashingReader
from auditor.core.digests import DiffID, Digest
from auditor.core.errors import Damaged
from auditor.core.limits import RECORDS
from auditor.core.secret import Secret
from auditor.images.source import Image, Layer, LayerRef
from auditor.scan import LayerRecord, Scanner
from auditor.scan.serial import dumped, loaded, made_by
from auditor.store.layer_store import Blob

_CHUNK = 1 << 20
_DOWNLOADS = 3
_SETTLED_S = 1.0
"""A file that changed within that time before it was read may change again without its times telling."""


class RecordStore(Protocol):
    """Where records are kept; `key` seals their secrets. store/layer_store.py says what each method does.

    What is kept is authentic: values that were not written with the key are as if nothing had been kept.
    """

    key: bytes

    def record(self, key: str) -> bytes | None:
        """Return a record."""
        ...

    def keep_record(self, key: str, data: bytes) -> None:
        """Keep a record."""
        ...

    def blob(self, key: str) -> Blob | None:
        """Return what is known of a stored blob."""
        ...

    def keep_blob(self, key: str, blob: Blob) -> None:
        """Keep what bytes of a digest unpack to."""
        ...

    def slice(self, identity: str) -> Digest | None:
        """Return the digest that a part of a file had."""
        ...

    def keep_slice(self, identity: str, digest: Digest) -> None:
        """Keep the digest of a part of a file."""
        ...


class Records:
    """Gives the record of each layer, once: layers that images share are scanned once.

    `known` holds those used before: all of them, unless it is bounded. With `whole`, secrets keep their texts, so that
    a layer with secrets is scanned again and not taken from the cache.
    """

    def __init__(
        self,
        scanner: Scanner,
        store: RecordStore | None = None,
        *,
        whole: bool = False,
        known: MutableMapping[Digest, LayerRecord] | None = None,
    ) -> None:
        self._scanner, self._store, self._whole = scanner, store, whole
        self._key = store.key if store else secrets.token_bytes(32)
        self._known: MutableMapping[Digest, LayerRecord] = {} if known is None else known

    def seal(self, secret: Secret) -> Secret:
        """Give a secret its identity, and take its text away unless secrets are wanted whole."""
        return secret.with_hmac(self._key, keep_text=self._whole)

    def of(self, layer: Layer, what: str) -> LayerRecord:
        """Return the record of a layer, named `what` in errors. Raises Damaged and what reading raises."""
        known = None if layer.digest is None else self._known.get(layer.digest)
        if known is not None:
            return known
        record = self._from_store(layer) or self._read(layer, what)
        if layer.digest == record.digest:
            self.hold(record)
        return record

    def fetch(self, image: Image) -> None:
        """Make ready the records of layers that come over a network: some are downloaded while others are matched."""
        remote = {
            layer.digest: (layer, f"{image.target}: layer {number}")
            for number, layer in enumerate(image.layers)
            if layer.digest is not None and not isinstance(layer.content, FileSlice | LayerRef)
        }
        if remote:
            self._scanner.prepare()
        with ThreadPoolExecutor(_DOWNLOADS, "fetch") as pool:
            futures = [pool.submit(self.of, layer, what) for layer, what in remote.values()]
            try:
                for future in futures:
                    future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def of_stream(self, ref: LayerRef, stream: BinaryIO) -> LayerRecord:
        """Read a layer that can be read only once and return its record. Raises Damaged and what reading raises.

        If the cache has a record for the digest in the layer's path, the stream is hashed and not scanned.
        """
        claimed, what = ref.digest, ref.name
        if claimed is not None:
            record = self._of_digest(claimed)
            if record is not None:
                digest = _hashed(HashingReader(stream, claimed.algorithm, self._scanner.progress.advance))
                if digest != claimed:
                    raise Damaged(f"{what}: digest is {digest}, want {claimed}; the image was damaged or tampered with")
                return record
        return self.scan(stream, what, claimed.algorithm if claimed else "sha256")

    def hold(self, record: LayerRecord) -> None:
        """Take a record for that of its digest, which was hashed."""
        self._known[record.digest] = record

    def scan(self, stream: BinaryIO, what: str, algorithm: str = "sha256") -> LayerRecord:
        """Scan a layer's stored bytes to their end, and keep what was found. Raises Damaged, naming `what`."""
        record = self._scanner.scan_layer(stream, what, algorithm).sealed(self._key, keep=self._whole)
        self.keep(record)
        return record

    def keep(self, record: LayerRecord, data: bytes | None = None) -> None:
        """Keep a record for later runs, unless it was made under a transient failure: they may find more.

        Nor is one with a secret in the name of a file, for a record holds names whole. `data` is what `dumped` makes of
        it, where that is at hand.
        """
        if self._store is not None and not record.transient and not self._scanner.names_secrets(record.listing):
            self._store.keep_record(self.key_of(record.diff_id), data or dumped(record))
            self._store.keep_blob(self.blob_key(record.digest), Blob(record.size, record.diff_id))

    def _from_store(self, layer: Layer) -> LayerRecord | None:
        """Return what is kept of a layer whose digest is known to be true."""
        content = layer.content
        if self._store is None:
            return None
        if not isinstance(content, FileSlice):
            record = self._of_digest(layer.digest) if getattr(content, "addressed_by_digest", False) else None
        else:
            identity = _identity(content)
            digest = self._store.slice(identity)
            record = self._of_digest(digest)
            if record is None and digest is None and self._of_digest(layer.digest or layer.diff_id) is not None:
                with content.open() as stream:
                    digest = _hashed(HashingReader(stream))
                record = self._of_digest(digest)
                self._keep_slice(content, identity, digest)
        if record is not None:
            self._scanner.progress.advance(record.size)
        return record

    def _read(self, layer: Layer, what: str) -> LayerRecord:
        """Scan a layer, and keep what was found."""
        content = layer.content
        identity = _identity(content) if isinstance(content, FileSlice) else None
        self._scanner.progress.say(what)
        with content.open() as stream:
            record = self.scan(stream, what, layer.digest.algorithm if layer.digest else "sha256")
        if identity is not None and isinstance(content, FileSlice):
            self._keep_slice(content, identity, record.digest)
        return record

    def _of_digest(self, digest: Digest | DiffID | None) -> LayerRecord | None:
        """Return the record of bytes with this digest, stored so."""
        blob = self._store.blob(self.blob_key(digest)) if self._store is not None and digest is not None else None
        if blob is None or digest is None:
            return None
        assert self._store is not None  # noqa: S101 - or there were no blob
        data = self._store.record(self.key_of(blob.diff_id))
        try:
            record = loaded(data) if data else None
        except ValueError:
            return None
        if record is None or (self._whole and record.matches):
            return None
        return replace(record, digest=Digest(digest), size=blob.size)

    def key_of(self, diff_id: DiffID) -> str:
        """Return what a layer's record is kept under: what it holds depends on bytes, rules, code and limits."""
        scanner = self._scanner
        limits = scanner.limits.differences(RECORDS)
        return f"{diff_id} {scanner.ruleset.digest} {made_by()} {scanner.content}{limits and f' {limits}'}"

    @staticmethod
    def blob_key(digest: Digest | DiffID) -> str:
        """Return what is kept of a blob under: which bytes it unpacks to depends on the decoders too."""
        return f"{digest} {made_by()}"

    def _keep_slice(self, content: FileSlice, identity: str, digest: Digest) -> None:
        """Keep a digest of a part of a file that lay still while it was read, and before."""
        status = os.fstat(content.file.descriptor)
        settled = time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED_S
        if self._store is not None and settled and _identity(content) == identity:
            self._store.keep_slice(identity, digest)


def _hashed(raw: HashingReader) -> Digest:
    """Read to the end and return the digest of all bytes."""
    buffer = memoryview(bytearray(_CHUNK))
    while raw.readinto(buffer):
        pass
    assert raw.digest is not None  # noqa: S101 - an algorithm was given
    return raw.digest


def _identity(content: FileSlice) -> str:
    """Name a part of a file as it is now; a change of the file changes the name."""
    s = os.fstat(content.file.descriptor)
    return (
        f"{s.st_dev} {s.st_ino} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns} {content.offset} {content.size} {made_by()}"
    )
