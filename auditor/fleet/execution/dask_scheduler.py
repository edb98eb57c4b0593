"""Scheduler side of the Dask engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from distributed import Scheduler, SchedulerPlugin

from auditor.fleet.execution.dask_measurements import SelfMeasurements

TASK_PREFIX = "image-audit-"
"""Start of the keys of all tasks of sweeps."""

CLIENT_NAME = "image-audit"
"""Name of the clients of sweeps."""


class SweepScheduling(SchedulerPlugin):
    """Lets a task of a sweep fail as soon as its worker dies; the sweep decides whether to submit it again.

    Dask itself gives all tasks of a lost worker to others, up to three times, and then fails all of them: those that
    only waited on the workers that another task killed, too.

    While a sweep is connected, the scheduler does not measure its event loop.
    """

    name = "image-audit-scheduling"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        """Begin for the sweep that registers the plugin, which is connected."""
        self._measurements = SelfMeasurements(scheduler)
        self._measurements.pause()

    def add_client(self, scheduler: Scheduler, client: str) -> None:  # noqa: ARG002
        """Pause the measurements if a sweep connects."""
        if _is_sweep(client):
            self._measurements.pause()

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Resume the measurements if the last sweep ends. The scheduler has removed the client before."""
        if _is_sweep(client) and not any(map(_is_sweep, scheduler.clients)):
            self._measurements.resume()

    def update_graph(self, scheduler: Scheduler, *, tasks: Iterable[Any], **_: Any) -> None:
        """Mark new tasks as if they had used up their attempts. Source: Scheduler.remove_worker of distributed."""
        for key in tasks:
            if str(key).startswith(TASK_PREFIX):
                scheduler.tasks[key].suspicious = scheduler.allowed_failures


def _is_sweep(client: str) -> bool:
    """Whether the id of a client has the name of those of sweeps. Source: Client.id of distributed."""
    return client.startswith(f"Client-{CLIENT_NAME}-")
