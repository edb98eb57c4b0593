"""Windows of a member that is too large to buffer."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.codec.signatures import HEAD
from auditor.codec.windows import OVERLAP, WINDOW, Window
from auditor.core.dataclass import dataclass
from auditor.core.errors import Damaged
from auditor.extract.budget import BudgetExceeded, ExtractContext, is_transient
from auditor.extract.member_stream import MemberStream

_STEP = 256 << 10


@dataclass(frozen=True, slots=True)
class MemberWindow(Window):
    """A window with the first bytes of its member, and the number of line feeds before it: None in binary data."""

    head: bytes
    newlines: int | None


def windows(source: MemberStream, context: ExtractContext) -> Iterator[MemberWindow]:
    """Yield the windows of a stream. The bytes before damage, or before a limit, are the last window."""
    tail, fresh = b"", 0
    head, end = source.peek(HEAD), _End()
    newlines = None if b"\0" in head else 0
    while not end.reached:
        data = _filled(tail, source, end)
        if data:
            yield MemberWindow(data, len(data), fresh - len(tail), fresh, end.reached, head, newlines)
        fresh += len(data) - len(tail)
        tail = data[-OVERLAP:]
        if newlines is not None:
            newlines += data.count(b"\n", 0, len(data) - len(tail))
    if isinstance(end.reason, BudgetExceeded):
        raise end.reason
    if end.reason is not None:
        context.skip(None, str(end.reason), transient=is_transient(end.reason))


@dataclass(slots=True)
class _End:
    """Whether a stream has ended, and the error that ended it."""

    reached: bool = False
    reason: Damaged | BudgetExceeded | None = None


def _filled(tail: bytes, source: MemberStream, end: _End) -> bytes:
    """Return the last window's tail and the next bytes, and note the end."""
    pieces, size = [tail], 0
    try:
        while size < WINDOW and (piece := source.read(min(_STEP, WINDOW - size))):
            pieces.append(piece)
            size += len(piece)
    except (Damaged, BudgetExceeded) as exc:
        end.reason = exc
    end.reached = size < WINDOW
    return b"".join(pieces)
