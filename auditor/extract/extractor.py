"""All that is packed in a file, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from auditor.core.globs import fits_masked
from auditor.core.limits import DEFAULT, Limits, named
from auditor.extract import bytecode_strings, encoded, git, isolated, linux_packages, streams, tars, zips
from auditor.extract.budget import Budget, Exhausted, Note, Room, is_transient
from auditor.extract.content import Part, Source
from auditor.extract.file_types import HEAD, STREAMED, kind_of
from auditor.extract.member_windows import Window, windows

Reader = Callable[[bytes | Source, Room, str], Iterator[Part]]


@dataclass(frozen=True, slots=True)
class Piece:
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


class Unpacker:
    """Opens archives, packages, databases, repositories and encodings. Holds no state between files."""

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self.limits = limits

    may_hold_stretches = staticmethod(encoded.may_hold_stretches)

    def looks_packed(self, path: str, head: bytes) -> bool:
        """Tell whether a file is worth giving to `unpack`, by its path and first 512 bytes."""
        return kind_of(path, head) is not None

    def is_streamed(self, path: str, head: bytes) -> bool:
        """Tell whether a file is read front to back, so that a stream of it will do."""
        return kind_of(path, head) in STREAMED

    def unpack(self, path: str, data: bytes | Source, skipped: Note, size: int | None = None) -> Iterator[Piece]:
        """Yield what is in a file, depth first, in a fixed order. Raises nothing: what fails is noted.

        `size` is that of a stream, in bytes.
        """
        budget = Budget(self.limits, path, len(data) if isinstance(data, bytes) else size or 0, skipped)
        try:
            yield from self._pieces(data, Room(budget, path, None), (), 0)
        except Exhausted as exc:
            budget.skip(None, str(exc), transient=exc.transient)

    def stretches(self, text: bytes, skipped: Note) -> Iterator[Piece]:
        """Yield what is encoded in a text: base64, hex, percent signs, escapes; containers in base64 are opened."""
        budget = Budget(self.limits, "encoded text", len(text), skipped)
        found = 0
        try:
            for piece in self._stretches(text, Room(budget, "", None), (), 0):
                found += 1
                if found > self.limits.stretches:
                    raise Exhausted(
                        f"more than {self.limits.stretches} stretches; the rest was left out {named('stretches')}"
                    )
                yield piece
        except Exhausted as exc:
            budget.skip(None, str(exc), transient=exc.transient)

    def _stretches(self, text: bytes, room: Room, decoded: tuple[str, ...], depth: int) -> Iterator[Piece]:
        for found in encoded.stretches(text):
            room.budget.spend(len(found.data))
            codings = (*decoded, found.coding)
            pieces: Iterable[Piece] = (Piece(None, codings, found.data, None),)
            if kind_of("", found.data[:HEAD]) is not None:
                pieces = self._pieces(found.data, room, codings, 0)
            for piece in pieces:
                yield replace(piece, line=found.line)
                if depth + 1 < self.limits.codings:
                    for inner in self._stretches(piece.data, room, piece.decoded, depth + 1):
                        yield replace(inner, member=piece.member, line=found.line)
                elif next(encoded.stretches(piece.data), None) is not None:
                    room.skip(None, f"lies deeper than {self.limits.codings} encodings {named('codings')}")

    def member_of(self, path: str, data: bytes, member: str) -> bytes | None:
        """Return a member as it is stored, by the way in that a `Piece` gives; None where there is none."""
        budget = Budget(self.limits, path, len(data), lambda *_: None)
        try:
            return self._find(data, Room(budget, path, None), member, 0)
        except Exhausted:
            return None

    def _pieces(self, body: bytes | Source, room: Room, decoded: tuple[str, ...], depth: int) -> Iterator[Piece]:
        """Yield what is in `body`, which lies `depth` archives deep, or `body` itself."""
        kind = _kind(body, room)
        if kind is None or depth > self.limits.nesting:
            if kind is not None:
                room.skip(None, f"lies deeper than {self.limits.nesting} archives {named('nesting')}")
            if isinstance(body, bytes) and (depth or decoded):
                yield Piece(room.member, decoded, body, None)
            elif isinstance(body, Source) and kind is None:
                for window in windows(body, room):
                    yield Piece(room.member, decoded, window.data, None, window)
            return
        for part in _parts(kind, body, room):
            inner, codings = _inner(part, room), decoded + ((part.coding,) if part.coding else ())
            if part.shown is not None:
                yield Piece(inner.member, codings, part.shown, None)
            elif part.coding in _TEXTS:
                yield Piece(room.way(part.name), codings, bytes(part.body), None)  # type: ignore[arg-type]
            else:
                yield from self._pieces(part.body, inner, codings, depth + _levels(part, inner))

    def _find(self, body: bytes | Source, room: Room, member: str, depth: int) -> bytes | None:
        kind = _kind(body, room)
        if kind is None or depth > self.limits.nesting:
            return None
        for part in _parts(kind, body, room):
            way, inner = room.way(part.name), _inner(part, room)
            if kind == "git-object" and member.startswith("commit "):
                way = member.partition("!")[0]  # the history of all objects may have named it since
            if part.name is not None and way is not None and fits_masked(member, way):
                return part.body if isinstance(part.body, bytes) else part.body.read(self.limits.unpacked_bytes)
            if way is None or _leads_to(way, member):
                found = self._find(part.body, inner, member, depth + _levels(part, inner))
                if found is not None:
                    return found
        return None


def _leads_to(way: str, member: str) -> bool:
    """Whether an archive is on the way to a member, whose name may be masked."""
    outer = member.split("!")[: way.count("!") + 1]
    return len(outer) <= member.count("!") and fits_masked("!".join(outer), way)


def _kind(body: bytes | Source, room: Room) -> str | None:
    return kind_of(room.name, body[:HEAD] if isinstance(body, bytes) else body.peek(HEAD))


def _inner(part: Part, room: Room) -> Room:
    name = part.name if part.name is not None else streams.inner_name(room.name)
    return Room(room.budget, name, room.way(part.name))


def _levels(part: Part, room: Room) -> int:
    """A compressed tar is one level; whatever else is decoded counts, or a quine of gzip would have no end."""
    return 0 if part.name is None and _kind(part.body, room) in ("tar", "cpio") else 1


def _parts(kind: str, body: bytes | Source, room: Room) -> Iterator[Part]:
    """Yield what a reader finds, whatever a hostile file makes its library raise."""
    try:
        yield from _READERS[kind](body, room, kind)
    except Exhausted:
        raise
    except Exception as exc:  # each library has errors of its own, and hostile bytes reach all of them
        room.skip(None, f"can't be read as {kind}: {type(exc).__name__}: {exc}", transient=is_transient(exc))


_READERS: dict[str, Reader] = {
    "zip": zips.archive,
    "tar": tars.tar,
    "gzip": streams.compressed,
    "bzip2": streams.compressed,
    "xz": streams.compressed,
    "zstd": streams.compressed,
    "utf-16le": streams.utf16,
    "utf-16be": streams.utf16,
    "deb": linux_packages.deb,
    "rpm": linux_packages.rpm,
    "cpio": linux_packages.cpio,
    "7z": isolated.read,
    "sqlite": isolated.read,
    "pyc": bytecode_strings.pyc,
    "class": bytecode_strings.java,
    "git-object": git.loose,
    "git-pack": git.pack,
}
_TEXTS = frozenset(("utf-16le", "utf-16be", "pyc", "class"))
