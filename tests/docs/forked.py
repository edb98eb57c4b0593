"""`python forked.py ADDRESS ARGUMENT…`: image-audit as a child of a nursery, with its caller's streams and signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys


def main() -> None:
    address, *arguments = sys.argv[1:]
    os.umask(umask := os.umask(0))
    command = {
        "arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd(), "code": "",
        "umask": umask, "watched": False,
    }  # fmt: skip
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as nursery:
        nursery.connect(address)
        socket.send_fds(nursery, [json.dumps(command).encode()], [0, 1, 2, 2])
        child = int(nursery.recv(64))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda received, _: os.kill(child, received))
        status = int(nursery.recv(64).split()[0])
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    main()
