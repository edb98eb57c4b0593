"""The rate limit of a sweep and of all workers of its cluster together, however many join."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from distributed import Semaphore

from auditor.registry.retry import gap_of


class ClusterRate(AbstractContextManager[None]):
    """At most `rate` requests a second to the registry at `host`. A request is sent within the context.

    A semaphore in the scheduler lets one process send at a time, each after the gap; of one that dies it frees itself.
    `member` is the Dask client or worker of this process.
    """

    def __init__(self, host: str, rate: float, member: Any) -> None:
        self._turn = Semaphore(1, f"image-audit-rate-{host}", member.scheduler, member.loop)
        self._gap_s = gap_of(rate)

    def __enter__(self) -> None:
        self._turn.acquire()
        try:
            time.sleep(self._gap_s)
        except BaseException:
            self._turn.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turn.release()
