"""What a long run tells whoever watches it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a scan tells while it works."""

    def expect(self, count: int) -> None:
        """That many more bytes will be read."""
        ...

    def advance(self, count: int) -> None:
        """That many bytes were read."""
        ...

    def say(self, message: str) -> None:
        """A step begins."""
        ...


class Silent:
    """Tells nothing."""

    def expect(self, count: int) -> None:
        """Nothing."""

    def advance(self, count: int) -> None:
        """Nothing."""

    def say(self, message: str) -> None:
        """Nothing."""
