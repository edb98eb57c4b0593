"""Rate limit shared by the sweep and all workers of its cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from distributed import Semaphore

from auditor.fleet.execution.engine import RegistryEndpoint
from auditor.registry.retry import gap_of


class ClusterRate(AbstractContextManager[None]):
    """At most `endpoint.rate` requests per second to a registry; each request is sent inside the context.

    A semaphore in the scheduler admits one process at a time, each after the minimum gap. It is released if a process
    dies. `member` returns the Dask client or worker of this process; `reconnect` replaces one whose scheduler is lost.
    """

    def __init__(
        self,
        endpoint: RegistryEndpoint,
        member: Callable[[], Any],
        reconnect: Callable[[Any], None] | None = None,
    ) -> None:
        assert endpoint.rate is not None  # noqa: S101 - checked by the caller
        self._name, self._gap_s = f"image-audit-rate-{endpoint.host}", gap_of(endpoint.rate)
        self._member, self._reconnect = member, reconnect
        self._lock, self._held = threading.Lock(), threading.local()
        self._joined: tuple[Any, Semaphore] | None = None

    def __enter__(self) -> None:
        self._held.semaphore = self._acquired()
        try:
            time.sleep(self._gap_s)
        except BaseException:
            self._held.semaphore.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.semaphore.release()

    def _acquired(self) -> Semaphore:
        while True:
            member = self._member()
            try:
                semaphore = self._semaphore(member)
                semaphore.acquire()
            except (OSError, RuntimeError):
                if self._reconnect is None:
                    raise
                self._reconnect(member)
            else:
                return semaphore

    def _semaphore(self, member: Any) -> Semaphore:
        """Return the semaphore in the scheduler of a client or worker."""
        with self._lock:
            if self._joined is None or self._joined[0] is not member:
                self._joined = (member, Semaphore(1, self._name, member.scheduler, member.loop))
            return self._joined[1]
