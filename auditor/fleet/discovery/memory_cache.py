"""What was used of late, in memory: manifests and configs, which repositories share, and records of layers."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

from cachetools import LRUCache

from auditor.codec.descriptors import Descriptor
from auditor.core.digests import Digest
from auditor.registry.client import Client
from auditor.registry.repository import Repository
from auditor.scan import LayerRecord

_DOCUMENTS = 64 << 20
_TURNS = 64
_ENTRIES = 2_000_000  # of listings: some 400 MB of Python's objects
V = TypeVar("V")


class LockedLRUCache(LRUCache[Digest, V]):
    """What was used of late, by digest. Threads may share it."""

    def __init__(self, maxsize: float, getsizeof: object) -> None:
        super().__init__(maxsize, getsizeof)  # type: ignore[arg-type]
        self._lock = threading.RLock()

    def __getitem__(self, key: Digest) -> V:
        with self._lock:
            return super().__getitem__(key)

    def get(self, key: Digest, default: Any = None) -> Any:
        """Return a value, or the default: it may go at any moment."""
        with self._lock:
            return super().get(key, default)

    def __setitem__(self, key: Digest, value: V) -> None:
        with self._lock:
            super().__setitem__(key, value)


class DocumentCache(LockedLRUCache[bytes]):
    """Manifests and configs. Of threads that want the same one, one fetches it and the others wait."""

    def __init__(self) -> None:
        super().__init__(_DOCUMENTS, len)
        self._turns = [threading.Lock() for _ in range(_TURNS)]

    def turn(self, digest: Digest) -> threading.Lock:
        """Return the lock under which a document is looked for and fetched; others may share it."""
        return self._turns[hash(digest) % _TURNS]


class CachingRepository(Repository):
    """A repository that shares its documents with others of its registry."""

    def __init__(self, client: Client, name: str, documents: DocumentCache) -> None:
        super().__init__(client, name, documents)
        self._documents = documents

    def document(self, descriptor: Descriptor) -> bytes:
        """Fetch and verify one JSON blob or manifest, unless it is known by now."""
        with self._documents.turn(descriptor.digest):
            return super().document(descriptor)


def layer_record_cache() -> LockedLRUCache[LayerRecord]:
    """Return room for records, by the number of their entries: images share their bases."""
    return LockedLRUCache(_ENTRIES, lambda record: min(len(record.listing.paths) + 1, _ENTRIES))
