"""What is too large to be held, in overlapping windows: a match that one cuts, another holds whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from auditor.core.errors import Damaged
from auditor.extract.budget import BudgetExceeded, ExtractContext, is_transient
from auditor.extract.file_types import HEAD
from auditor.extract.member_stream import MemberStream
from auditor.layers.windows import AHEAD, OVERLAP, WINDOW

_STEP = 256 << 10


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes from `begin` on. Matches count that end in its half-open part [owned_from, owned_to) of `data`.

    `head` are the first bytes of the whole; `newlines` stand before `begin`, and are None in binary data.
    """

    data: bytes
    head: bytes
    begin: int
    newlines: int | None
    owned_from: int
    owned_to: int


def windows(source: MemberStream, context: ExtractContext) -> Iterator[Window]:
    """Yield the windows of a stream; what was read before it breaks, or before a limit, is the last."""
    tail, begin, owned = b"", 0, 0
    head, end = source.peek(HEAD), _End()
    newlines = None if b"\0" in head else 0
    while not end.reached:
        data = _filled(tail, source, end)
        owned_to = len(data) + 1 if end.reached else max(len(data) - AHEAD, 0)
        if data:
            yield Window(data, head, begin, newlines, owned, owned_to)
        passed = max(len(data) - OVERLAP, 0)
        if newlines is not None:
            newlines += data.count(b"\n", 0, passed)
        tail, begin, owned = data[passed:], begin + passed, owned_to - passed
    if isinstance(end.reason, BudgetExceeded):
        raise end.reason
    if end.reason is not None:
        context.skip(None, str(end.reason), transient=is_transient(end.reason))


@dataclass(slots=True)
class _End:
    """Whether a stream has ended, and what broke it."""

    reached: bool = False
    reason: Damaged | BudgetExceeded | None = None


def _filled(tail: bytes, source: MemberStream, end: _End) -> bytes:
    """Return the next bytes behind the last window's tail, and note the end."""
    pieces, size = [tail], 0
    try:
        while size < WINDOW and (piece := source.read(min(_STEP, WINDOW - size))):
            pieces.append(piece)
            size += len(piece)
    except (Damaged, BudgetExceeded) as exc:
        end.reason = exc
    end.reached = size < WINDOW
    return b"".join(pieces)
