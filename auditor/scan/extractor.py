"""Search of files inside files: extract members and decoded text, and search each as a file of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from auditor.core.dataclass import dataclass
from auditor.core.secret import Secret
from auditor.detect.confirm import TruncationCallback
from auditor.detect.heuristics.file_class import FileClass, file_class
from auditor.detect.hits import truncation_reason
from auditor.detect.matches import Match
from auditor.extract.budget import SkipCallback
from auditor.extract.member_extractor import Body, Extracted, ExtractedContent, MemberExtractor, PlainMembers
from auditor.provenance.checksums import Checksums
from auditor.scan.file_content import BufferedContent, StoredContent, StreamedContent
from auditor.scan.line_counter import is_binary
from auditor.scan.record import LayerMatch
from auditor.scan.search_text import SearchText
from auditor.scan.searcher import Searcher

FileContent: TypeAlias = BufferedContent | StreamedContent | StoredContent

HEAD = 512
"""Number of leading bytes that tell whether a file can be extracted."""
MAX_DECODED_TEXT = 1 << 20
"""Bytes of the largest text that is searched for encoded parts."""
NOT_CACHED = "the next scan reads this layer again"
"""Part of a message about a transient failure."""
_NAMES = 4096
"""Names of members that are searched together."""
_GROUP = 256 << 10
"""Bytes of small members that one search covers."""
_IN_GROUP = 4096
"""Members that one search covers: an empty one takes memory too."""


@dataclass(frozen=True, slots=True)
class ExtractionResult:
    """Matches in the members and decoded parts of one file, with skipped items.

    `count` and `size` are the number of members and decoded parts, and their bytes. `is_archive` is false if the file
    itself is plain and only parts of it were decoded. `transient` is set if something was skipped for a cause that may
    not recur.
    """

    count: int
    size: int
    matches: tuple[LayerMatch, ...]
    skipped: tuple[tuple[str, str], ...]
    checksums: Checksums | None
    is_archive: bool
    transient: bool = False


class Extractor:
    """Extracts files and searches their members. Holds no state between files, so threads may share it."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self._members = MemberExtractor(searcher.limits)

    def is_extractable(self, path: str, head: bytes) -> bool:
        """Whether a file, by its path and first bytes, contains other files."""
        return self._members.is_extractable(path, head)

    def is_streamed(self, path: str, head: bytes) -> bool:
        """Whether an extractable file is read front to back, so that it need not be in memory."""
        return self._members.is_streamed(path, head)

    def is_random(self, path: str, head: bytes) -> bool:
        """Whether an extractable file is read at any offset, so that it may stay where it is stored."""
        return self._members.is_random(path, head)

    def extract(self, entry: int, path: str, content: FileContent, has_matches: bool) -> ExtractionResult:
        """Extract a file at an absolute path and search its members.

        The result has checksums if the content can be read again, and it or the file itself (`has_matches`) has
        matches.
        """
        skipped, transient = list[tuple[str, str]](), False
        found: dict[tuple[object, ...], LayerMatch] = {}  # once on the border of two windows of a member
        count = size = 0
        names, name_matches = list[str](), dict[Secret, LayerMatch]()
        truncated = dict[str, None]()

        def skip(where: str, reason: str, is_transient: bool) -> None:
            nonlocal transient
            transient = transient or is_transient
            skipped.append((where, f"{reason}; {NOT_CACHED}" if is_transient else reason))

        is_archive = self.is_extractable(path, content.head(HEAD))
        for group in _grouped(self._contents(path, content, skip, is_archive=is_archive)):
            if isinstance(group, PlainMembers):
                count += len(group.bodies)
                size += sum(map(len, group.bodies))
                names += group.names
                matches = self._plain_matches(entry, path, group, truncated.setdefault)
            else:
                count += sum(piece.window is None or piece.window.start == 0 for piece in group)
                size += sum(len(piece.data) for piece in group)
                names += (piece.member for piece in group if piece.member)
                matches = self._matches(entry, path, group, truncated.setdefault)
            for match in matches:
                found.setdefault((match.member, match.decoded, match.line, match.offset, match.secret), match)
            del group, matches  # its bytes
            if len(names) > _NAMES:
                self._search_names(entry, names, name_matches)
                names.clear()
        self._search_names(entry, names, name_matches)
        every = (*found.values(), *name_matches.values())
        skipped += [(path, truncation_reason(rule, self._searcher.limits)) for rule in truncated]
        checksums = None
        if (every or has_matches) and not isinstance(content, StreamedContent):
            checksums = Checksums.of(content.blocks())
        return ExtractionResult(count, size, every, tuple(skipped), checksums, is_archive, transient)

    def _contents(
        self, path: str, content: FileContent, skip: SkipCallback, *, is_archive: bool
    ) -> Iterator[Extracted]:
        """Yield the members of a file, and the decoded parts of the file and of its members."""
        body: Body
        if isinstance(content, StreamedContent):
            body = content.stream()
        elif isinstance(content, StoredContent):
            body = content.access()
        elif is_archive:
            body = content.stream() if self.is_streamed(path, content.head(HEAD)) else content.data
        else:
            if _is_decoded(path):
                yield from self._decoded_parts(content.data, skip)
            return
        pieces = self._members.extract(path, body, skip, content.size)
        if not _is_decoded(path):
            yield from pieces
            return
        for piece in pieces:
            yield piece
            if not isinstance(piece, PlainMembers):
                for inner in self._decoded_parts(piece.data, skip):
                    codings = (*piece.decoded, *inner.decoded)
                    yield ExtractedContent(piece.member, codings, inner.data, inner.line)
            del piece

    def _decoded_parts(self, text: bytes, skip: SkipCallback) -> Iterable[ExtractedContent]:
        if len(text) > MAX_DECODED_TEXT or is_binary(text):
            return ()
        return self._members.decode(text, skip)

    def _matches(
        self, entry: int, path: str, group: Sequence[ExtractedContent], on_truncation: TruncationCallback
    ) -> Iterator[LayerMatch]:
        """Yield the matches in some members of the file at an absolute path."""
        texts = [SearchText(piece.data, _path_of(path, piece.member), piece.window) for piece in group]
        found = self._searcher.search_texts(texts, on_truncation)
        for piece, text, matches in zip(group, texts, found, strict=True):
            if matches:
                yield from _located(entry, piece, text, matches)

    def _plain_matches(
        self, entry: int, path: str, members: PlainMembers, on_truncation: TruncationCallback
    ) -> Iterator[LayerMatch]:
        """Yield the matches in plain members of the file at an absolute path."""
        paths = [_path_of(path, name) for name in members.names]
        for at, matches in self._searcher.search_opaque(members.bodies, paths, on_truncation):
            content = ExtractedContent(members.names[at], members.decoded, members.bodies[at], None)
            yield from _located(entry, content, SearchText(content.data, paths[at]), matches)

    def _search_names(self, entry: int, members: Sequence[str], found: dict[Secret, LayerMatch]) -> None:
        """Add the secrets in members' names to `found`, each once, for the first member with it."""
        for index, match in self._searcher.search_lines(members):
            if match.secret not in found:
                found[match.secret] = LayerMatch(
                    entry, match.rule.id, match.secret, None, 0, match.check, match.confidence, members[index]
                )


def _is_decoded(path: str) -> bool:
    """Whether encoded parts of a file are decoded: not in packages, where they are pictures and test data."""
    return file_class(path) < FileClass.THIRD_PARTY


def _path_of(file: str, member: str | None) -> str:
    """Return the absolute path of a member: archives count as folders."""
    return f"{file}/{member.replace('!', '/')}" if member else file


def _located(entry: int, content: ExtractedContent, text: SearchText, matches: Sequence[Match]) -> Iterator[LayerMatch]:
    """Yield the matches in a text with their lines and offsets."""
    for match, line in zip(matches, text.lines(match.start for match in matches), strict=True):
        yield LayerMatch(
            entry, match.rule.id, match.secret, line if content.line is None else content.line,
            text.offset(match.start), match.check, match.confidence, content.member, content.decoded,
        )  # fmt: skip


def _grouped(contents: Iterable[Extracted]) -> Iterator[list[ExtractedContent] | PlainMembers]:
    """Group small contents: a search of each alone costs more in its call than in the search."""
    group: list[ExtractedContent] = []
    size = 0
    for content in contents:
        if isinstance(content, PlainMembers):
            yield content
            continue
        if group and (size + len(content.data) > _GROUP or len(group) == _IN_GROUP):
            yield group
            group, size = [], 0
        group.append(content)
        size += len(content.data)
        del content
        if size > _GROUP:  # a large one is searched, and freed, before the next one is read
            yield group
            group, size = [], 0
    if group:
        yield group
