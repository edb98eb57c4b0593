"""Run a command, and measure it: `python -S measure.py SECONDS RESULT COMMAND...` writes a JSON object to RESULT.

A process of its own, and a small one: the peak of a child counts from what its parent had when it was made.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    seconds, result, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    child = os.fork()
    if not child:
        os.execv(command[0], command)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(seconds)
    _, status, usage = os.wait4(child, 0)
    with open(result, "w") as out:
        out.write(f'{{"status": {os.waitstatus_to_exitcode(status)}, "kibibytes": {usage.ru_maxrss}}}')


if __name__ == "__main__":
    main()
