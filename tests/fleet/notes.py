"""Notes of a sweep."""

from __future__ import annotations

from auditor.core.progress import Silent


class Notes(Silent):
    """Keeps the notes of a sweep."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)
