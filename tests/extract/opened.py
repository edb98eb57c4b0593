"""Helpers: extract a file, decode a text, and look up a secret in the result."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.core.limits import Limits
from auditor.extract.member_extractor import ExtractedContent, MemberExtractor, PlainMembers


@dataclass(frozen=True)
class Opened:
    pieces: tuple[ExtractedContent, ...]
    notes: tuple[tuple[str, str], ...]

    def ways(self, secret: str) -> list[tuple[str | None, tuple[str, ...]]]:
        """Return member and encodings of each piece with a secret."""
        return [(piece.member, piece.decoded) for piece in self.pieces if secret.encode() in piece.data]

    @property
    def members(self) -> list[str | None]:
        return [piece.member for piece in self.pieces]


def opened(path: str, data: bytes, **limits: int) -> Opened:
    notes: list[tuple[str, str]] = []
    extractor = MemberExtractor(Limits(**limits))
    extracted = extractor.extract(path, data, lambda where, why, _: notes.append((where, why)))
    pieces = tuple(
        piece for one in extracted for piece in (one.contents() if isinstance(one, PlainMembers) else (one,))
    )
    return Opened(pieces, tuple(notes))


def decoded(text: bytes | str, **limits: int) -> Opened:
    notes: list[tuple[str, str]] = []
    extractor = MemberExtractor(Limits(**limits))
    data = text.encode() if isinstance(text, str) else text
    pieces = tuple(extractor.decode(data, lambda where, why, _: notes.append((where, why))))
    return Opened(pieces, tuple(notes))
