"""Commands, each in a process of its own that is forked from one that has read all modules and rules: ten a second.

`python -m tests.nursery SOCKET` takes a command as JSON with the ends of its pipes, forks, and answers with
the child's number, and when it has ended, with its status.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import auditor
from auditor import cli
from auditor.core.cache_keys import AUDITS, RECORDS, RULES, VERDICTS
from auditor.detect.detect_secrets_plugins import load_plugins
from auditor.detect.rules import builtin_rules

ROOT = Path(__file__).parents[1]
_MOST = 1 << 17  # bytes of a command as JSON
_STARTS = {"subprocess.Popen": (1, 3), "os.exec": (1, 2), "os.posix_spawn": (1, 2), "os.spawn": (2, 3)}
"""Where the audit events of Python that begin a program have its arguments and its environment."""
_TIMEOUT_S = 300


@dataclass(frozen=True)
class Done:
    """How a command ended, what it printed, and with which arguments and environment it began programs."""

    status: int
    out: bytes
    err: bytes
    begun: bytes


class Nursery:
    """Runs commands one after another."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(_TIMEOUT_S)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.nursery", str(other.fileno())],
                pass_fds=[other.fileno()], cwd=ROOT, stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C.UTF-8"},
            )  # fmt: skip

    def close(self) -> None:
        """End the process that all others were forked from."""
        self._socket.close()
        self._process.wait()

    def run(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        stdin: bytes = b"",
        before: str = "",
        meanwhile: Callable[[int], None] = lambda _: None,
        *,
        umask: int = 0,
        watched: bool = True,
    ) -> Done:
        """Run a command. `before` is Python code that runs before it in its process.

        `meanwhile` is called with the process's number when it has begun. The programs that it begins are noted where
        it is `watched`, which slows it down.
        """
        pipes = [os.pipe() for _ in range(4)]
        (theirs, feed), *outs = pipes
        given = {
            "arguments": list(arguments), "environment": dict(environment), "folder": str(folder), "code": before,
            "umask": umask, "watched": watched,
        }  # fmt: skip
        ends = [theirs, *(end for _, end in outs)]
        socket.send_fds(self._socket, [json.dumps(given).encode()], ends)
        for end in ends:
            os.close(end)
        with ThreadPoolExecutor(4) as pool:
            pool.submit(_fill, feed, stdin)
            texts = [pool.submit(_drain, own) for own, _ in outs]
            number = int(self._socket.recv(64))
            try:
                meanwhile(number)
                status = int(self._socket.recv(64))
            except BaseException:
                os.kill(number, signal.SIGKILL)
                self._socket.recv(64)
                raise
            return Done(status, *(text.result() for text in texts))


def _fill(end: int, data: bytes) -> None:
    with open(end, "wb") as out:
        try:
            out.write(data)
            out.flush()
        except BrokenPipeError:
            out.detach()
            os.close(end)


def _drain(end: int) -> bytes:
    with open(end, "rb") as source:
        return source.read()


def _serve(client: socket.socket) -> dict[str, Any] | None:
    """Fork for each command. Return in the child, with its command; and with None where nobody asks any more."""
    while True:
        try:
            message, ends, _, _ = socket.recv_fds(client, _MOST, 4)
        except ConnectionResetError:  # a test ended in the middle of a command
            return None
        if not message:
            return None
        child = os.fork()
        if not child:
            client.close()
            given: dict[str, Any] = json.loads(message)
            _become(given, ends)
            return given
        for end in ends:
            os.close(end)
        client.send(str(child).encode())
        _, status = os.waitpid(child, 0)
        client.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(given: dict[str, Any], ends: list[int]) -> None:
    """Make this process one that a shell began."""
    *standard, notes = ends
    for number, end in enumerate(standard):
        os.dup2(end, number)
        os.close(end)
    os.umask(given["umask"])
    os.chdir(given["folder"])
    os.environ.clear()
    os.environ.update(given["environment"])
    tempfile.tempdir = None
    sys.argv = ["image-audit", *given["arguments"]]

    def note(event: str, values: tuple[Any, ...]) -> None:
        if event in _STARTS:
            arguments, environment = (values[at] for at in _STARTS[event])
            os.write(notes, f"{arguments} {dict(os.environ) if environment is None else environment}\n".encode())

    if given["watched"]:
        sys.addaudithook(note)


def _read_all() -> None:
    """Import the whole program and its rules, and compute its cache keys, so that no child must."""
    for module in pkgutil.walk_packages(auditor.__path__, "auditor."):
        if not module.name.endswith(("__main__", "_worker", "migrations.env")):
            importlib.import_module(module.name)
    importlib.import_module("docker")
    builtin_rules()
    load_plugins()
    for producer in (RULES, RECORDS, VERDICTS, AUDITS):
        assert producer.key
    gc.freeze()


def _run(given: dict[str, Any]) -> None:
    """Run a command, and what Python does at exit, except for taking modules apart.

    That writes to nearly all memory that is shared with the first process, so that the system copies it: 0.1 s.
    """
    status = 1

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    atexit.register(leave)
    exec(given["code"], {})
    try:
        cli.main(given["arguments"])
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 1
        raise


def main() -> None:
    with socket.socket(fileno=int(sys.argv[1])) as client:
        _read_all()
        given = _serve(client)
    if given is not None:
        _run(given)


if __name__ == "__main__":
    main()
