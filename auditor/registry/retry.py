"""The retry policy and the rate limit of all requests to registries.

    Clock          time and pauses; tests have a virtual one
    RateLimit      at most so many requests a second, retries and token requests included
    RetryBudget    the tries of one logical request: a document, a layer, an upload

Nothing else tries a request again. A logical request shares one budget among all that it sends: the request itself, a
token for it, the storage that it is redirected to, the rest of a body that broke off.
"""

from __future__ import annotations

import datetime
import email.utils
import random
import re
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TypeVar

from auditor.core.errors import Damaged, Temporary
from auditor.core.limits import Limits, named

TRIES = 5
"""Tries of one logical request."""

DAMAGED_TRIES = 2
"""Of those, how many may end in damaged bytes: what is damaged twice is damaged in the registry."""

RETRIED = frozenset((429, 500, 502, 503, 504))
"""Statuses that may pass."""

_FIRST_S, _LONGEST_S = 0.5, 15.0
_SLACK = 1.05  # of the gap between two requests: what the network delays may bring them closer together
_SECONDS = re.compile(r"\d{1,10}(?:\.\d{1,9})?", re.ASCII)
T = TypeVar("T")


class Clock:
    """The system's time."""

    def now(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def date(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float, stopped: threading.Event) -> None:
        """Wait, but not longer than until `stopped` is set."""
        stopped.wait(seconds)


class RateLimit(AbstractContextManager[None]):
    """At most `rate` requests in any second. A request is sent within the context, by one thread at a time.

    The gap to the next request begins when this one is sent, so that a slow connection does not bring two together.
    """

    def __init__(self, rate: float, clock: Clock, stopped: threading.Event) -> None:
        self.gap_s = gap_of(rate)
        self._clock, self._stopped = clock, stopped
        self._lock = threading.Lock()
        self._next = clock.now()

    def __enter__(self) -> None:
        self._lock.acquire()
        while (left := self._next - self._clock.now()) > 0 and not self._stopped.is_set():
            self._clock.sleep(left, self._stopped)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._next = self._clock.now() + self.gap_s
        self._lock.release()


def gap_of(rate: float) -> float:
    """Return the seconds between two requests that keep a rate over every window of one second."""
    return _SLACK / (int(rate) if rate >= 1 else rate)


class RetryBudget:
    """The tries of one logical request. `run` may be nested: the count and the time are those of all together.

    A try that ends in Temporary or Damaged is followed by another one, after the pause that the server asks for, or
    after a longer one each time. The last error is raised after TRIES tries, where the next one would begin more than
    `registry-retry` seconds after the first failure, or where the server asks for a pause of more than `registry-wait`.
    """

    def __init__(self, limits: Limits, clock: Clock, stopped: threading.Event) -> None:
        self._limits, self._clock, self._stopped = limits, clock, stopped
        self._failed = self._damaged = 0
        self._since: float | None = None
        self._over = False

    def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, after as many tries as it takes. Raises what the last one did."""
        while True:
            try:
                return work()
            except (Temporary, Damaged) as exc:
                self._pause_after(exc)

    def progressed(self) -> None:
        """Note that content came: the time that is left counts from the next failure."""
        self._since = None

    def _pause_after(self, exc: Temporary | Damaged) -> None:
        """Wait until the next try. Raises the error where there is none."""
        if self._over:
            raise exc
        self._failed += 1
        self._damaged += isinstance(exc, Damaged)
        now = self._clock.now()
        self._since = now if self._since is None else self._since
        asked_s = exc.wait_s if isinstance(exc, Temporary) else 0.0
        pause_s = asked_s or self._backoff_s()
        self._over = True
        if self._failed >= TRIES or self._damaged >= DAMAGED_TRIES:
            raise exc
        if asked_s > self._limits.registry_wait:
            raise Temporary(
                f"{exc}; asks to wait {asked_s:.0f} s, more than {self._limits.registry_wait} {named('registry-wait')}"
            ) from exc
        if now + pause_s > self._since + self._limits.registry_retry:
            raise Temporary(f"{exc}; tried for {now - self._since:.0f} s {named('registry-retry')}") from exc
        self._over = False
        self._clock.sleep(pause_s, self._stopped)

    def _backoff_s(self) -> float:
        """Return the pause where the server asks for none; by chance, so that readers do not come back together."""
        return min(_FIRST_S * 2.0 ** (self._failed - 1), _LONGEST_S) * random.uniform(0.5, 1)  # noqa: S311 - no secret


def asked_to_wait(header: str | None, now: float) -> float:
    """Return the seconds of a Retry-After header, a number or a date; 0 without one. `now` is seconds since 1970."""
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
        aware = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
        return max(0.0, aware.timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
