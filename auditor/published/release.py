"""Signed release files of Debian archives: `InRelease`.

Source: https://wiki.debian.org/DebianRepository/Format. The keys in `keys/` are the archive keys of the distributions,
each file named after one; `python -m tools.archive_keys` writes them.
"""

from __future__ import annotations

import functools
import re
from contextlib import suppress
from pathlib import Path

from pysequoia import Cert, verify

from auditor.core.dataclass import dataclass

_KEYS = Path(__file__).parent / "keys"
_BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----"
_LISTS = re.compile(rb"^SHA256:[^\S\n]*\n((?: .*\n?)+)", re.MULTILINE)
_LIST = re.compile(rb"^ ([0-9a-f]{64}) +[0-9]+ (?:\S*/)?Packages$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Release:
    """SHA-256 digests of the uncompressed package lists of a release, and the distribution that signed them."""

    publisher: str
    lists: frozenset[bytes]


class ReleaseReader:
    """Reads an `InRelease` file that arrives in blocks."""

    def __init__(self) -> None:
        self._data = bytearray()

    def update(self, block: memoryview) -> None:
        """Take the next bytes."""
        self._data += block

    def finish(self) -> Release | None:
        """Return the release, after the last byte; None unless an archive key of a distribution signed it.

        A key that expired since counts: the release was published. Text outside of the signed part is ignored.
        """
        data = bytes(self._data)
        if not data.startswith(_BEGIN):  # another kind of OpenPGP message
            return None
        for publisher, certificates in _publishers(_KEYS):
            with suppress(RuntimeError, ValueError):  # not signed by it
                signed = verify(data, store=lambda _ids, known=certificates: list(known)).bytes
                lists = _LISTS.search(signed or b"")
                digests = _LIST.findall(lists[1]) if lists else ()
                return Release(publisher, frozenset(bytes.fromhex(digest.decode()) for digest in digests))
        return None


@functools.cache
def _publishers(folder: Path) -> tuple[tuple[str, tuple[Cert, ...]], ...]:
    return tuple((path.stem, tuple(Cert.split_file(str(path)))) for path in sorted(folder.glob("*.asc")))
