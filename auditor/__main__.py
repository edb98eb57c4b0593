"""The program, as `python -m auditor` and as `image-audit`.

Signal handlers are installed before the slow imports: a signal during an import ends the run with one line.
"""

import atexit
import gc
import os
import signal
import sys
import threading
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GC_THRESHOLD = 200_000
"""New objects before a collection. Imports and rules make some 150,000 that live on: looking at them takes 0.03 s."""


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    os.write(2, b"image-audit: interrupted\n" if number == signal.SIGINT else b"image-audit: terminated\n")
    os._exit(128 + number)


def main() -> None:
    """Run the command line and exit."""
    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _end)
    gc.set_threshold(GC_THRESHOLD)
    # After the signal handlers, because it takes a while.
    from auditor.cli import main as run

    try:
        run()
    except SystemExit as exc:
        _exit_at_once(exc.code)
        raise
    finally:
        gc.freeze()  # the interpreter looks through all objects twice when it exits, which takes 0.1 s


def _exit_at_once(status: object) -> None:
    """Exit without the clean-up of the interpreter's modules, which takes 0.015 s, unless something is left to do."""
    if not isinstance(status, int) or threading.active_count() > 1:
        return
    atexit._run_exitfuncs()
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except (OSError, ValueError):
        return  # the interpreter reports it
    os._exit(status)


if __name__ == "__main__":
    main()
