"""The record of one layer, which images with the layer share.

It depends on the layer's bytes and the rules, and on which packages are known to be published when it is scanned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Self

from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID, Digest
from auditor.core.finding import Confidence
from auditor.core.secret import Secret
from auditor.layers.listing import Listing
from auditor.provenance.checksums import Checksums
from auditor.published.image_lists import PackageLists


@dataclass(frozen=True, slots=True)
class LayerMatch:
    """A secret in entry number `entry` of a listing, or in a member extracted from it.

    `line` counts from 1, None in binary data; `offset` is in bytes from the start of the file or member.
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
class LayerRecord:
    """Entries, matches and skipped items of a layer. `digest` and `size` are of the stored bytes.

    `uncompressed` is the size of the uncompressed tar. `skipped` has paths and reasons. `decoded` counts members and
    decoded pieces. `checksums` are those of files with matches, `package_databases` the zlib-compressed content of
    package databases, both by entry. `published` has the publisher of each package that was not extracted because a
    distribution published it, `package_lists` prove that of packages here and in layers above: auditor/published.
    `transient` is set if something was skipped for a cause that may not recur, such as a timeout, a failed process or
    lack of memory: such a record is used, but not cached. `has_clean_headers` is set if the header texts of `listing`
    were searched with the same rules and contain no secret.
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
    package_databases: Mapping[int, bytes] = field(default_factory=dict)
    published: Mapping[int, str] = field(default_factory=dict)
    package_lists: PackageLists = field(default_factory=PackageLists)
    transient: bool = False
    has_clean_headers: bool = field(default=False, compare=False)

    def with_hmacs(self, key: bytes, *, keep_text: bool) -> Self:
        """Return the record with an HMAC under `key` for each secret; without their texts unless `keep_text`."""
        matches = tuple(
            replace(match, secret=match.secret.with_hmac(key, keep_text=keep_text)) for match in self.matches
        )
        return replace(self, matches=matches)
