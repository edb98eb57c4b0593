"""A layer's listing, and the content of one of its files, without any search."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from auditor.codec.compression import compression_of, decompressed
from auditor.codec.hashing import HashingReader
from auditor.codec.tar import TarParser
from auditor.codec.tar_headers import BLOCK, Header, is_header
from auditor.core.digests import DiffID, Digest
from auditor.core.errors import Damaged
from auditor.core.limits import Limits
from auditor.layers.listing import Listing, plain_file

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class LayerIndex:
    """A layer's entries with their headers; `digest` and `size` are of the stored bytes."""

    digest: Digest
    size: int
    diff_id: DiffID
    uncompressed: int
    listing: Listing
    is_tar: bool
    headers: dict[int, Header] = field(default_factory=dict)


def index_layer(
    stream: BinaryIO, what: str, limits: Limits, algorithm: str = "sha256", wanted: Any = None
) -> LayerIndex:
    """Read a layer to its end. Raises Damaged, naming `what`.

    `wanted(header) -> bool` says which headers are kept, by entry.
    """
    sniffed = io.BufferedReader(cast(io.RawIOBase, stream), 1 << 16)
    packed = compression_of(sniffed.peek(8)[:8]) is not None
    # What is not compressed is hashed once: its digest is its diff_id.
    raw = HashingReader(sniffed, algorithm if packed or algorithm != "sha256" else None)
    stored = io.BufferedReader(raw, 1 << 18)
    body = decompressed(stored, limits)
    plain, at = hashlib.sha256(), 0
    listing, walker, headers = Listing(limits=limits), TarParser(limits), dict[int, Header]()
    try:
        block = body.read(_CHUNK)
        is_tar = not block or is_header(block[:BLOCK])
        while block:
            plain.update(block)
            for header in walker.feed(memoryview(block), at) if is_tar else ():
                before = len(listing)
                listing.add(header)
                if wanted is not None and len(listing) > before and wanted(header):
                    headers[before] = header
            at += len(block)
            block = body.read(_CHUNK)
        while stored.read(_CHUNK):
            pass
        if is_tar:
            walker.finish(at)
    except Damaged as exc:
        raise Damaged(f"{what}: {exc}") from exc
    diff_id = DiffID(f"sha256:{plain.hexdigest()}")
    digest = raw.digest or Digest(diff_id)
    return LayerIndex(digest, raw.size, diff_id, at, listing if is_tar else plain_file("", at), is_tar, headers)


def read_content(stream: BinaryIO, offset: int, size: int, what: str, limits: Limits) -> Iterator[bytes]:
    """Yield the bytes [offset, offset+size) of a layer's uncompressed tar, from its stored bytes."""
    body = decompressed(io.BufferedReader(HashingReader(stream, None), 1 << 18), limits)
    while offset:
        skipped = len(body.read(min(_CHUNK, offset)))
        if not skipped:
            raise Damaged(f"{what}: ends before the file")
        offset -= skipped
    while size:
        chunk = body.read(min(_CHUNK, size))
        if not chunk:
            raise Damaged(f"{what}: ends within the file")
        size -= len(chunk)
        yield chunk
