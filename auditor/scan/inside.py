"""What is packed or encoded in one file: every piece searched as a file of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.core.secret import Secret
from auditor.detect.confirm import TruncationCallback
from auditor.detect.heuristics.file_class import FileClass, file_class
from auditor.detect.hits import truncation_reason
from auditor.extract import ExtractedContent, MemberExtractor
from auditor.extract.budget import SkipCallback
from auditor.scan.file_content import BufferedContent, StreamedContent
from auditor.scan.lines import is_binary
from auditor.scan.record import Checksums, LayerMatch
from auditor.scan.text import Text

if TYPE_CHECKING:
    from auditor.scan.scanner import Scanner

HEAD = 512
"""Bytes of a file that tell whether it is packed."""
MAX_STRETCHED = 1 << 20
"""Texts up to this size, in bytes, are searched for encoded stretches."""
NOT_KEPT = "the next scan reads this layer again"
"""What a line adds about a transient failure."""
_GROUP = 256 << 10
"""Bytes of small pieces that are searched together."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a file holds inside: how many pieces, the secrets in them, what was not read and why.

    `size` is that of all pieces, in bytes; `packed` tells that they are its content, and not stretches of it;
    `transient` that something was not read for a cause that may not be there next time.
    """

    pieces: int
    size: int
    matches: tuple[LayerMatch, ...]
    skipped: tuple[tuple[str, str], ...]
    checksums: Checksums | None
    packed: bool
    transient: bool = False


class Inside:
    """Looks into files on behalf of a scanner. Holds no state between files, so several threads may share it."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._extractor = MemberExtractor(scanner.limits)

    def is_extractable(self, path: str, head: bytes) -> bool:
        """Whether a file, by its path and first bytes, holds others."""
        return self._extractor.is_extractable(path, head)

    def is_streamed(self, path: str, head: bytes) -> bool:
        """Whether a file that is packed is read front to back."""
        return self._extractor.is_streamed(path, head)

    def look(self, entry: int, path: str, content: BufferedContent | StreamedContent, known: bool) -> Look:
        """Open a file at an absolute path and search what is in it.

        Its checksums are given where it holds something, or is `known` to, and was held.
        """
        skipped, transient = list[tuple[str, str]](), False
        matches: list[LayerMatch] = []
        count = size = 0
        names = dict[str, None]()
        overrun = dict[str, None]()

        def note(where: str, reason: str, passes: bool) -> None:
            nonlocal transient
            transient = transient or passes
            skipped.append((where, f"{reason}; {NOT_KEPT}" if passes else reason))

        for group in _grouped(self._pieces(path, content, note)):
            count += sum(piece.window is None or piece.window.start == 0 for piece in group)
            size += sum(len(piece.data) for piece in group)
            matches += self._matches(entry, path, group, overrun.setdefault)
            names |= dict.fromkeys(piece.member for piece in group if piece.member)
        matches += self._in_names(entry, list(names))
        skipped += [(path, truncation_reason(rule, self._scanner.limits)) for rule in overrun]
        checksums = Checksums.of(content) if isinstance(content, BufferedContent) and (matches or known) else None
        packed = self.is_extractable(path, content.head(HEAD))
        return Look(count, size, tuple(matches), tuple(skipped), checksums, packed, transient)

    def _in_names(self, entry: int, members: Sequence[str]) -> Iterator[LayerMatch]:
        """Yield the secrets in the names of members, each once for the first member that it leads to."""
        seen = set[Secret]()
        for at, found in self._scanner.scan_lines(members):
            if found.secret not in seen:
                seen.add(found.secret)
                yield LayerMatch(
                    entry, found.rule.id, found.secret, None, 0, found.check, found.confidence, members[at]
                )

    def _pieces(
        self, path: str, content: BufferedContent | StreamedContent, skipped: SkipCallback
    ) -> Iterator[ExtractedContent]:
        """Yield what is packed in a file, and what is encoded in it or in that."""
        head = content.head(HEAD)
        if isinstance(content, BufferedContent) and not self.is_extractable(path, head):
            yield from self._stretches(path, content.whole(), skipped)
            return
        body = content.body(streamed=self.is_streamed(path, head))
        for piece in self._extractor.extract(path, body, skipped, content.size):
            yield piece
            for inner in self._stretches(path, piece.data, skipped):
                codings = (*piece.decoded, *inner.decoded)
                yield ExtractedContent(piece.member, codings, inner.data, inner.line)

    def _stretches(self, path: str, text: bytes, skipped: SkipCallback) -> Iterator[ExtractedContent]:
        # What a package brought is searched as it stands: it is most of an image, and encodes pictures and tests.
        if len(text) <= MAX_STRETCHED and file_class(path) < FileClass.THIRD_PARTY and not is_binary(text):
            yield from self._extractor.decode(text, skipped)

    def _matches(
        self, entry: int, path: str, group: Sequence[ExtractedContent], overrun: TruncationCallback
    ) -> Iterator[LayerMatch]:
        """Yield the secrets in some pieces of the file at an absolute path."""
        texts = [
            Text(piece.data, f"{path}/{piece.member.replace('!', '/')}" if piece.member else path, piece.window)
            for piece in group
        ]
        for piece, text, found in zip(group, texts, self._scanner.scan_texts(texts, overrun), strict=True):
            for one, line in zip(found, text.lines(one.start for one in found), strict=True):
                yield LayerMatch(
                    entry, one.rule.id, one.secret, line if piece.line is None else piece.line, text.offset(one.start),
                    one.check, one.confidence, piece.member, piece.decoded,
                )  # fmt: skip


def _grouped(pieces: Iterable[ExtractedContent]) -> Iterator[list[ExtractedContent]]:
    """Put small pieces together: to search each by itself costs more than the search."""
    group: list[ExtractedContent] = []
    size = 0
    for piece in pieces:
        if group and size + len(piece.data) > _GROUP:
            yield group
            group, size = [], 0
        group.append(piece)
        size += len(piece.data)
    if group:
        yield group
