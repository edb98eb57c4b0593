"""Retry policy and rate limit of all HTTP requests: registries, `--verify`, notifications.

    Clock          time and pauses; tests have a virtual one
    RateLimit      at most so many requests a second, retries and token requests included
    RetryPolicy    number of tries, backoff, and how long a server may ask to wait
    RetryBudget    the tries of one logical request: a document, a layer, an upload

No other code retries a request. A logical request shares one budget among its parts: the request itself, the token for
it, the redirect to a storage server, the rest of a broken body.
"""

from __future__ import annotations

import datetime
import email.utils
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TypeVar

from auditor.core.dataclass import dataclass
from auditor.core.errors import Damaged, Temporary
from auditor.core.limits import Limits, limit_note

TRIES = 5
"""Tries of one logical request to a registry."""

DAMAGED_TRIES = 2
"""Tries that may end in damaged bytes: bytes damaged twice are damaged in the registry."""

RETRIED = frozenset((429, 500, 502, 503, 504))
"""HTTP statuses of temporary failures."""

UNSUPPORTED = frozenset((400, 405, 413, 501))
"""HTTP statuses of requests that a server does not support. Quay answers 413 to a page of more names than it allows."""

_LONGEST_PAUSE_S = 15.0
_SLACK = 1.05  # of the gap between two requests: network delays can bring them closer together
_SECONDS = re.compile(r"\d{1,10}(?:\.\d{1,9})?", re.ASCII)
T = TypeVar("T")


class Clock:
    """The system's time."""

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def date(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float, stopped: threading.Event) -> None:
        """Wait, at most until `stopped` is set."""
        stopped.wait(seconds)


class RateLimit(AbstractContextManager[None]):
    """At most `rate` requests in any second.

    One thread at a time sends its request within the context. The gap begins when the request was sent, so that a slow
    connection does not bring two requests together.
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


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Tries of a logical request, and bounds of its pauses.

    The pauses grow from `first_pause_s`. The last error is raised after `tries` tries, where the next one would begin
    more than `total_s` seconds after the first failure, or where the server asks for a pause of more than `wait_s`.
    `wait_limit` and `total_limit` name the limits in errors.
    """

    tries: int
    wait_s: float
    total_s: float
    first_pause_s: float = 0.5
    wait_limit: str = ""
    total_limit: str = ""

    @classmethod
    def for_registry(cls, limits: Limits) -> RetryPolicy:
        """Return the policy of requests to registries."""
        return cls(
            TRIES,
            limits.registry_wait,
            limits.registry_retry,
            wait_limit=limit_note("registry-wait"),
            total_limit=limit_note("registry-retry"),
        )


class RetryBudget:
    """The tries of one logical request. `run` may be nested: count and time are shared.

    A try that raises Temporary or Damaged is followed by another one, after the pause that the server asks for, or with
    exponential backoff.
    """

    def __init__(self, policy: RetryPolicy, clock: Clock, stopped: threading.Event) -> None:
        self._policy, self._clock, self._stopped = policy, clock, stopped
        self._failures = self._damages = 0
        self._first_failure: float | None = None
        self._over = False

    def run(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, retrying it within the budget. Raises the error of the last try."""
        while True:
            try:
                return work()
            except (Temporary, Damaged) as exc:
                self._pause_after(exc)

    def progressed(self) -> None:
        """Note that content arrived: the total time starts again with the next failure."""
        self._first_failure = None

    def _pause_after(self, exc: Temporary | Damaged) -> None:
        """Wait for the next try. Raises the error if none is left."""
        if self._over:
            raise exc
        policy, now = self._policy, self._clock.now()
        self._failures += 1
        self._damages += isinstance(exc, Damaged)
        self._first_failure = now if self._first_failure is None else self._first_failure
        asked_s = exc.wait_s if isinstance(exc, Temporary) else 0.0
        pause_s = asked_s or self._backoff_s()
        self._over = True
        if self._failures >= policy.tries or self._damages >= DAMAGED_TRIES:
            raise exc
        if asked_s > policy.wait_s:
            raise Temporary(
                f"{exc}; asks to wait {asked_s:.0f} s, more than {policy.wait_s:.0f} {policy.wait_limit}"
            ) from exc
        if now + pause_s > self._first_failure + policy.total_s:
            raise Temporary(f"{exc}; tried for {now - self._first_failure:.0f} s {policy.total_limit}") from exc
        self._over = False
        self._clock.sleep(pause_s, self._stopped)

    def _backoff_s(self) -> float:
        """Return a growing random pause, so that several readers do not retry at the same time."""
        longest = min(self._policy.first_pause_s * 2.0 ** (self._failures - 1), _LONGEST_PAUSE_S)
        return longest * random.uniform(0.5, 1)  # noqa: S311 - no secret


def is_retried(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a response is a temporary failure. GitHub answers 403 to a used-up rate limit."""
    is_limited = headers.get("X-RateLimit-Remaining") == "0" or "Retry-After" in headers
    return status in RETRIED or (status == 403 and is_limited)


def requested_wait_s(headers: Mapping[str, str], now: float) -> float:
    """Return the seconds that a response asks to wait: its Retry-After, or the end of a used-up rate limit.

    The end is `X-RateLimit-Reset` or `RateLimit-Reset`, in seconds since 1970 (GitHub, GitLab, Docker Hub's API). 0
    without either. `now` is seconds since 1970.
    """
    if wait_s := retry_after_s(headers.get("Retry-After"), now):
        return wait_s
    for prefix in ("X-RateLimit", "RateLimit"):
        end = headers.get(f"{prefix}-Reset", "")
        if headers.get(f"{prefix}-Remaining") == "0" and _SECONDS.fullmatch(end):
            return max(0.0, float(end) - now)
    return 0.0


def retry_after_s(header: str | None, now: float) -> float:
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
