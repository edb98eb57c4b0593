"""Sweeps on a schedule, one at a time, until SIGTERM.

    wait until due ─► sweep, notify, report ─► wait …

One thread does all of it: a sweep that takes longer than its interval delays the next one, and due times that pass
meanwhile are skipped. A failed sweep is logged and counted, and the schedule goes on. The watch ends if another process
took its lease.
"""

from __future__ import annotations

import datetime
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.core.errors import AuditError, LeaseLost
from auditor.fleet.service.health import health, live
from auditor.fleet.service.http_server import Page
from auditor.fleet.service.logs import log_event
from auditor.fleet.service.metrics import CONTENT_TYPE, Metrics
from auditor.fleet.service.schedule import Schedule
from auditor.fleet.store.rows import SweepRow

_POLL_S = 30  # the clock may be set, or the machine suspended
_GRACE_S = 20  # systemd grants 90 s, Kubernetes 30 s


class Stopped(BaseException):
    """Raised on SIGTERM. No `except Exception` catches it, so that every context manager on the way out runs."""


@dataclass(slots=True)
class Watch:
    """Schedule, sweep function and state of a watch.

    A sweep fails if it raises an error, if no image was audited, or, under `strict`, if a reference was not audited.
    """

    schedule: Schedule
    sweep: Callable[[], SweepRow]
    metrics: Metrics
    now: Callable[[], datetime.datetime]
    sleep: Callable[[float], None]
    strict: bool = False
    _failing: str | None = None
    _state: dict[str, Any] = field(default_factory=lambda: {"sweeping": False, "next": None})

    def run(self, *, at_once: bool = False) -> None:
        """Sweep whenever it is due, with `at_once` also at the start. Only an exception ends it."""
        if at_once:
            self.sweep_once()
        while True:
            self._wait()
            self.sweep_once()

    def sweep_once(self) -> None:
        """Run one sweep and count it. Raises LeaseLost if another process has the lease of the watch or the sweep."""
        log_event("sweep begins")
        self._state["sweeping"] = True
        self.metrics.began()
        began = self.now()
        try:
            row = self.sweep()
        except LeaseLost:
            raise
        except (AuditError, OSError) as exc:  # the registry or the store may be available again later
            self._failing = str(exc) if isinstance(exc, AuditError) else exc.strerror or type(exc).__name__
            log_event("sweep failed", logging.ERROR, reason=self._failing)
            self.metrics.ended(self._since(began), good=False)
            return
        finally:
            self._state["sweeping"] = False
        self._ended(row, self._since(began))

    def load_previous(self, row: SweepRow) -> None:
        """Initialise metrics and health from an earlier sweep."""
        self.metrics.show(row)
        if row.finished and self._failure(row) is None:
            self.metrics.last_good = datetime.datetime.fromisoformat(row.finished).timestamp()

    def pages(self) -> dict[str, Callable[[], Page]]:
        """Return the pages of the health endpoint."""
        return {
            "/healthz": lambda: health(failing=self._failing, **self._state, last_good=self._last_good()),
            "/livez": live,
            "/metrics": lambda: Page(200, CONTENT_TYPE, self.metrics.text()),
        }

    def _wait(self) -> None:
        """Wait for the next due time, which is an earlier one if the clock is set back meanwhile."""
        now = self.now()
        due = self._announced(self.schedule.after(now))
        while (left := (due - now).total_seconds()) > 0:
            self.sleep(min(left, _POLL_S))
            before, now = now, self.now()
            if now < before and (earlier := self.schedule.after(now)) < due:
                due = self._announced(earlier)

    def _announced(self, due: datetime.datetime) -> datetime.datetime:
        """Show a due time in logs and on the health page."""
        self._state["next"] = _stamp(due)
        log_event("waiting", next=_stamp(due))
        return due

    def _ended(self, row: SweepRow, duration_s: float) -> None:
        self._failing = self._failure(row)
        self.metrics.count(row)
        self.metrics.ended(duration_s, good=self._failing is None)
        level = logging.WARNING if row.counts["failed"] else logging.INFO
        log_event("sweep ended", level, seconds=round(duration_s, 1), **row.counts)

    def _failure(self, row: SweepRow) -> str | None:
        if row.nothing_audited:
            return row.nothing_audited
        if not self.strict:
            return None
        counts = {"references were not audited": "failed", "images were not read in full": "partial"}
        return ", ".join(f"{row.counts[key]} {what}" for what, key in counts.items() if row.counts[key]) or None

    def _since(self, began: datetime.datetime) -> float:
        return max(0.0, (self.now() - began).total_seconds())

    def _last_good(self) -> str | None:
        last = self.metrics.last_good
        return None if last is None else _stamp(datetime.datetime.fromtimestamp(last, datetime.UTC))


@contextmanager
def until_sigterm() -> Iterator[None]:
    """Leave the block on SIGTERM, by the exception Stopped, which ends here.

    An open transaction is rolled back and unfinished layers are dropped; the next sweep continues from there. After the
    grace period the process exits regardless, which is as safe as a power failure.
    """
    last = threading.Timer(_GRACE_S, os._exit, (0,))
    last.daemon = True

    def stop(number: int, frame: object) -> None:  # noqa: ARG001
        if last.ident is None:  # first signal
            last.start()
            raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except Stopped:
        log_event("stopped")
    finally:
        last.cancel()
        signal.signal(signal.SIGTERM, before)


def _stamp(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
