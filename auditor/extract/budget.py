"""How much of a file that may be hostile is opened, and the account of what was."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from auditor.core.limits import Limits, named

SkipCallback = Callable[[str, str, bool], None]
"""Called with a member, or the path of the file itself, why it was skipped, and whether the cause is transient."""

_NO_MEMORY = (
    "not enough memory", "out of memory", "sufficient memory", "cannot allocate", "allocation error", "error -4 while",
)  # fmt: skip
"""What decoders say where an allocation failed; zlib gives a number."""


class BudgetExceeded(Exception):
    """A limit of the whole file is reached; nothing more of it is read.

    It is transient where another run may read more of the same bytes: the limit of time.
    """

    def __init__(self, reason: str, *, transient: bool = False) -> None:
        super().__init__(reason)
        self.transient = transient


def is_transient(exc: BaseException) -> bool:
    """Whether an error comes from the state of the machine, and not from the bytes: no memory, process or file left.

    Libraries wrap such an error in their own, or only mention it. An OSError without a number is a decoder's.
    """
    seen: BaseException | None = exc
    while seen is not None:
        if isinstance(seen, MemoryError) or (isinstance(seen, OSError) and seen.errno is not None):
            return True
        if any(words in str(seen).lower() for words in _NO_MEMORY):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


class Budget:
    """What is left for one file of `size` bytes at `path`, and for `time_s` seconds where some are spent already."""

    def __init__(self, limits: Limits, path: str, size: int, note: SkipCallback, time_s: float | None = None) -> None:
        self.limits = limits
        self._path, self._size, self._note = path, max(size, 1), note
        self._deadline = time.monotonic() + (limits.file_time if time_s is None else time_s)
        self._spent = self._members = self._notes = 0
        self._transient = False

    def spend(self, count: int) -> None:
        """Account for bytes that came out. Raises Exhausted."""
        self._spent += count
        if self._spent > self.limits.unpacked_bytes:
            raise BudgetExceeded(
                f"more than {self.limits.unpacked_bytes} bytes inside; the rest was left out {named('unpacked-bytes')}"
            )
        if self._spent > self.limits.growth_free and self._spent > self.limits.growth * self._size:
            raise BudgetExceeded(f"grows more than {self.limits.growth}-fold; the rest was left out {named('growth')}")
        self.tick()

    def member(self) -> None:
        """Account for a member. Raises Exhausted."""
        self._members += 1
        if self._members > self.limits.members:
            raise BudgetExceeded(f"more than {self.limits.members} members; the rest was left out {named('members')}")
        self.tick()

    def tick(self) -> None:
        """Raise Exhausted when the time is up."""
        if self.late():
            raise self.too_late()

    def late(self) -> bool:
        """Tell whether the time is up."""
        return time.monotonic() > self._deadline

    def left_s(self) -> float:
        """Return the seconds that are left."""
        return max(self._deadline - time.monotonic(), 0)

    def too_late(self) -> BudgetExceeded:
        """Return the error for a file whose time is up."""
        reason = f"takes more than {self.limits.file_time} s to open; the rest was left out {named('file-time')}"
        return BudgetExceeded(reason, transient=True)

    def skip(self, where: str | None, reason: str, *, transient: bool = False) -> None:
        """Note what was skipped: a member, or without one the file itself.

        What fails after the time is up may fail for that reason. The first transient failure is noted beyond the limit
        of notes too, because the record depends on it.
        """
        transient = transient or self.late()
        self._notes += 1
        if self._notes < self.limits.notes or (transient and not self._transient):
            self._note(where or self._path, reason, transient)
        elif self._notes == self.limits.notes:
            self._note(self._path, f"more was skipped in it than is listed {named('notes')}", transient)
        self._transient |= transient


@dataclass(frozen=True, slots=True)
class ExtractContext:
    """What a reader of one container works with: the budget, and how its members are called from outside."""

    budget: Budget
    name: str
    """The container's own path: of the file, or within its archive."""
    member: str | None
    """The way to the container; None for the file itself."""

    @property
    def limits(self) -> Limits:
        """The limits of the whole file."""
        return self.budget.limits

    def member_path(self, name: str | None) -> str | None:
        """Return the way to a member of this container."""
        if name is None:
            return self.member
        return name if self.member is None else f"{self.member}!{name}"

    def skip(self, name: str | None, reason: str, *, transient: bool = False) -> None:
        """Note a member of this container as skipped, or the container."""
        self.budget.skip(self.member_path(name), reason, transient=transient)

    def exceeds_member_bytes(self, name: str | None, size: int) -> bool:
        """Tell, and note, that a member of `size` bytes is not read."""
        if size <= self.limits.member_bytes:
            return False
        self.skip(name, f"has {size} bytes; {self.limits.member_bytes} are searched at most {named('member-bytes')}")
        return True
