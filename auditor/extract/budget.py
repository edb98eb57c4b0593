"""Budget of one file: limits on bytes, members, growth and time, and the notes on skipped members."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from auditor.core.limits import Limits, limit_note

SkipCallback = Callable[[str, str, bool], None]
"""Callback for a skipped member: its path, or that of the file; the reason; whether the cause is transient."""

_NO_MEMORY = (
    "not enough memory", "out of memory", "sufficient memory", "cannot allocate", "allocation error", "error -4 while",
)  # fmt: skip
"""Parts of the error messages of decoders after a failed allocation; zlib gives a number."""


class BudgetExceeded(Exception):
    """A limit of the whole file is exceeded; the rest of it is not read.

    Transient where another run may read more of the same bytes: the limit of time.
    """

    def __init__(self, reason: str, *, transient: bool = False) -> None:
        super().__init__(reason)
        self.transient = transient


def is_transient(exc: BaseException) -> bool:
    """Tell whether an error comes from the state of the machine, not from the bytes: no memory, process or file left.

    Libraries wrap such an error in their own, or only quote its message. An OSError without a number is a decoder's.
    """
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None):
            return True
        if any(text in str(cause).lower() for text in _NO_MEMORY):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


class Budget:
    """Remaining budget of one file of `size` bytes at `path`. `time_s` replaces the limit of time, in seconds."""

    def __init__(self, limits: Limits, path: str, size: int, note: SkipCallback, time_s: float | None = None) -> None:
        self.limits = limits
        self._path, self._size, self._note = path, max(size, 1), note
        self._deadline = time.monotonic() + (limits.file_time if time_s is None else time_s)
        self._spent = self._members = self._notes = 0
        self._transient = False

    def spend(self, count: int) -> None:
        """Count extracted bytes. Raises BudgetExceeded."""
        self._spent += count
        if self._spent > self.limits.unpacked_bytes:
            raise BudgetExceeded(
                f"more than {self.limits.unpacked_bytes} bytes; the rest was left out {limit_note('unpacked-bytes')}"
            )
        if self._spent > self.limits.growth_free and self._spent > self.limits.growth * self._size:
            raise BudgetExceeded(
                f"grows more than {self.limits.growth}-fold; the rest was left out {limit_note('growth')}"
            )
        self.tick()

    def member(self, count: int = 0) -> None:
        """Count a member, and bytes extracted of it. Raises BudgetExceeded."""
        self._members += 1
        if self._members > self.limits.members:
            raise BudgetExceeded(
                f"more than {self.limits.members} members; the rest was left out {limit_note('members')}"
            )
        self.spend(count)

    def tick(self) -> None:
        """Raise BudgetExceeded when the time is up."""
        if self.late():
            raise self.too_late()

    def late(self) -> bool:
        """Tell whether the time is up."""
        return time.monotonic() > self._deadline

    def left_s(self) -> float:
        """Return the remaining seconds."""
        return max(self._deadline - time.monotonic(), 0)

    def too_late(self) -> BudgetExceeded:
        """Return the error for the limit of time."""
        reason = f"takes more than {self.limits.file_time} s to open; the rest was left out {limit_note('file-time')}"
        return BudgetExceeded(reason, transient=True)

    def skip(self, path: str | None, reason: str, *, transient: bool = False) -> None:
        """Note a skipped member, or without a path the whole file.

        A failure after the time is up counts as transient. The first transient failure is noted even beyond the limit
        of notes, because it decides whether the record may be cached.
        """
        transient = transient or self.late()
        self._notes += 1
        if self._notes < self.limits.notes or (transient and not self._transient):
            self._note(path or self._path, reason, transient)
        elif self._notes == self.limits.notes:
            self._note(self._path, f"more members were skipped than are listed {limit_note('notes')}", transient)
        self._transient |= transient


class ExtractContext(NamedTuple):
    """An archive that is being read: the budget of its file, and the paths of its members in reports."""

    budget: Budget
    name: str
    """Path of the archive: of the file, or within the outer archive."""
    member: str | None
    """Path of the archive through the outer ones, joined with `!`; None for the file itself."""

    @property
    def limits(self) -> Limits:
        """The limits of the whole file."""
        return self.budget.limits

    def member_path(self, name: str | None) -> str | None:
        """Return the path of a member through all archives, joined with `!`."""
        if name is None:
            return self.member
        return name if self.member is None else f"{self.member}!{name}"

    def skip(self, name: str | None, reason: str, *, transient: bool = False) -> None:
        """Note a member of this archive as skipped, or without a name the archive."""
        self.budget.skip(self.member_path(name), reason, transient=transient)

    def exceeds_member_bytes(self, name: str | None, size: int) -> bool:
        """Tell whether a member of `size` bytes is too large to read, and note it as skipped."""
        if size <= self.limits.member_bytes:
            return False
        self.skip(
            name,
            f"has {size} bytes; members up to {self.limits.member_bytes} are searched {limit_note('member-bytes')}",
        )
        return True
