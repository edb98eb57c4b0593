"""Concurrency limit of the requests that a sweep sends itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class ConcurrencyLimit:
    """Runs at most `count` requests at a time. registry/retry.py retries each of them."""

    def __init__(self, count: int) -> None:
        self._slots = threading.BoundedSemaphore(count)

    def __call__(self, request: Callable[[], T]) -> T:
        """Run a request as soon as a slot is free; return its result."""
        with self._slots:
            return request()
