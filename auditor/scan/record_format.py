"""A layer record as bytes, and back. Secrets are stored as HMAC and mask only, in caches and in answers of workers.

The format: a JSON header of texts and small numbers, preceded by its length; then the columns of the listing, the
package databases and the package lists as they are in memory; all compressed. It is valid for the byte order of one
machine and one version of the code, which is why cache keys include `format_version`.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from array import array
from collections.abc import Iterator
from typing import Any

from isal import isal_zlib

from auditor.core import cache_keys
from auditor.core.digests import DiffID, Digest
from auditor.core.finding import Confidence
from auditor.core.secret import Secret
from auditor.layers.header_texts import HeaderTexts
from auditor.layers.listing import Listing
from auditor.layers.path_list import PathList
from auditor.provenance.checksums import Checksums
from auditor.published.image_lists import PackageLists
from auditor.published.package_list import PackageList
from auditor.published.release import Release
from auditor.scan.record import LayerMatch, LayerRecord

_LENGTH = struct.Struct("<I")


def encode_record(record: LayerRecord) -> bytes:
    """Encode a record. Raises ValueError if a secret has no HMAC."""
    listing, known = record.listing, record.package_lists
    header = {
        "digest": record.digest,
        "size": record.size,
        "diff_id": record.diff_id,
        "uncompressed": record.uncompressed,
        "is_tar": record.is_tar,
        "decoded": record.decoded,
        "paths": list(listing.paths),
        "links": list(listing.links.items()),
        "whiteouts": list(listing.whiteouts),
        "opaque": listing.opaque,
        "texts": listing.texts.rows,
        "texts_full": listing.texts.full,
        "matches": [_match_row(match) for match in record.matches],
        "skipped": record.skipped,
        "checksums": [(entry, sums.md5, sums.sha1, sums.sha256) for entry, sums in record.checksums.items()],
        "published": list(record.published.items()),
        "releases": [(release.publisher, b"".join(sorted(release.lists)).hex()) for release in known.releases],
        "package_lists": [(one.digest.hex(), len(one.rows)) for one in known.lists],
        "transient": record.transient,
        "clean_headers": record.has_clean_headers,
        "package_databases": [(entry, len(data)) for entry, data in record.package_databases.items()],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    columns = (bytes(listing.kinds), listing.sizes.tobytes(), listing.offsets.tobytes())
    parts = (*columns, *record.package_databases.values(), *(one.rows for one in known.lists))
    return isal_zlib.compress(b"".join((_LENGTH.pack(len(text)), text, *parts)), 1)


def decode_record(data: bytes) -> LayerRecord:
    """Decode a record. Raises ValueError on malformed data."""
    try:
        return _record(memoryview(isal_zlib.decompress(data)))
    except Exception as exc:  # errors of zlib, json and struct, and TypeError for values of wrong types
        raise ValueError(f"not a layer record: {exc}") from exc


def format_version() -> str:
    """Return the part of cache keys that changes with code, libraries and byte order."""
    return hashlib.sha256(f"{cache_keys.RECORDS.key} {sys.byteorder}".encode()).hexdigest()


def _record(view: memoryview) -> LayerRecord:
    (length,) = _LENGTH.unpack_from(view)
    header = json.loads(bytes(view[_LENGTH.size : _LENGTH.size + length]))
    columns = _columns(view[_LENGTH.size + length :], len(header["paths"]))
    listing = Listing(
        PathList(header["paths"]),
        bytearray(next(columns)),
        array("q", bytes(next(columns))),
        array("q", bytes(next(columns))),
        dict(header["links"]),
        dict.fromkeys(header["whiteouts"]),
        header["opaque"],
        HeaderTexts.of(header["texts"], full=header["texts_full"]),
    )
    rest = _Parts(next(columns))
    databases = {entry: rest.take(size) for entry, size in header["package_databases"]}
    lists = tuple(PackageList(bytes.fromhex(digest), rest.take(size)) for digest, size in header["package_lists"])
    releases = tuple(Release(publisher, _digests(digests)) for publisher, digests in header["releases"])
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
        databases,
        dict(header["published"]),
        PackageLists(releases, lists),
        header["transient"] is True,
        header["clean_headers"] is True,
    )


def _columns(view: memoryview, count: int) -> Iterator[memoryview]:
    """Yield the kinds, sizes and offsets of `count` entries, and the bytes after them."""
    for width in (1, 8, 8):
        yield view[: width * count]
        view = view[width * count :]
    yield view


class _Parts:
    """Bytes that are taken part by part."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        part, self._data = bytes(self._data[:size]), self._data[size:]
        return part


def _digests(text: str) -> frozenset[bytes]:
    data = bytes.fromhex(text)
    return frozenset(data[at : at + 32] for at in range(0, len(data), 32))


def _match_row(match: LayerMatch) -> tuple[Any, ...]:
    secret = match.secret
    if not secret.hmac:
        raise ValueError("a secret without HMAC")
    return (
        match.entry, match.rule, secret.masked, secret.fingerprint, secret.hmac.hex(), match.line, match.offset,
        match.check, match.confidence, match.member, match.decoded,
    )  # fmt: skip


def _match(row: list[Any]) -> LayerMatch:
    entry, rule, masked, fingerprint, hmac, line, offset, check, confidence, member, decoded = row
    secret = Secret(None, masked, fingerprint, bytes.fromhex(hmac))
    return LayerMatch(entry, rule, secret, line, offset, check, Confidence(confidence), member, tuple(decoded))
