"""Trying again what a registry may do better a moment later."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from auditor.errors import Damaged, Misled, Unauthorized, Unreachable

ATTEMPTS = 6
_DAMAGED = 4  # bytes that are damaged every time are damaged in the registry
_FIRST_S, _LONGEST_S = 0.25, 15.0
T = TypeVar("T")


def patient(attempt: Callable[[], T], *, attempts: int = ATTEMPTS, sleep: Callable[[float], None] = time.sleep) -> T:
    """Do something again, a little later each time, while the connection breaks off or bytes come damaged.

    A status that asks for patience (429, 503, `Retry-After`) is waited for below this, by the client.
    """
    for number in range(attempts):
        try:
            return attempt()
        except (Unreachable, Damaged) as exc:
            last = min(attempts, _DAMAGED) if isinstance(exc, Damaged) else attempts
            if isinstance(exc, Unauthorized | Misled) or number + 1 >= last:
                raise
        # Jitter, so that a hundred readers that were cut off together don't come back together.
        sleep(min(_FIRST_S * 2**number, _LONGEST_S) * random.uniform(0.5, 1))  # noqa: S311 - no secret
    raise AssertionError


class Turns:
    """Lets so many ask a registry at a time, each with patience."""

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)

    def __call__(self, attempt: Callable[[], T]) -> T:
        """Ask when it is one's turn; raises what the last attempt does."""
        with self._free:
            return patient(attempt)
