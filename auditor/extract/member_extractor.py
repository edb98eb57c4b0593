"""All that is packed in a file, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from auditor.core.globs import fits_masked
from auditor.core.limits import DEFAULT, Limits, named
from auditor.extract import (
    compressed,
    git_objects,
    isolated_reader,
    java_class,
    linux_packages,
    tar_archive,
    text_decoder,
    zip_archive,
)
from auditor.extract.budget import Budget, BudgetExceeded, ExtractContext, SkipCallback, is_transient
from auditor.extract.file_types import HEAD, STREAMED, kind_of
from auditor.extract.member_stream import Member, MemberStream
from auditor.extract.member_windows import Window, windows

Reader = Callable[[bytes | MemberStream, ExtractContext, str], Iterator[Member]]


@dataclass(frozen=True, slots=True)
class ExtractedContent:
    """A file inside a file, or a decoded stretch of it."""

    member: str | None
    """The way in, joined with `!`: `inner.jar!app.properties`; None for the file itself, decoded."""
    decoded: tuple[str, ...]
    """Codings from the outside in: `("gzip", "base64")`."""
    data: bytes
    line: int | None
    """Of a decoded stretch the line of the outer text where it starts, from 1."""
    window: Window | None = None
    """Of a file that comes in several pieces the part that this one is."""


class MemberExtractor:
    """Opens archives, packages, databases, repositories and encodings. Holds no state between files."""

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self.limits = limits

    may_hold_encoded_text = staticmethod(text_decoder.may_hold_encoded_text)

    def is_extractable(self, path: str, head: bytes) -> bool:
        """Tell whether a file is worth giving to `unpack`, by its path and first 512 bytes."""
        return kind_of(path, head) is not None

    def is_streamed(self, path: str, head: bytes) -> bool:
        """Tell whether a file is read front to back, so that a stream of it will do."""
        return kind_of(path, head) in STREAMED

    def extract(
        self, path: str, data: bytes | MemberStream, skipped: SkipCallback, size: int | None = None
    ) -> Iterator[ExtractedContent]:
        """Yield what is in a file, depth first, in a fixed order. Raises nothing: what fails is noted.

        `size` is that of a stream, in bytes.
        """
        budget = Budget(self.limits, path, len(data) if isinstance(data, bytes) else size or 0, skipped)
        try:
            yield from self._pieces(data, ExtractContext(budget, path, None), (), 0)
        except BudgetExceeded as exc:
            budget.skip(None, str(exc), transient=exc.transient)

    def decode(self, text: bytes, skipped: SkipCallback) -> Iterator[ExtractedContent]:
        """Yield what is encoded in a text: base64, hex, percent signs, escapes; containers in base64 are opened."""
        budget = Budget(self.limits, "encoded text", len(text), skipped)
        found = 0
        try:
            for piece in self._stretches(text, ExtractContext(budget, "", None), (), 0):
                found += 1
                if found > self.limits.stretches:
                    raise BudgetExceeded(
                        f"more than {self.limits.stretches} stretches; the rest was left out {named('stretches')}"
                    )
                yield piece
        except BudgetExceeded as exc:
            budget.skip(None, str(exc), transient=exc.transient)

    def _stretches(
        self, text: bytes, context: ExtractContext, decoded: tuple[str, ...], depth: int
    ) -> Iterator[ExtractedContent]:
        for found in text_decoder.stretches(text):
            context.budget.spend(len(found.data))
            codings = (*decoded, found.coding)
            pieces: Iterable[ExtractedContent] = (ExtractedContent(None, codings, found.data, None),)
            if kind_of("", found.data[:HEAD]) is not None:
                pieces = self._pieces(found.data, context, codings, 0)
            for piece in pieces:
                yield replace(piece, line=found.line)
                if depth + 1 < self.limits.codings:
                    for inner in self._stretches(piece.data, context, piece.decoded, depth + 1):
                        yield replace(inner, member=piece.member, line=found.line)
                elif next(text_decoder.stretches(piece.data), None) is not None:
                    context.skip(None, f"lies deeper than {self.limits.codings} encodings {named('codings')}")

    def member_content(self, path: str, data: bytes, member: str) -> bytes | None:
        """Return a member as it is stored, by the way in that a `Piece` gives; None where there is none."""
        budget = Budget(self.limits, path, len(data), lambda *_: None)
        try:
            return self._find(data, ExtractContext(budget, path, None), member, 0)
        except BudgetExceeded:
            return None

    def _pieces(
        self, body: bytes | MemberStream, context: ExtractContext, decoded: tuple[str, ...], depth: int
    ) -> Iterator[ExtractedContent]:
        """Yield what is in `body`, which lies `depth` archives deep, or `body` itself."""
        kind = _kind(body, context)
        if kind is None or depth > self.limits.nesting:
            if kind is not None:
                context.skip(None, f"lies deeper than {self.limits.nesting} archives {named('nesting')}")
            if isinstance(body, bytes) and (depth or decoded):
                yield ExtractedContent(context.member, decoded, body, None)
            elif isinstance(body, MemberStream) and kind is None:
                for window in windows(body, context):
                    yield ExtractedContent(context.member, decoded, window.data, None, window)
            return
        for part in _parts(kind, body, context):
            inner, codings = _inner(part, context), decoded + ((part.coding,) if part.coding else ())
            if part.shown is not None:
                yield ExtractedContent(inner.member, codings, part.shown, None)
            elif part.coding in _TEXTS:
                yield ExtractedContent(context.member_path(part.name), codings, bytes(part.body), None)  # type: ignore[arg-type]
            else:
                yield from self._pieces(part.body, inner, codings, depth + _levels(part, inner))

    def _find(self, body: bytes | MemberStream, context: ExtractContext, member: str, depth: int) -> bytes | None:
        kind = _kind(body, context)
        if kind is None or depth > self.limits.nesting:
            return None
        for part in _parts(kind, body, context):
            member_path, inner = context.member_path(part.name), _inner(part, context)
            if kind == "git-object" and member.startswith("commit "):
                member_path = member.partition("!")[0]  # the history of all objects may have named it since
            if part.name is not None and member_path is not None and fits_masked(member, member_path):
                return part.body if isinstance(part.body, bytes) else part.body.read(self.limits.unpacked_bytes)
            if member_path is None or _leads_to(member_path, member):
                found = self._find(part.body, inner, member, depth + _levels(part, inner))
                if found is not None:
                    return found
        return None


def _leads_to(member_path: str, member: str) -> bool:
    """Whether an archive is on the way to a member, whose name may be masked."""
    outer = member.split("!")[: member_path.count("!") + 1]
    return len(outer) <= member.count("!") and fits_masked("!".join(outer), member_path)


def _kind(body: bytes | MemberStream, context: ExtractContext) -> str | None:
    return kind_of(context.name, body[:HEAD] if isinstance(body, bytes) else body.peek(HEAD))


def _inner(part: Member, context: ExtractContext) -> ExtractContext:
    name = part.name if part.name is not None else compressed.inner_name(context.name)
    return ExtractContext(context.budget, name, context.member_path(part.name))


def _levels(part: Member, context: ExtractContext) -> int:
    """A compressed tar is one level; whatever else is decoded counts, or a quine of gzip would have no end."""
    return 0 if part.name is None and _kind(part.body, context) in ("tar", "cpio") else 1


def _parts(kind: str, body: bytes | MemberStream, context: ExtractContext) -> Iterator[Member]:
    """Yield what a reader finds, whatever a hostile file makes its library raise."""
    try:
        yield from _READERS[kind](body, context, kind)
    except BudgetExceeded:
        raise
    except Exception as exc:  # each library has errors of its own, and hostile bytes reach all of them
        context.skip(None, f"can't be read as {kind}: {type(exc).__name__}: {exc}", transient=is_transient(exc))


_READERS: dict[str, Reader] = {
    "zip": zip_archive.archive,
    "tar": tar_archive.tar,
    "gzip": compressed.compressed,
    "bzip2": compressed.compressed,
    "xz": compressed.compressed,
    "zstd": compressed.compressed,
    "utf-16le": compressed.utf16,
    "utf-16be": compressed.utf16,
    "deb": linux_packages.deb,
    "rpm": linux_packages.rpm,
    "cpio": linux_packages.cpio,
    "7z": isolated_reader.read,
    "sqlite": isolated_reader.read,
    "pyc": java_class.pyc,
    "class": java_class.java,
    "git-object": git_objects.loose,
    "git-pack": git_objects.pack,
}
_TEXTS = frozenset(("utf-16le", "utf-16be", "pyc", "class"))
