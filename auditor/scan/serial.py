"""A layer record as bytes, and back. Only sealed secrets go in: neither a cache nor a worker's answer holds one whole.

The form: a JSON header of texts and small numbers, its length before it; then the listing's columns and the package
databases as they stand in memory; all compressed. It holds for one machine's byte order and one version of the code,
which is why keys include `made_by`.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from array import array
from collections.abc import Iterator
from typing import Any

from auditor.core import cache_keys
from auditor.core.digests import DiffID, Digest
from auditor.core.finding import Confidence
from auditor.core.secret import Secret
from auditor.layers.header_texts import HeaderTexts
from auditor.layers.listing import Listing
from auditor.scan.record import Checksums, LayerMatch, LayerRecord

_LENGTH = struct.Struct("<I")


def dumped(record: LayerRecord) -> bytes:
    """Return a record whose secrets are sealed as bytes."""
    from isal import isal_zlib

    listing = record.listing
    header = {
        "digest": record.digest,
        "size": record.size,
        "diff_id": record.diff_id,
        "uncompressed": record.uncompressed,
        "is_tar": record.is_tar,
        "decoded": record.decoded,
        "paths": listing.paths,
        "links": list(listing.links.items()),
        "whiteouts": list(listing.whiteouts),
        "opaque": listing.opaque,
        "texts": listing.texts.rows,
        "texts_full": listing.texts.full,
        "matches": [_match_row(match) for match in record.matches],
        "skipped": record.skipped,
        "checksums": [(entry, sums.md5, sums.sha1, sums.sha256) for entry, sums in record.checksums.items()],
        "transient": record.transient,
        "documents": [(entry, len(data)) for entry, data in record.documents.items()],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    columns = (bytes(listing.kinds), listing.sizes.tobytes(), listing.offsets.tobytes())
    return isal_zlib.compress(b"".join((_LENGTH.pack(len(text)), text, *columns, *record.documents.values())), 1)


def loaded(data: bytes) -> LayerRecord:
    """Return what `dumped` was given. Raises ValueError on anything else."""
    from isal import isal_zlib

    try:
        return _record(memoryview(isal_zlib.decompress(data)))
    except Exception as exc:  # what zlib, json and struct raise, and what comes of values of another kind
        raise ValueError(f"no layer record: {exc}") from exc


def made_by() -> str:
    """Return the key of what makes records: code, libraries, and the order of bytes."""
    return hashlib.sha256(f"{cache_keys.RECORDS.key} {sys.byteorder}".encode()).hexdigest()


def _record(view: memoryview) -> LayerRecord:
    (length,) = _LENGTH.unpack_from(view)
    header = json.loads(bytes(view[_LENGTH.size : _LENGTH.size + length]))
    columns = _columns(view[_LENGTH.size + length :], len(header["paths"]))
    listing = Listing(
        header["paths"],
        bytearray(next(columns)),
        array("q", bytes(next(columns))),
        array("q", bytes(next(columns))),
        dict(header["links"]),
        dict.fromkeys(header["whiteouts"]),
        header["opaque"],
        HeaderTexts.of(header["texts"], full=header["texts_full"]),
    )
    rest = next(columns)
    documents, at = {}, 0
    for entry, size in header["documents"]:
        documents[entry] = bytes(rest[at : at + size])
        at += size
    return LayerRecord(
        Digest(header["digest"]),
        header["size"],
        DiffID(header["diff_id"]),
        header["uncompressed"],
        listing,
        tuple(_match(row) for row in header["matches"]),
        tuple((path, reason) for path, reason in header["skipped"]),
        header["is_tar"],
        header["decoded"],
        {entry: Checksums(*sums) for entry, *sums in header["checksums"]},
        documents,
        header["transient"] is True,
    )


def _columns(view: memoryview, count: int) -> Iterator[memoryview]:
    """Yield the kinds, sizes and offsets of `count` entries, and what follows them."""
    for width in (1, 8, 8):
        yield view[: width * count]
        view = view[width * count :]
    yield view


def _match_row(match: LayerMatch) -> tuple[Any, ...]:
    secret = match.secret
    if not secret.hmac:
        raise ValueError("the secret is not sealed")
    return (
        match.entry, match.rule, secret.masked, secret.fingerprint, secret.hmac.hex(), match.line, match.offset,
        match.check, match.confidence, match.member, match.decoded,
    )  # fmt: skip


def _match(row: list[Any]) -> LayerMatch:
    entry, rule, masked, few, identity, line, offset, check, confidence, member, decoded = row
    secret = Secret(None, masked, few, bytes.fromhex(identity))
    return LayerMatch(entry, rule, secret, line, offset, check, Confidence(confidence), member, tuple(decoded))
