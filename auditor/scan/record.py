"""What a scan of one layer comes to. It says nothing of other layers, so it holds wherever the layer is used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from auditor.core.digests import DiffID, Digest
from auditor.core.finding import Confidence
from auditor.core.secret import Secret
from auditor.layers.listing import Listing


@dataclass(frozen=True, slots=True)
class LayerMatch:
    """A secret in entry number `entry` of a listing, or in what is packed in it.

    `line` counts from 1, None in binary data; `offset` is the place in the file or member, in bytes.
    """

    entry: int
    rule: str
    secret: Secret
    line: int | None
    offset: int
    check: str
    confidence: Confidence
    member: str | None = None
    decoded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checksums:
    """A file's hashes, in hexadecimal digits: what package databases compare it with."""

    md5: str
    sha1: str
    sha256: str

    @classmethod
    def of(cls, content: Iterable[bytes]) -> Self:
        """Hash a file's whole content, which comes in pieces."""
        hashes = (hashlib.md5(usedforsecurity=False), hashlib.sha1(usedforsecurity=False), hashlib.sha256())
        for piece in content:
            for one in hashes:
                one.update(piece)
        return cls(*(one.hexdigest() for one in hashes))


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """What a layer holds. `digest` and `size` are of the stored bytes; `skipped` gives paths and reasons.

    `checksums` are of files with matches; `documents` the zlib-compressed content of package databases, by entry.
    `transient` tells that something was skipped for a cause that may not be there next time: the time was up, a process
    or an allocation failed. Such a record is used, and not kept.
    """

    digest: Digest
    size: int
    diff_id: DiffID
    uncompressed: int
    listing: Listing
    matches: tuple[LayerMatch, ...]
    skipped: tuple[tuple[str | None, str], ...]
    is_tar: bool
    decoded: int = 0
    checksums: Mapping[int, Checksums] = field(default_factory=dict)
    documents: Mapping[int, bytes] = field(default_factory=dict)
    transient: bool = False

    def sealed(self, key: bytes, *, keep: bool) -> Self:
        """Return the record with an identity under `key` for each secret, whose text goes unless `keep` is set."""
        matches = tuple(replace(match, secret=match.secret.with_hmac(key, keep_text=keep)) for match in self.matches)
        return replace(self, matches=matches)
