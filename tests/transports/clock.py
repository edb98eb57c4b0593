"""A clock that tests move: pauses take no time, and are kept."""

from __future__ import annotations

import threading

from auditor.registry.retry import Clock


class VirtualClock(Clock):
    """Time as the pauses move it; `pauses` are their lengths."""

    def __init__(self, date: float = 1_700_000_000.0) -> None:
        self._date, self._moved = date, 0.0
        self._lock = threading.Lock()
        self.pauses: list[float] = []

    def now(self) -> float:
        return self._moved

    def date(self) -> float:
        return self._date + self._moved

    def sleep(self, seconds: float, stopped: threading.Event) -> None:
        with self._lock:
            self.pauses.append(seconds)
            self._moved += seconds
