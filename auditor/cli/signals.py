"""Signals that end a run: each is raised as an exception, wherever it comes, until all is done."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_AGAIN_S = 0.01


class Terminated(BaseException):
    """SIGTERM came, or SIGHUP as the terminal went; the argument is the number.

    Like KeyboardInterrupt it passes every `except Exception`, so that temporary files are removed.
    """


@contextmanager
def caught() -> Iterator[None]:
    """Have signals raise KeyboardInterrupt or Terminated; afterwards they are the system's. Those ignored stay so."""
    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) != signal.SIG_IGN  # as under nohup
    ]
    for number in numbers:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else _terminate)
    sys.unraisablehook = _dropped
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _terminate(number: int, frame: object) -> None:  # noqa: ARG001
    raise Terminated(number)


def _dropped(dropped: UnraisableHookArgs) -> None:
    """Send a signal again that came while an object was taken away, where Python drops whatever is raised."""
    error = dropped.exc_value
    if isinstance(error, KeyboardInterrupt | Terminated):
        number = error.args[0] if isinstance(error, Terminated) else signal.SIGINT
        threading.Timer(_AGAIN_S, os.kill, (os.getpid(), number)).start()
    else:
        sys.__unraisablehook__(dropped)
