"""Measurements that a Dask scheduler, worker or nanny takes of itself; a sweep pauses them."""

from __future__ import annotations

from distributed import Nanny, NannyPlugin
from distributed.core import Server
from distributed.metrics import time

_CALLBACKS = ("profile", "profile-cycle", "tick", "ticks")
"""Periodic callbacks that measure tasks and the event loop: 150 times a second on a worker, 50 on a
scheduler or nanny."""


class SelfMeasurements:
    """Pauses and resumes the measurements of a server. They take 1.5 % of a core, and on a busy worker more."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._paused = [server.periodic_callbacks[name] for name in _CALLBACKS if name in server.periodic_callbacks]

    def pause(self) -> None:
        """Stop measuring. May be repeated."""
        for callback in self._paused:
            callback.stop()

    def resume(self) -> None:
        """Measure again. May be repeated. The pause does not count as time in which the event loop did not respond."""
        self._server._last_tick = time()  # else the log would report the pause as a fault
        for callback in self._paused:
            if not callback.is_running():
                callback.start()


class QuietNanny(NannyPlugin):
    """Pauses the measurements of the nannies during a sweep: they share the cores of their workers."""

    def setup(self, nanny: Nanny) -> None:
        """Stop measuring."""
        self._measurements = SelfMeasurements(nanny)
        self._measurements.pause()

    def teardown(self, nanny: Nanny) -> None:  # noqa: ARG002
        """Measure again."""
        self._measurements.resume()
