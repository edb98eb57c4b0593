"""Concurrency of the requests that a sweep sends itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

_FAST_S = 0.001
_SLOW = 5
"""Consecutive requests that are not fast, after which a registry counts as distant."""
T = TypeVar("T")


class ConcurrencyLimit:
    """Runs at most `count` requests at a time. registry/retry.py retries each of them.

    A registry is near while it answers within a millisecond. Several threads would then wait for each other more than
    for the registry.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._slots = threading.BoundedSemaphore(count)
        self._turn = threading.Lock()
        self._slow = 0

    def __call__(self, request: Callable[[], T]) -> T:
        """Run a request as soon as a slot is free; return its result."""
        with self._slots:
            began = time.monotonic()
            try:
                return request()
            finally:
                self._slow = 0 if time.monotonic() - began < _FAST_S else self._slow + 1

    @property
    def is_near(self) -> bool:
        """Whether one thread can send the requests as fast as several."""
        return self._slow < _SLOW

    def turn(self) -> AbstractContextManager[object]:
        """Return a context for one thread at a time if the registry is near, else for any number."""
        return self._turn if self.is_near else nullcontext()
