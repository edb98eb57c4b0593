"""Files that published packages install: their MD5 is in the package's `md5sums`. Source: deb-md5sums(5).

MD5 has collisions: whoever makes a package could make two files of one MD5. But the package is a published one, and no
method is known that finds another file with the MD5 of a given one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from auditor.core.dataclass import dataclass
from auditor.extract.member_extractor import MemberExtractor

HEAD = 4 << 20
"""Bytes at the start of a package that have its `md5sums`; the largest have 1 MB."""
_COMPRESSIONS = ("xz", "zst", "gz")


@dataclass(frozen=True, slots=True)
class PackageFiles:
    """Files of published packages: `md5sums` has lines of MD5 in hex, two spaces, and a path without its first `/`."""

    publisher: str
    md5sums: bytes


def md5sums_of(head: bytes) -> bytes:
    """Return the `md5sums` of a package by its first bytes; an empty text if it has none."""
    members = (f"control.tar.{compression}!md5sums" for compression in _COMPRESSIONS)
    found = (MemberExtractor().member_content("/package.deb", head, member) for member in members)
    return next(filter(None, found), b"")


def digests_of(packages: Iterable[PackageFiles], paths: Collection[bytes]) -> Mapping[bytes, tuple[bytes, str]]:
    """Return MD5 digest and publisher of the files at some paths of a tar, by path."""
    wanted = {path.removeprefix(b"./"): path for path in paths}
    found = dict[bytes, tuple[bytes, str]]()
    for package in packages:
        for line in package.md5sums.splitlines():
            if path := wanted.get(line[34:]):
                found[path] = bytes.fromhex(line[:32].decode("latin-1")), package.publisher
    return found
