"""Index of a layer, and the content of one of its files, without a scan."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import BinaryIO, cast

from auditor.codec.compression import compression_of, decompressed
from auditor.codec.hashing import HashingReader
from auditor.codec.tar import TarParser
from auditor.codec.tar_headers import BLOCK, Header, is_header
from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID, Digest
from auditor.core.errors import Damaged
from auditor.core.limits import Limits
from auditor.layers.listing import Listing, plain_file

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class LayerIndex:
    """Entries of a layer, and selected headers by entry. `digest` and `size` are of the stored bytes."""

    digest: Digest
    size: int
    diff_id: DiffID
    uncompressed: int
    listing: Listing
    is_tar: bool
    headers: dict[int, Header] = field(default_factory=dict)


def index_layer(
    stream: BinaryIO,
    label: str,
    limits: Limits,
    algorithm: str = "sha256",
    keep_header: Callable[[Header], bool] | None = None,
) -> LayerIndex:
    """Read a layer to its end. Raises Damaged, with `label` in its message.

    Headers for which `keep_header` returns true are kept.
    """
    sniffed = io.BufferedReader(cast(io.RawIOBase, stream), 1 << 16)
    packed = compression_of(sniffed.peek(8)[:8]) is not None
    # An uncompressed layer is hashed once: its digest is its diff_id.
    raw = HashingReader(sniffed, algorithm if packed or algorithm != "sha256" else None)
    stored = io.BufferedReader(raw, 1 << 18)
    body = decompressed(stored, limits)
    plain, at = hashlib.sha256(), 0
    listing, parser, headers = Listing(limits=limits), TarParser(limits), dict[int, Header]()
    try:
        block = body.read(_CHUNK)
        is_tar = not block or is_header(block[:BLOCK])
        while block:
            plain.update(block)
            for header in parser.feed(memoryview(block), at) if is_tar else ():
                before = len(listing)
                listing.add(header)
                if keep_header is not None and len(listing) > before and keep_header(header):
                    headers[before] = header
            at += len(block)
            block = body.read(_CHUNK)
        while stored.read(_CHUNK):
            pass
        if is_tar:
            parser.finish(at)
    except Damaged as exc:
        raise Damaged(f"{label}: {exc}") from exc
    diff_id = DiffID(f"sha256:{plain.hexdigest()}")
    digest = raw.digest or Digest(diff_id)
    return LayerIndex(digest, raw.size, diff_id, at, listing if is_tar else plain_file("", at), is_tar, headers)


def read_content(stream: BinaryIO, offset: int, size: int, label: str, limits: Limits) -> Iterator[bytes]:
    """Yield `size` bytes from an offset of a layer's uncompressed tar, given its stored bytes."""
    body = decompressed(io.BufferedReader(HashingReader(stream, None), 1 << 18), limits)
    while offset:
        skipped = len(body.read(min(_CHUNK, offset)))
        if not skipped:
            raise Damaged(f"{label}: ends before the file")
        offset -= skipped
    while size:
        chunk = body.read(min(_CHUNK, size))
        if not chunk:
            raise Damaged(f"{label}: ends within the file")
        size -= len(chunk)
        yield chunk
