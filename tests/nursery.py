"""Commands, each in a process of its own that is forked from one that has read all modules and rules: ten a second.

`python -m tests.nursery LISTENER LIFELINE [MODULE...]` takes a command from each connection, as JSON with the ends of
its pipes, forks, and answers with the child's number, and when it has ended, with its status and the peak of its memory
in KiB. It ends with its lifeline.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import auditor
from auditor import cli
from auditor.__main__ import GC_THRESHOLD
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
    """How a command ended, what it printed, and with which arguments and environment it began programs.

    `memory_mb` is the largest resident memory of the command, or of a child of it. It counts from that of the nursery.
    """

    status: int
    memory_mb: float
    out: bytes
    err: bytes
    begun: bytes


class Nursery:
    """Runs commands. Any process of this user may ask for one at its address.

    With `modules`, it imports these instead of the whole program: it is then as small as a command that has begun.
    """

    def __init__(self, *modules: str) -> None:
        self._folder = tempfile.mkdtemp(prefix="image-audit-nursery-")
        self.address = f"{self._folder}/socket"
        self._lifeline, other = socket.socketpair()
        with other, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self.address)
            listener.listen()
            ends = listener.fileno(), other.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.nursery", *map(str, ends), *modules],
                pass_fds=ends, cwd=ROOT, stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C.UTF-8"},
            )  # fmt: skip

    def close(self) -> None:
        """End the process that all others were forked from."""
        self._lifeline.close()
        self._process.wait()
        shutil.rmtree(self._folder)

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
        limit_s: float = _TIMEOUT_S,
    ) -> Done:
        """Run a command. `before` is Python code that runs before it in its process.

        A command that takes longer than `limit_s` is killed: TimeoutError.

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
        with (
            ThreadPoolExecutor(4) as pool,  # waits for the pipes, once the command has ended
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection,  # a command ends with its connection
        ):
            connection.settimeout(limit_s)
            connection.connect(self.address)
            socket.send_fds(connection, [json.dumps(given).encode()], ends)
            for end in ends:
                os.close(end)
            pool.submit(_fill, feed, stdin)
            texts = [pool.submit(_drain, own) for own, _ in outs]
            meanwhile(int(connection.recv(64)))
            status, kibibytes = map(int, connection.recv(64).split())
        return Done(status, kibibytes / 1024, *(text.result() for text in texts))


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


def _serve(listener: socket.socket, lifeline: socket.socket) -> dict[str, Any] | None:
    """Fork for each command. Return in the child, with its command; and None at the end of the lifeline."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(lifeline, selectors.EVENT_READ)
        running: dict[socket.socket, tuple[int, FileIO]] = {}
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if lifeline in ready:
                return None
            for client, (child, ended) in [*running.items()]:
                if ended in ready:
                    _, status, usage = os.wait4(child, 0)
                    with contextlib.suppress(ConnectionError):
                        client.send(b"%d %d" % (os.waitstatus_to_exitcode(status), usage.ru_maxrss))
                    selector.unregister(client)
                    selector.unregister(ended)
                    _close(client, ended)
                    del running[client]
                elif client in ready:  # it has gone, as it has nothing more to say
                    os.kill(child, signal.SIGKILL)
            if listener in ready:
                client, _ = listener.accept()
                try:
                    message, ends, _, _ = socket.recv_fds(client, _MOST, 4)
                except ConnectionError:
                    client.close()
                    continue
                child = os.fork()
                if not child:
                    client.close()
                    _close(listener, lifeline, *running, *(ended for _, ended in running.values()))
                    given: dict[str, Any] = json.loads(message)
                    _become(given, ends)
                    return given
                for end in ends:
                    os.close(end)
                running[client] = child, FileIO(os.pidfd_open(child))
                with contextlib.suppress(ConnectionError):
                    client.send(str(child).encode())
                selector.register(client, selectors.EVENT_READ)
                selector.register(running[client][1], selectors.EVENT_READ)


def _close(*ends: socket.socket | FileIO) -> None:
    for end in ends:
        end.close()


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
    for producer in (RULES, RECORDS, VERDICTS, AUDITS):
        assert producer.key


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
    with socket.socket(fileno=int(sys.argv[1])) as listener, socket.socket(fileno=int(sys.argv[2])) as lifeline:
        for name in sys.argv[3:]:
            importlib.import_module(name)
        if not sys.argv[3:]:
            _read_all()
        load_plugins()
        gc.set_threshold(GC_THRESHOLD)
        gc.freeze()
        given = _serve(listener, lifeline)
    if given is not None:
        _run(given)


if __name__ == "__main__":
    main()
