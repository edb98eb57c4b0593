"""Inputs of one search: a small file, a window of a large one, a text outside of files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from auditor.codec.signatures import is_opaque
from auditor.detect.heuristics.file_class import is_third_party_source
from auditor.extract.member_windows import MemberWindow
from auditor.scan.line_counter import is_binary

SIGNATURE_BYTES = 16
"""Number of leading bytes that show whether a file is opaque."""


class SearchText(NamedTuple):
    """Bytes of a file, or a window of them, and its absolute path; an empty path for a text outside of files."""

    data: bytes
    path: str
    window: MemberWindow | None = None

    @property
    def token_rules_only(self) -> bool:
        """Whether keyword rules are not applied: no words stand beside secrets in opaque files, most of an image."""
        head, start = (self.window.head, self.window.start) if self.window else (self.data, 0)
        return is_opaque(head[:SIGNATURE_BYTES], start + len(self.data)) or is_third_party_source(self.path)

    def lines(self, positions: Iterable[int]) -> Iterator[int | None]:
        """Yield the line number, from 1, of each of the ascending positions in `data`; None in binary data."""
        newlines = self.window.newlines if self.window else (None if is_binary(self.data) else 0)
        counted_to = 0
        for position in positions:
            if newlines is not None:
                newlines += self.data.count(b"\n", counted_to, position)
                counted_to = position
            yield None if newlines is None else newlines + 1

    def offset(self, position: int) -> int:
        """Return the offset in the file of a position in `data`, in bytes."""
        return (self.window.start if self.window else 0) + position
