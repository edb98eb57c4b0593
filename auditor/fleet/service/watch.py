"""Sweeps on a schedule, one after the other, until SIGTERM.

    wait until it is time ─► sweep, notify, report ─► wait …

There is one thread: a sweep that takes longer than planned makes the next ones late, never two at a time; the points
in time that pass meanwhile are left out. A sweep that fails is logged and counted; the next one is made all the same.
"""

from __future__ import annotations

import datetime
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from auditor.core.errors import AuditError
from auditor.fleet.service.health import Page, health
from auditor.fleet.service.logs import log_event
from auditor.fleet.service.metrics import CONTENT_TYPE, Metrics
from auditor.fleet.service.schedule import Schedule
from auditor.fleet.store.rows import SweepRow

_NAP_S = 30  # the clock is looked at again: it may have been set, or the machine asleep
_GRACE_S = 20  # for what runs when SIGTERM comes; systemd grants 90, Kubernetes 30


class Stopped(BaseException):
    """SIGTERM came. It passes every `except Exception`, so that what is open is closed on the way out."""


@dataclass(slots=True)
class Watch:
    """What is done, and when: `sweep` sweeps once, with all that follows.

    A sweep is good unless it could not be made, nothing was audited in it, or, under `strict`, not everything was.
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
        """Sweep whenever it is time, and at once if told to. It ends by an exception alone."""
        if at_once:
            self.once()
        while True:
            due = self.schedule.after(self.now())
            self._state["next"] = _stamp(due)
            log_event("waiting", next=_stamp(due))
            while (left := (due - self.now()).total_seconds()) > 0:
                self.sleep(min(left, _NAP_S))
            self.once()

    def once(self) -> None:
        """Sweep, and count it."""
        log_event("sweep begins")
        self._state["sweeping"] = True
        self.metrics.began()
        began = self.now()
        try:
            row = self.sweep()
        except (AuditError, OSError) as exc:  # the registry or the store is away; later it may be there
            self._failing = str(exc) if isinstance(exc, AuditError) else exc.strerror or type(exc).__name__
            log_event("sweep failed", logging.ERROR, reason=self._failing)
            self.metrics.ended(self._since(began), good=False)
            return
        finally:
            self._state["sweeping"] = False
        self._ended(row, self._since(began))

    def remember(self, row: SweepRow) -> None:
        """Show what a sweep of an earlier run found."""
        self.metrics.show(row)
        if row.finished and self._why_bad(row) is None:
            self.metrics.last_good = datetime.datetime.fromisoformat(row.finished).timestamp()

    def pages(self) -> dict[str, Callable[[], Page]]:
        """Return what the health endpoint serves."""
        return {
            "/healthz": lambda: health(failing=self._failing, **self._state, last_good=self._last_good()),
            "/metrics": lambda: (200, CONTENT_TYPE, self.metrics.text()),
        }

    def _ended(self, row: SweepRow, duration_s: float) -> None:
        self._failing = self._why_bad(row)
        self.metrics.count(row)
        self.metrics.ended(duration_s, good=self._failing is None)
        level = logging.WARNING if row.counts["failed"] else logging.INFO
        log_event("sweep ended", level, seconds=round(duration_s, 1), **row.counts)

    def _why_bad(self, row: SweepRow) -> str | None:
        if row.nothing_audited:
            return row.nothing_audited
        failed = row.counts["failed"]
        return f"{failed} references were not audited" if failed and self.strict else None

    def _since(self, began: datetime.datetime) -> float:
        return max(0.0, (self.now() - began).total_seconds())

    def _last_good(self) -> str | None:
        last = self.metrics.last_good
        return None if last is None else _stamp(datetime.datetime.fromtimestamp(last, datetime.UTC))


@contextmanager
def until_sigterm() -> Iterator[None]:
    """Leave the block when SIGTERM comes, by Stopped, which ends here.

    A transaction that is open is undone, layers that are half read are dropped: the next sweep goes on where this one
    was. What takes longer than the grace is left as it is, which does no more harm than a power cut.
    """
    last = threading.Timer(_GRACE_S, os._exit, (0,))
    last.daemon = True

    def stop(number: int, frame: object) -> None:  # noqa: ARG001
        if last.ident is None:  # it is told for the first time
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
