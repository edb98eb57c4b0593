"""Memory caches of a sweep: manifests and configs shared by repositories, and layer records."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

from cachetools import LRUCache

from auditor.codec.descriptors import Descriptor
from auditor.core.digests import Digest
from auditor.registry.client import Client
from auditor.registry.repository import Repository

if TYPE_CHECKING:
    from auditor.scan import LayerRecord

_DOCUMENT_BYTES = 32 << 20
_DOCUMENT_OVERHEAD = 500  # bytes of Python objects beside each document
_LOCKS = 64
_ENTRIES = 400_000  # about 80 MB of Python objects
_RECORD_OVERHEAD = 20  # entries that take as much memory as a record without any
V = TypeVar("V")


class LockedLRUCache(LRUCache[Digest, V]):
    """Least-recently-used cache by digest; threads may share it."""

    def __init__(self, maxsize: float, getsizeof: object) -> None:
        super().__init__(maxsize, getsizeof)  # type: ignore[arg-type]
        self._lock = threading.RLock()

    def __getitem__(self, key: Digest) -> V:
        with self._lock:
            return super().__getitem__(key)

    def get(self, key: Digest, default: Any = None) -> Any:
        """Return a value, or the default if it is missing or was evicted."""
        with self._lock:
            return super().get(key, default)

    def __setitem__(self, key: Digest, value: V) -> None:
        with self._lock:
            super().__setitem__(key, value)


class DocumentCache(LockedLRUCache[bytes]):
    """Manifests and configs. If several threads need the same one, one fetches it and the others wait."""

    def __init__(self) -> None:
        super().__init__(_DOCUMENT_BYTES, lambda document: min(len(document) + _DOCUMENT_OVERHEAD, _DOCUMENT_BYTES))
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def lock_of(self, digest: Digest) -> threading.Lock:
        """Return the lock for fetching a document; several documents may share one lock."""
        return self._locks[hash(digest) % _LOCKS]


class CachingRepository(Repository):
    """Repository that shares its documents with the other repositories of the registry."""

    def __init__(self, client: Client, name: str, documents: DocumentCache) -> None:
        super().__init__(client, name, documents)
        self._documents = documents

    def document(self, descriptor: Descriptor) -> bytes:
        """Fetch and verify one JSON blob or manifest, unless it is cached."""
        with self._documents.lock_of(descriptor.digest):
            return super().document(descriptor)


def layer_record_cache() -> LockedLRUCache[LayerRecord]:
    """Return a cache of layer records, limited by the number of their entries."""
    return LockedLRUCache(_ENTRIES, lambda record: min(len(record.listing.paths) + _RECORD_OVERHEAD, _ENTRIES))
