"""Scheduler side of the Dask engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from distributed import Scheduler, SchedulerPlugin

TASK_PREFIX = "image-audit-"
"""Start of the keys of all tasks of sweeps."""


class FirstLossFails(SchedulerPlugin):
    """Lets a task of a sweep fail as soon as its worker dies; the sweep decides whether to submit it again.

    Dask itself gives all tasks of a lost worker to others, up to three times, and then fails all of them: those that
    only waited on the workers that another task killed, too.
    """

    name = "image-audit-first-loss-fails"
    idempotent = True

    def update_graph(self, scheduler: Scheduler, *, tasks: Iterable[Any], **_: Any) -> None:
        """Mark new tasks as if they had used up their attempts. Source: Scheduler.remove_worker of distributed."""
        for key in tasks:
            if str(key).startswith(TASK_PREFIX):
                scheduler.tasks[key].suspicious = scheduler.allowed_failures
