"""Signals that end a run.

The first is raised as an exception, so that what is open is closed. Not in the middle of Python's own locks, though:
an exception there leaves a lock held for ever, and the threads that wait for it. There it is looked at again a moment
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

from auditor.core.atomic_files import remove_own

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

GRACE_S = 5.0  # Docker and Podman kill 10 s after SIGTERM
_AGAIN_S = 0.01
_MOST_LOOKS = 100
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOCKING = frozenset(
    str(module.__file__)
    for module in (threading, queue, logging, concurrent.futures._base, concurrent.futures.thread)
)  # fmt: skip


class Terminated(BaseException):
    """SIGTERM came, or SIGHUP as the terminal went; the argument is the number.

    Like KeyboardInterrupt it passes every `except Exception`, so that temporary files are removed.
    """


class Signals:
    """Handlers of the signals that end a run. `arm` within the `try` that catches what they raise."""

    def __init__(self) -> None:
        """Install the handlers; signals that are ignored stay so. Until `arm` a signal ends the process at once."""
        self._armed = self.raised = False
        self._waiting: int | None = None
        self._looks = 0
        self._place: tuple[FrameType, int] | None = None
        # As under nohup.
        self._numbers = [number for number in _ENDING if signal.getsignal(number) != signal.SIG_IGN]
        for number in self._numbers:
            signal.signal(number, self._came)
        sys.unraisablehook = self._dropped

    def arm(self) -> None:
        """Have the next signal raise KeyboardInterrupt or Terminated."""
        self._armed = True

    def disarm(self) -> None:
        """Have a signal end the process at once again: all is done. Raises what is still to be looked at again."""
        self._armed = False
        if self._waiting is not None and not self.raised:
            self.raised = True
            raise self.error()

    def restore(self) -> None:
        """Give the signals back to the system, and remove what is left."""
        for number in self._numbers:
            signal.signal(number, signal.SIG_DFL)
        if self.raised or self._waiting is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
        remove_own()

    def _came(self, number: int, frame: FrameType | None) -> None:
        if not self._armed or self.raised:
            _leave(number)
        if self._is_locking(frame):
            self._waiting = number
            self._alarm(_AGAIN_S)
            return
        self._waiting, self._place, self.raised = number, None, True
        self._alarm(GRACE_S)
        raise self.error()

    def error(self) -> KeyboardInterrupt | Terminated:
        """Return what the signal that came raises."""
        return KeyboardInterrupt() if self._waiting in (None, signal.SIGINT) else Terminated(self._waiting)

    def _is_locking(self, frame: FrameType | None) -> bool:
        """Whether the main thread may be taking or giving back a lock.

        Where it stands at the same instruction as at the last look, it waits for a lock, which an exception ends well;
        but for a condition's own lock, which must be taken again before all else.
        """
        self._looks += 1
        if frame is None or self._looks > _MOST_LOOKS:
            return False
        name = frame.f_code.co_filename
        if name not in _LOCKING and not name.startswith("<frozen importlib"):
            return False
        before, self._place = self._place, (frame, frame.f_lasti)
        waits = before is not None and before[0] is frame and before[1] == frame.f_lasti
        return not waits or frame.f_code.co_name == "_acquire_restore"

    def _alarm(self, after_s: float) -> None:
        signal.signal(signal.SIGALRM, self._rang)
        signal.setitimer(signal.ITIMER_REAL, after_s)

    def _rang(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        assert self._waiting is not None  # noqa: S101 - it was set before the alarm
        self._came(self._waiting, frame)

    def _dropped(self, dropped: UnraisableHookArgs) -> None:
        """Look again at a signal that came while an object was taken away, where Python drops what is raised."""
        if self.raised and isinstance(dropped.exc_value, KeyboardInterrupt | Terminated):
            self.raised = False
            self._alarm(_AGAIN_S)
        else:
            sys.__unraisablehook__(dropped)


def _leave(number: int) -> None:
    """End the process now."""
    remove_own()
    os.write(2, b"image-audit: interrupted\n" if number == signal.SIGINT else b"image-audit: terminated\n")
    os._exit(128 + number)
