"""What is searched at once: a small file, a window of a large one, a text of no file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from auditor.detect.heuristics.file_class import is_foreign_source
from auditor.extract.member_windows import MemberWindow
from auditor.scan.lines import is_binary
from auditor.scan.wordless import HEAD, MIN_WORDLESS, is_wordless


@dataclass(frozen=True, slots=True)
class Text:
    """A file's bytes, or a window of them, and its absolute path; "" for a text of no file."""

    data: bytes
    path: str
    window: MemberWindow | None = None

    @property
    def is_wordless(self) -> bool:
        """Whether words say nothing in it."""
        return is_foreign_source(self.path) or (len(self.data) >= MIN_WORDLESS and is_wordless(self._head[:HEAD]))

    def lines(self, places: Iterable[int]) -> Iterator[int | None]:
        """Yield the line, from 1, of each of some rising places in `data`; None in binary data."""
        before = self.window.newlines if self.window else (None if is_binary(self.data) else 0)
        at = 0
        for place in places:
            if before is not None:
                before += self.data.count(b"\n", at, place)
                at = place
            yield None if before is None else before + 1

    def offset(self, place: int) -> int:
        """Return where a place in `data` is in the file, in bytes."""
        return (self.window.start if self.window else 0) + place

    @property
    def _head(self) -> bytes:
        return self.window.head if self.window else self.data
