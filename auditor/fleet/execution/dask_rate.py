"""Rate limit shared by the sweep and all workers of its cluster."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from distributed import Semaphore

from auditor.registry.retry import gap_of


class ClusterRate(AbstractContextManager[None]):
    """At most `rate` requests per second to the registry at `host`; each request is sent inside the context.

    A semaphore in the scheduler admits one process at a time, each after the minimum gap. It is released if a process
    dies. `member` is the Dask client or worker of this process.
    """

    def __init__(self, host: str, rate: float, member: Any) -> None:
        self._semaphore = Semaphore(1, f"image-audit-rate-{host}", member.scheduler, member.loop)
        self._gap_s = gap_of(rate)

    def __enter__(self) -> None:
        self._semaphore.acquire()
        try:
            time.sleep(self._gap_s)
        except BaseException:
            self._semaphore.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._semaphore.release()
