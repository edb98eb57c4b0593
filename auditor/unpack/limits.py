"""How much of a file that may be hostile is opened, and the account of what was."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from auditor.limits import Limits, named

Note = Callable[[str, str], None]
"""Called with a member, or the path of the file itself, and why it was skipped."""


class Exhausted(Exception):
    """A limit of the whole file is reached; nothing more of it is read."""


class Budget:
    """What is left for one file of `size` bytes at `path`, and for `time_s` seconds where some are spent already."""

    def __init__(self, limits: Limits, path: str, size: int, note: Note, time_s: float | None = None) -> None:
        self.limits = limits
        self._path, self._size, self._note = path, max(size, 1), note
        self._deadline = time.monotonic() + (limits.file_time if time_s is None else time_s)
        self._spent = self._members = self._notes = 0

    def spend(self, count: int) -> None:
        """Account for bytes that came out. Raises Exhausted."""
        self._spent += count
        if self._spent > self.limits.unpacked_bytes:
            raise Exhausted(
                f"more than {self.limits.unpacked_bytes} bytes inside; the rest was left out {named('unpacked-bytes')}"
            )
        if self._spent > self.limits.growth_free and self._spent > self.limits.growth * self._size:
            raise Exhausted(f"grows more than {self.limits.growth}-fold; the rest was left out {named('growth')}")
        self.tick()

    def member(self) -> None:
        """Account for a member. Raises Exhausted."""
        self._members += 1
        if self._members > self.limits.members:
            raise Exhausted(f"more than {self.limits.members} members; the rest was left out {named('members')}")
        self.tick()

    def tick(self) -> None:
        """Raise Exhausted when the time is up."""
        if self.late():
            raise Exhausted(self.too_late)

    def late(self) -> bool:
        """Tell whether the time is up."""
        return time.monotonic() > self._deadline

    def left_s(self) -> float:
        """Return the seconds that are left."""
        return max(self._deadline - time.monotonic(), 0)

    @property
    def too_late(self) -> str:
        """What is said when the time is up."""
        return f"takes more than {self.limits.file_time} s to open; the rest was left out {named('file-time')}"

    def skip(self, where: str | None, reason: str) -> None:
        """Note what was skipped: a member, or without one the file itself."""
        self._notes += 1
        if self._notes < self.limits.notes:
            self._note(where or self._path, reason)
        elif self._notes == self.limits.notes:
            self._note(self._path, f"more was skipped in it than is listed {named('notes')}")


@dataclass(frozen=True, slots=True)
class Room:
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

    def way(self, name: str | None) -> str | None:
        """Return the way to a member of this container."""
        if name is None:
            return self.member
        return name if self.member is None else f"{self.member}!{name}"

    def skip(self, name: str | None, reason: str) -> None:
        """Note a member of this container as skipped, or the container."""
        self.budget.skip(self.way(name), reason)

    def too_large(self, name: str | None, size: int) -> bool:
        """Tell, and note, that a member of `size` bytes is not read."""
        if size <= self.limits.member_bytes:
            return False
        self.skip(name, f"has {size} bytes; {self.limits.member_bytes} are searched at most {named('member-bytes')}")
        return True
