"""Memory caches of a sweep are bounded, and a document larger than the cache is no error."""

from __future__ import annotations

from auditor.core.digests import Digest
from auditor.fleet.discovery import memory_cache
from auditor.fleet.discovery.memory_cache import DocumentCache


def _digest(number: int) -> Digest:
    return Digest(f"sha256:{number:064x}")


def test_a_document_of_any_size_can_be_kept_and_replaces_the_others() -> None:
    cache = DocumentCache()
    cache[_digest(1)] = b"{}"
    cache[_digest(2)] = bytes(memory_cache._DOCUMENT_BYTES + 1)
    assert cache.get(_digest(1)) is None and len(cache.get(_digest(2))) > memory_cache._DOCUMENT_BYTES


def test_small_documents_are_limited_in_number() -> None:
    cache = DocumentCache()
    most = memory_cache._DOCUMENT_BYTES // memory_cache._DOCUMENT_OVERHEAD
    for number in range(most + 10):
        cache[_digest(number)] = b""
    assert len(cache) == most
