"""The concurrency limit of the sweep's own requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class ConcurrencyLimit:
    """Runs at most `count` requests at a time. Their retries are those of registry/retry.py."""

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)

    def __call__(self, request: Callable[[], T]) -> T:
        """Return what a request returns, once it may be sent."""
        with self._free:
            return request()
