"""How much of a file that may be hostile is opened, and the account of what was."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

Note = Callable[[str, str], None]
"""Called with a member, or the path of the file itself, and why it was skipped."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost. Each limit that is hit leaves a note."""

    depth: int = 5
    """Archives within archives; a compressed tar is one level."""
    members: int = 20_000
    """Members of all archives in the file together, cells of a database included."""
    objects: int = 200_000
    """Objects of a git pack."""
    member_bytes: int = 32 << 20
    """Bytes of one member that are searched; archives may be larger, where they can be read as a stream."""
    total_bytes: int = 256 << 20
    """Bytes that decompressing the file and what is in it may give."""
    ratio: int = 1000
    """Bytes out for a byte in, beyond `ratio_free` bytes."""
    ratio_free: int = 16 << 20
    time_s: float = 20
    notes: int = 20
    stretches: int = 2000
    """Encoded stretches of one text."""
    nested_stretches: int = 3
    """Encodings within encodings."""


class Exhausted(Exception):
    """A limit of the whole file is reached; nothing more of it is read."""


class Budget:
    """What is left for one file of `size` bytes at `path`."""

    def __init__(self, limits: Limits, path: str, size: int, note: Note) -> None:
        self.limits = limits
        self._path, self._size, self._note = path, max(size, 1), note
        self._deadline = time.monotonic() + limits.time_s
        self._spent = self._members = self._notes = 0

    def spend(self, count: int) -> None:
        """Account for bytes that came out. Raises Exhausted."""
        self._spent += count
        if self._spent > self.limits.total_bytes:
            raise Exhausted(f"more than {self.limits.total_bytes} bytes inside; the rest was left out")
        if self._spent > self.limits.ratio_free and self._spent > self.limits.ratio * self._size:
            raise Exhausted(f"grows more than {self.limits.ratio}-fold; the rest was left out")
        self.tick()

    def member(self) -> None:
        """Account for a member. Raises Exhausted."""
        self._members += 1
        if self._members > self.limits.members:
            raise Exhausted(f"more than {self.limits.members} members; the rest was left out")
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
        return f"takes more than {self.limits.time_s:g} s to open; the rest was left out"

    def skip(self, where: str | None, reason: str) -> None:
        """Note what was skipped: a member, or without one the file itself."""
        self._notes += 1
        if self._notes < self.limits.notes:
            self._note(where or self._path, reason)
        elif self._notes == self.limits.notes:
            self._note(self._path, "more was skipped in it than is listed")


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
        self.skip(name, f"has {size} bytes; {self.limits.member_bytes} are searched at most")
        return True
