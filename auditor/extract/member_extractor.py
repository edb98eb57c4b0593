"""Members of archives, at any depth, and decoded text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from auditor.codec.random_access import FileAccess
from auditor.codec.signatures import HEAD
from auditor.core.errors import Damaged
from auditor.core.globs import matches_masked
from auditor.core.limits import DEFAULT, Limits, limit_note
from auditor.extract import compressed
from auditor.extract.budget import Budget, BudgetExceeded, ExtractContext, SkipCallback, is_transient
from auditor.extract.formats import FORMATS, ArchiveFormat, format_of
from auditor.extract.member_stream import Member, MemberStream, buffered
from auditor.extract.member_windows import MemberWindow, windows
from auditor.extract.text_decoder import encoded_parts

Body: TypeAlias = bytes | MemberStream | FileAccess
"""Content of an archive: in memory, read once, or in an open file."""

_MAX_RECOVERED = 256 << 20
"""Bytes of the largest member that is returned whole."""
_BATCH = 256 << 10
"""Bytes of small members that are handled together: some formats search several files in one call."""
_IN_BATCH = 4096
"""Members that are handled together: an empty one takes memory too."""


class ExtractedContent(NamedTuple):
    """Content of a member, or text decoded from a file or a member."""

    member: str | None
    """Path of the member through all archives: `inner.jar!app.properties`; None for the file itself."""
    decoded: tuple[str, ...]
    """Encodings removed, outermost first: `("gzip", "base64")`."""
    data: bytes
    line: int | None
    """Line, from 1, at which decoded text starts in the text around it; None for a member."""
    window: MemberWindow | None = None
    """The window that this is of a member too large to buffer."""


class PlainMembers(NamedTuple):
    """Members without anything to extract, of a format whose files are opaque: most classes of a jar.

    They come together, because making an object of each would cost more than the search of all.
    """

    names: Sequence[str]
    """As `ExtractedContent.member`."""
    bodies: Sequence[bytes]
    decoded: tuple[str, ...]

    def contents(self) -> Iterator[ExtractedContent]:
        """Yield each as a content of its own."""
        for name, body in zip(self.names, self.bodies, strict=True):
            yield ExtractedContent(name, self.decoded, body, None)


Extracted: TypeAlias = ExtractedContent | PlainMembers


class MemberExtractor:
    """Extracts members of archives and decodes text. Holds no state between files."""

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self.limits = limits

    def is_extractable(self, path: str, head: bytes) -> bool:
        """Tell whether `extract` reads a file, by its path and first 512 bytes."""
        return format_of(path, head) is not None

    def is_streamed(self, path: str, head: bytes) -> bool:
        """Tell whether a file is read front to back, so that `extract` takes a stream."""
        row = format_of(path, head)
        return row is not None and row.streamed

    def is_random(self, path: str, head: bytes) -> bool:
        """Tell whether a file is read at any offset, so that `extract` takes an open file."""
        row = format_of(path, head)
        return row is not None and row.read_random is not None

    def extract(self, path: str, data: Body, skipped: SkipCallback, size: int | None = None) -> Iterator[Extracted]:
        """Yield the content of all members, depth first, in a fixed order. Failures are noted, never raised.

        `size` is the length of a stream, in bytes.
        """
        if not isinstance(data, MemberStream):
            size = data.size if isinstance(data, FileAccess) else len(data)
        budget = Budget(self.limits, path, size or 0, skipped)
        try:
            yield from self._contents(data, ExtractContext(budget, path, None), (), 0)
        except BudgetExceeded as exc:
            budget.skip(None, str(exc), transient=exc.transient)

    def decode(self, text: bytes, skipped: SkipCallback) -> Iterator[ExtractedContent]:
        """Yield the decoded parts of a text: base64, hex, percent signs, escapes; archives in base64 are extracted."""
        budget = Budget(self.limits, "encoded text", len(text), skipped)
        count = 0
        try:
            for content in self._decoded(text, ExtractContext(budget, "", None), (), 0):
                count += 1
                if count > self.limits.stretches:
                    most = self.limits.stretches
                    raise BudgetExceeded(
                        f"more than {most} encoded parts; the rest was left out {limit_note('stretches')}"
                    )
                yield content
        except BudgetExceeded as exc:
            budget.skip(None, str(exc), transient=exc.transient)

    def member_content(self, path: str, data: bytes, member: str) -> bytes | None:
        """Return the stored bytes of a member by its path in an `ExtractedContent`; None where there is none."""
        budget = Budget(self.limits, path, len(data), lambda *_: None)
        try:
            return self._find(data, ExtractContext(budget, path, None), member, 0)
        except BudgetExceeded:
            return None

    def _decoded(
        self, text: bytes, context: ExtractContext, decoded: tuple[str, ...], depth: int
    ) -> Iterator[ExtractedContent]:
        for part in encoded_parts(text):
            context.budget.spend(len(part.data))
            codings = (*decoded, part.coding)
            contents: Iterable[ExtractedContent] = (ExtractedContent(None, codings, part.data, None),)
            if format_of("", part.data[:HEAD]) is not None:
                contents = _singly(self._contents(part.data, context, codings, 0))
            for content in contents:
                yield content._replace(line=part.line)
                if depth + 1 < self.limits.codings:
                    for inner in self._decoded(content.data, context, content.decoded, depth + 1):
                        yield inner._replace(member=content.member, line=part.line)
                elif next(encoded_parts(content.data), None) is not None:
                    context.skip(None, f"has more than {self.limits.codings} nested encodings {limit_note('codings')}")

    def _contents(
        self, body: Body, context: ExtractContext, decoded: tuple[str, ...], depth: int
    ) -> Iterator[Extracted]:
        """Yield the contents of the members of `body`, which is `depth` archives deep, or `body` itself."""
        row = _format_of(body, context)
        if isinstance(body, MemberStream) and row is not None and not (row.streamed or row.read_random):
            body = buffered(body, context)
        if row is None or depth > self.limits.nesting:
            if row is not None:
                context.skip(None, f"is nested in more than {self.limits.nesting} archives {limit_note('nesting')}")
            if isinstance(body, bytes) and (depth or decoded):
                yield ExtractedContent(context.member, decoded, body, None)
            elif isinstance(body, MemberStream) and (row is None or not row.streamed):
                for window in windows(body, context):
                    yield ExtractedContent(context.member, decoded, bytes(window.buffer), None, window)
            return
        outer = "" if context.member is None else f"{context.member}!"
        for batch in _batches(_members(row, body, context)):
            texts = _texts(batch, is_deepest=depth >= self.limits.nesting)
            for format_name, members in texts.plain.items():
                names = [f"{outer}{name}" for name, _ in members]
                yield PlainMembers(names, [body for _, body in members], (*decoded, format_name))
            del batch
            yield from self._other_contents(texts.others, context, decoded, depth)
            del texts

    def _other_contents(
        self,
        members: Iterable[tuple[Member, _Text | None]],
        context: ExtractContext,
        decoded: tuple[str, ...],
        depth: int,
    ) -> Iterator[Extracted]:
        """Yield the texts of members of an archive, and the contents of those without a text."""
        for member, text in members:
            codings = (*decoded, member.coding) if member.coding else decoded
            if text is not None:
                codings = (*codings, text.coding) if text.coding else codings
                yield ExtractedContent(context.member_path(member.name), codings, text.data, None)
                continue
            inner = _inner(member, context)
            if not _is_too_large(member, inner):
                yield from self._contents(member.body, inner, codings, depth + _levels(member, inner))

    def _find(self, body: bytes | MemberStream, context: ExtractContext, target: str, depth: int) -> bytes | None:
        row = _format_of(body, context)
        if row is None or depth > self.limits.nesting:
            return None
        for member in _members(row, body, context):
            path, inner = context.member_path(member.name), _inner(member, context)
            if row.members_renamed and target.startswith("commit "):
                path = target.partition("!")[0]
            if member.name is not None and path is not None and matches_masked(target, path):
                return member.body if isinstance(member.body, bytes) else member.body.read(_MAX_RECOVERED)
            if path is None or _leads_to(path, target):
                content = self._find(member.body, inner, target, depth + _levels(member, inner))
                if content is not None:
                    return content
        return None


def _leads_to(path: str, member: str) -> bool:
    """Tell whether a member, by its possibly masked path, is in the archive at a path."""
    outer = member.split("!")[: path.count("!") + 1]
    return len(outer) <= member.count("!") and matches_masked("!".join(outer), path)


def _singly(extracted: Iterable[Extracted]) -> Iterator[ExtractedContent]:
    for one in extracted:
        if isinstance(one, PlainMembers):
            yield from one.contents()
        else:
            yield one


class _Text(NamedTuple):
    """The text to search of a member that holds no other, and the encoding that was removed from it."""

    data: bytes
    coding: str | None


def _batches(members: Iterable[Member]) -> Iterator[list[Member]]:
    """Group members in memory. A stream comes alone, because it is read before the next member."""
    batch, size = list[Member](), 0
    exceeded = None
    try:
        for member in members:
            if isinstance(member.body, bytes):
                batch.append(member)
                size += len(member.body)
                if size < _BATCH and len(batch) < _IN_BATCH:
                    continue
                yield batch
            else:
                if batch:
                    yield batch
                yield [member]
            batch, size = [], 0
            del member  # it may be large: the next one is read without it
    except BudgetExceeded as exc:
        exceeded = exc
    if batch:
        yield batch
    if exceeded is not None:
        raise exceeded


class _Texts(NamedTuple):
    plain: dict[str, list[tuple[str, bytes]]]
    """Names and contents of plain members, by format."""
    others: list[tuple[Member, _Text | None]]
    """With the text of each member that is searched as it is; None for one that `_contents` extracts."""


def _texts(batch: Sequence[Member], *, is_deepest: bool) -> _Texts:
    """Tell what is searched of each member. In the deepest archive that is opened, `_contents` notes archives."""
    texts = _Texts({}, [])
    joint = dict[str, list[tuple[Member, str, bytes]]]()  # by format
    for member in batch:
        name, body, text = member.name, member.body, None
        if member.search_text is not None:
            text = _Text(member.search_text, None)
        elif name is not None and isinstance(body, bytes):
            row = format_of(name, body[:HEAD])
            if row is None:
                text = _Text(body, None)
            elif row.are_plain is not None and not is_deepest:
                joint.setdefault(row.name, []).append((member, name, body))
                continue
        texts.others.append((member, text))
    for name, files in joint.items():
        are_plain = FORMATS[name].are_plain
        assert are_plain is not None  # noqa: S101 - as above
        plain = texts.plain[name] = list[tuple[str, bytes]]()
        for (member, path, body), is_plain in zip(files, are_plain([body for *_, body in files]), strict=True):
            if is_plain:
                plain.append((path, body))
            else:
                texts.others.append((member, None))
    return texts


def _format_of(body: Body, context: ExtractContext) -> ArchiveFormat | None:
    try:
        if isinstance(body, FileAccess):
            head = bytes(body.view(0, HEAD))
        else:
            head = body[:HEAD] if isinstance(body, bytes) else body.peek(HEAD)
    except Damaged as exc:
        context.skip(None, str(exc), transient=is_transient(exc))
        return None
    return format_of(context.name, head)


def _inner(member: Member, context: ExtractContext) -> ExtractContext:
    name = member.name if member.name is not None else compressed.inner_name(context.name)
    return ExtractContext(context.budget, name, context.member_path(member.name))


def _is_too_large(member: Member, inner: ExtractContext) -> bool:
    """Tell whether a stream would have to be buffered and exceeds the limit, and note it."""
    if member.size is None or isinstance(member.body, bytes):
        return False
    row = _format_of(member.body, inner)
    return row is not None and not (row.streamed or row.read_random) and inner.exceeds_member_bytes(None, member.size)


def _levels(member: Member, inner: ExtractContext) -> int:
    """Return the levels that a member adds: none for the tar in a compressed tar.

    Any other content counts, or a gzip file that decompresses to itself would have no end.
    """
    row = _format_of(member.body, inner) if member.name is None else None
    return 0 if row is not None and row.one_level_when_compressed else 1


def _members(row: ArchiveFormat, body: Body, context: ExtractContext) -> Iterator[Member]:
    """Yield the members of an archive, and note any error that a library raises on damaged bytes."""
    try:
        yield from row.members(body, context)
        if isinstance(body, MemberStream):
            body.raise_error()
    except BudgetExceeded:
        raise
    except Exception as exc:  # each library has its own error classes, and damaged files raise all of them
        context.skip(None, f"can't be read as {row.name}: {type(exc).__name__}: {exc}", transient=is_transient(exc))
