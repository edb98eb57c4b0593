"""Signals that end a run.

The first signal is raised as an exception, so that resources are closed. Not within Python's own locking code, though:
an exception there leaves a lock held for ever, and its waiting threads blocked. There the handler retries a moment
later. The second signal, or GRACE_S after the first, ends the process at once; only work folders are removed.
"""

from __future__ import annotations

import concurrent.futures._base
import concurrent.futures.thread
import logging
import os
import queue
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

from auditor.core.atomic_files import remove_own_folders

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

GRACE_S = 5.0  # Docker and Podman kill 10 s after SIGTERM
_RETRY_S = 0.01
_MAX_CHECKS = 100
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOCKING = frozenset(
    str(module.__file__)
    for module in (threading, queue, logging, concurrent.futures._base, concurrent.futures.thread)
)  # fmt: skip


class Terminated(BaseException):
    """SIGTERM, or SIGHUP of a closed terminal; the argument is the number.

    Like KeyboardInterrupt it passes every `except Exception`, so that temporary files are removed.
    """


class Signals:
    """Handlers of the signals that end a run. Call `arm` within the `try` that catches their exceptions."""

    def __init__(self) -> None:
        """Install the handlers, but not for ignored signals. Until `arm` a signal ends the process at once."""
        self._armed = self.raised = False
        self._pending: int | None = None
        self._checks = 0
        self._last_position: tuple[FrameType, int] | None = None
        # As under nohup.
        self._numbers = [number for number in _ENDING if signal.getsignal(number) != signal.SIG_IGN]
        for number in self._numbers:
            signal.signal(number, self._receive)
        sys.unraisablehook = self._on_unraisable

    def arm(self) -> None:
        """Let the next signal raise KeyboardInterrupt or Terminated."""
        self._armed = True

    def disarm(self) -> None:
        """Let a signal end the process at once again.

        Raises the exception of a received signal: it is still pending, or other code suppressed it.
        """
        self._armed = False
        if self._pending is not None:
            self.raised = True
            raise self.error()

    def restore(self) -> None:
        """Restore the default handlers, and remove work folders."""
        for number in self._numbers:
            signal.signal(number, signal.SIG_DFL)
        if self.raised or self._pending is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
        remove_own_folders()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not self._armed or self.raised:
            _exit(number)
        if self._is_locking(frame):
            self._pending = number
            self._alarm(_RETRY_S)
            return
        self._pending, self._last_position, self.raised = number, None, True
        self._alarm(GRACE_S)
        raise self.error()

    def error(self) -> KeyboardInterrupt | Terminated:
        """Return the exception for the received signal."""
        return KeyboardInterrupt() if self._pending in (None, signal.SIGINT) else Terminated(self._pending)

    def _is_locking(self, frame: FrameType | None) -> bool:
        """Whether the main thread may be acquiring or releasing a lock.

        If it is at the same instruction as at the last check, it waits for a lock, and an exception is safe, except
        for the lock of a condition, which must be acquired again first.
        """
        self._checks += 1
        if frame is None or self._checks > _MAX_CHECKS:
            return False
        name = frame.f_code.co_filename
        if name not in _LOCKING and not name.startswith("<frozen importlib"):
            return False
        before, self._last_position = self._last_position, (frame, frame.f_lasti)
        waits = before is not None and before[0] is frame and before[1] == frame.f_lasti
        return not waits or frame.f_code.co_name == "_acquire_restore"

    def _alarm(self, after_s: float) -> None:
        signal.signal(signal.SIGALRM, self._retry)
        signal.setitimer(signal.ITIMER_REAL, after_s)

    def _retry(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        assert self._pending is not None  # noqa: S101 - it was set before the alarm
        self._receive(self._pending, frame)

    def _on_unraisable(self, dropped: UnraisableHookArgs) -> None:
        """Retry a signal after Python dropped its exception in a finalizer."""
        if self.raised and isinstance(dropped.exc_value, KeyboardInterrupt | Terminated):
            self.raised = False
            self._alarm(_RETRY_S)
        else:
            sys.__unraisablehook__(dropped)


def _exit(number: int) -> None:
    """End the process now."""
    remove_own_folders()
    os.write(2, b"image-audit: interrupted\n" if number == signal.SIGINT else b"image-audit: terminated\n")
    os._exit(128 + number)
