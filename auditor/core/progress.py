"""Progress of a long run."""

from __future__ import annotations

from typing import Protocol

COMPILING = "compiling the rules for their first use: some seconds"


class Progress(Protocol):
    """Receiver of the progress of a scan."""

    def compiling(self) -> None:
        """Announce that the rules are compiled: some seconds, the first time that they are used."""
        ...

    def begin(self, number: int, count: int) -> None:
        """Announce target `number`, from 1, of `count`. The bytes to read are counted from zero again."""
        ...

    def expect(self, count: int) -> None:
        """Announce `count` more bytes to read."""
        ...

    def advance(self, count: int) -> None:
        """Report that `count` bytes were read."""
        ...

    def say(self, message: str) -> None:
        """Report the start of a step."""
        ...

    def note(self, message: str) -> None:
        """Report an event that does not end the run: a lost connection, items left out."""
        ...

    def exporting(self, count: int) -> None:
        """Announce that a Docker engine prepares an export of `count` bytes; it ends with the first `advance`."""
        ...


class Silent:
    """Receiver that discards everything."""

    def compiling(self) -> None:
        """Do nothing."""

    def begin(self, number: int, count: int) -> None:
        """Do nothing."""

    def expect(self, count: int) -> None:
        """Do nothing."""

    def advance(self, count: int) -> None:
        """Do nothing."""

    def say(self, message: str) -> None:
        """Do nothing."""

    def note(self, message: str) -> None:
        """Do nothing."""

    def exporting(self, count: int) -> None:
        """Do nothing."""
