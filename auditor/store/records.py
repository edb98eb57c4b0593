"""Records of layers, from the scan or from the cache.

A record from the cache counts only for a digest that can be trusted. A digest can be trusted if

- these bytes were hashed in this run, or
- they are a part of a file that is unchanged since it was hashed (same device, inode, size, mtime and ctime), or
- a registry sent the blob, which is verified while it is read, or an engine stores it by its digest.

The digest that a manifest or an archive states is none of these: a hostile archive could name the digest of a clean
layer. If the cache has a record for a stated digest, the bytes are hashed first, which takes a fraction of a scan.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import BinaryIO, Protocol

from auditor.codec.file_slices import FileSlice
from auditor.codec.hashing import HashingReader
from auditor.core.digests import DiffID, Digest
from auditor.core.errors import Damaged, ImageError
from auditor.core.limits import RECORDS
from auditor.core.secret import Secret
from auditor.images.source import Image, Layer, LayerRef
from auditor.published.image_lists import LayerLists
from auditor.scan import LayerRecord, Scanner
from auditor.scan.record_format import decode_record, encode_record, format_version
from auditor.store.layer_store import Blob

_CHUNK = 1 << 20
_AT_ONCE = 3
_SETTLED_S = 1.0
"""Minimum age of a file's last change: a second change within the resolution of its times would go unnoticed."""


class RecordStore(Protocol):
    """Storage of records and of facts about blobs, as in store/layer_store.py. `key` is that of the secrets' HMACs.

    Values that were not written with the key are treated as absent.
    """

    key: bytes

    def record(self, key: str) -> bytes | None:
        """Return a record."""
        ...

    def keep_record(self, key: str, data: bytes) -> None:
        """Keep a record."""
        ...

    def blob(self, key: str) -> Blob | None:
        """Return size and diff_id of a stored blob."""
        ...

    def keep_blob(self, key: str, blob: Blob) -> None:
        """Keep size and diff_id of a stored blob."""
        ...

    def slice(self, identity: str) -> Digest | None:
        """Return the digest of a part of an unchanged file."""
        ...

    def keep_slice(self, identity: str, digest: Digest) -> None:
        """Keep the digest of a part of a file."""
        ...


class Records:
    """Returns the record of each layer. A layer that images share is scanned once.

    `known` has the records of this run: all of them, unless the mapping is bounded. With `keep_secrets`, records have
    their secrets in clear; a layer with secrets is then scanned again, as the cache has only their HMACs.
    """

    def __init__(
        self,
        scanner: Scanner,
        store: RecordStore | None = None,
        *,
        keep_secrets: bool = False,
        known: MutableMapping[Digest, LayerRecord] | None = None,
    ) -> None:
        self._scanner, self._store, self._keep_secrets = scanner, store, keep_secrets
        self._key = store.key if store else secrets.token_bytes(32)
        self._known: MutableMapping[Digest, LayerRecord] = {} if known is None else known
        self._slices: dict[str, Digest] = {}  # digests of the parts of files with a record, by their identity

    def with_hmac(self, secret: Secret) -> Secret:
        """Return a secret with its HMAC; without its text unless secrets are kept."""
        return secret.with_hmac(self._key, keep_text=self._keep_secrets)

    def of(self, layer: Layer, name: str, lists: LayerLists | None = None) -> LayerRecord:
        """Return the record of a layer; `name` appears in errors. Raises ImageError and Unreachable.

        `lists` has the package lists of the layers below it, and is closed.
        """
        lists = lists or LayerLists()
        with closing(lists):
            known = self._known_record(layer)
            if known is not None:
                lists.use(known.package_lists)
                return known
            record = self._from_store(layer)
            if record is None:
                record = self._scan_layer(layer, name, lists)
            else:
                lists.use(record.package_lists)
            if layer.digest is None and isinstance(layer.content, FileSlice):
                self._slices[_identity(layer.content)] = record.digest
            if layer.digest in (None, record.digest):
                self.remember(record)
            return record

    def fetch(self, image: Image) -> None:
        """Get the records of an image's layers: some are read while others are still being scanned."""
        layers = {
            key: number
            for number, layer in reversed([*enumerate(image.layers)])  # of equal layers the lowest
            if (key := _key(layer)) and not self.has_record(layer)
        }
        if not layers:
            return
        self._scanner.prepare(sum(image.layers[number].size or 0 for number in layers.values()))
        unread, lists = set(layers.values()), list[LayerLists]()
        at_once = 1 if self._scanner.jobs == 1 else _AT_ONCE
        with ThreadPoolExecutor(at_once, "fetch") as pool:  # begins the lowest first: layers wait for those below
            futures = []
            for number, layer in enumerate(image.layers):
                if number in unread:
                    lists.append(LayerLists(lists))
                    futures.append(pool.submit(self.of, layer, f"{image.target}: layer {number}", lists[-1]))
                elif known := self._known_record(layer):
                    lists.append(LayerLists())
                    lists[-1].use(known.package_lists)
            try:
                for future in futures:
                    future.result()
            except BaseException as exc:
                if not isinstance(exc, Exception):  # interrupted: stop the layers in progress
                    self._scanner.close()
                raise
            finally:
                pool.shutdown(cancel_futures=True)

    def has_record(self, layer: Layer) -> bool:
        """Whether this run has the record of a layer, or the cache has it for a digest that can be trusted."""
        if self._known_record(layer) is not None:
            return True
        record = None if isinstance(layer.content, LayerRef) else self._from_store(layer)
        if record is None:
            return False
        self.remember(record)
        if isinstance(layer.content, FileSlice):
            self._slices[_identity(layer.content)] = record.digest
        return True

    def is_known(self, layer: Layer) -> bool:
        """Whether this run has the record of a layer."""
        return self._known_record(layer) is not None

    def _known_record(self, layer: Layer) -> LayerRecord | None:
        """Return the record of a layer that this run has already."""
        digest, content = layer.digest, layer.content
        if digest is None and isinstance(content, FileSlice):
            digest = self._slices.get(_identity(content))
        return None if digest is None else self._known.get(digest)

    def export(self, key: str) -> bytes | None:
        """Return the cached documents of an engine's export, without the texts that the engine states too."""
        return self._store.record(self._export_key(key)) if self._store else None

    def keep_export(self, key: str, data: bytes, literals: str) -> None:
        """Cache the documents of an export, unless `literals`, the texts in them, contain a secret."""
        if self._store is not None and not self._scanner.searcher.search_text(literals):
            self._store.keep_record(self._export_key(key), data)

    def read_stream(self, ref: LayerRef, stream: BinaryIO, lists: LayerLists) -> Callable[[], LayerRecord]:
        """Read a layer that can be read only once; return a function that waits for its scan and returns the record.

        Both raise ImageError, reading also Unreachable. If the cache has a record for the digest in the layer's path,
        the stream is hashed and not scanned. `lists` has the package lists of the layers read before, and is closed.
        """
        claimed, name = ref.digest, ref.name
        algorithm = claimed.algorithm if claimed else "sha256"
        self._scanner.progress.say(f"reading {name}")
        with closing(lists):
            record = self._of_digest(claimed)
            if record is not None:
                digest = _hashed(HashingReader(stream, algorithm, self._scanner.progress.advance))
                if digest != claimed:
                    raise Damaged(f"{name}: digest is {digest}, want {claimed}; the image was damaged or tampered with")
                lists.use(record.package_lists)
                return lambda: record
            self._scanner.prepare()
            scan = self._scanner.read_layer(stream, name, algorithm, lists=lists)
        return lambda: self._finished(scan())

    def remember(self, record: LayerRecord) -> None:
        """Use a record for all layers of its digest in this run. Its bytes were hashed."""
        self._known[record.digest] = record

    def scan(self, stream: BinaryIO, name: str) -> LayerRecord:
        """Scan a layer's stored bytes to their end, and cache the record. Raises Damaged with `name`."""
        return self._finished(self._scanner.scan_layer(stream, name))

    def _finished(self, record: LayerRecord) -> LayerRecord:
        record = record.with_hmacs(self._key, keep_text=self._keep_secrets)
        self.keep(record)
        return record

    def keep(self, record: LayerRecord, data: bytes | None = None) -> None:
        """Cache a new record for later runs. `data` is the encoded record, if available.

        A transient record is not cached, as a later run may find more. Nor is one with a secret in a file name or
        another header text, which records have in clear.
        """
        if self._store is not None and record.has_clean_headers and not record.transient:
            self._store.keep_record(self.record_key(record.diff_id), data or encode_record(record))
            self._store.keep_blob(self.blob_key(record.digest), Blob(record.size, record.diff_id))

    def _from_store(self, layer: Layer) -> LayerRecord | None:
        """Return the cached record of a layer, if its digest can be trusted."""
        content, store = layer.content, self._store
        if store is None:
            return None
        if isinstance(content, FileSlice):
            return self._of_slice(layer, content, store)
        stored = getattr(content, "addressed_by_digest", False)
        return self._of_digest(layer.digest or layer.diff_id) if stored else None

    def _of_slice(self, layer: Layer, content: FileSlice, store: RecordStore) -> LayerRecord | None:
        """Return the cached record of a part of a file, hashed in an earlier run or now."""
        identity = _identity(content)
        digest = store.slice(identity)
        if digest is not None:
            return self._of_digest(digest)
        if self._of_digest(layer.digest or layer.diff_id) is None:
            return None
        self._scanner.progress.expect(content.size)
        with content.open() as stream:
            digest = _hashed(HashingReader(stream, progress=self._scanner.progress.advance))
        self._keep_slice(content, identity, digest)
        return self._of_digest(digest)

    def _scan_layer(self, layer: Layer, name: str, lists: LayerLists) -> LayerRecord:
        """Scan a layer, and cache its record and the digest of its part of a file."""
        content, algorithm = layer.content, layer.digest.algorithm if layer.digest else "sha256"
        self._scanner.progress.say(f"reading {name}")
        with content.open() as stream:
            if not isinstance(content, FileSlice):
                return self._finished(self._scanner.scan_layer(stream, name, algorithm, lists=lists))
            identity = _identity(content)
            record = self._finished(self._scanner.scan_layer(stream, name, algorithm, content, lists))
        if _identity(content) != identity:  # its bytes were hashed and searched at different times
            raise ImageError(f"{name}: the file was changed while it was scanned. Scan it again.")
        self._keep_slice(content, identity, record.digest)
        return record

    def _of_digest(self, digest: Digest | DiffID | None) -> LayerRecord | None:
        """Return the cached record of the stored bytes with this digest. Its headers are clean: see `checked`."""
        if self._store is None or digest is None:
            return None
        blob = self._store.blob(self.blob_key(digest))
        data = self._store.record(self.record_key(blob.diff_id)) if blob else None
        return self.cached(digest, blob, data) if blob and data else None

    def cached(self, digest: Digest | DiffID, blob: Blob, data: bytes) -> LayerRecord | None:
        """Return the record of a layer from what the store has of it; None if it is of no use for this run."""
        try:
            record = decode_record(data)
        except ValueError:
            return None
        if self._keep_secrets and record.matches:
            return None
        return replace(record, digest=Digest(digest), size=blob.size)

    def record_key(self, diff_id: DiffID) -> str:
        """Return the cache key of a layer's record: it depends on bytes, rules, code and limits."""
        scanner = self._scanner
        limits = scanner.limits.differences(RECORDS)
        scope = f"{scanner.search_content} {scanner.extract_published}"
        version = f"{format_version()} {scope}{limits and f' {limits}'}"
        return f"{diff_id} {scanner.ruleset.digest} {version}"

    def _export_key(self, key: str) -> str:
        """Return the cache key of an export's documents: another ruleset may find a secret in them."""
        return f"export {key} {self._scanner.ruleset.digest} {format_version()}"

    @staticmethod
    def blob_key(digest: Digest | DiffID) -> str:
        """Return the cache key of a blob's diff_id: it depends on the decompressors too."""
        return f"{digest} {format_version()}"

    def _keep_slice(self, content: FileSlice, identity: str, digest: Digest) -> None:
        """Cache the digest of a part of a file that did not change during the read or just before."""
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


def _key(layer: Layer) -> str | None:
    """Return a text that equal layers share; None for one whose bytes come from a stream, or are not known."""
    if isinstance(layer.content, LayerRef):
        return None
    return layer.digest or (_identity(layer.content) if isinstance(layer.content, FileSlice) else None)


def _identity(content: FileSlice) -> str:
    """Return a text that changes with every change of the file."""
    s = os.fstat(content.file.descriptor)
    return (
        f"{s.st_dev} {s.st_ino} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns} "
        f"{content.offset} {content.size} {format_version()}"
    )
