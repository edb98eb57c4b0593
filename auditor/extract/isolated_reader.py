"""Readers of formats that go through native code run in a process of their own, which may die without harm.

The process is started when one is first needed, limits itself (worker.py), and is spoken to over pipes. One that dies,
breaks the protocol or takes too long is killed, and a line in the report says so; the next file gets a new one. Nothing
that it sends is believed: it is bytes and texts, never objects.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from struct import Struct
from typing import IO, Any

from auditor.core.limits import named
from auditor.extract.budget import BudgetExceeded, ExtractContext
from auditor.extract.member_stream import Member, MemberStream, as_stream

LENGTHS = Struct("<II")
"""Before each message: how long its JSON text and the bytes behind it are."""
_MAX_TEXT = 1 << 20
_GRACE_S = 2.0  # that a process gets beyond the time of the file, to say itself what it left out
_PACKAGE = Path(__file__).parents[2]


def read(body: bytes | MemberStream, context: ExtractContext, kind: str) -> Iterator[Member]:
    """Yield what another process finds in a file. A `Reader` as those in unpacker.py."""
    data = body if isinstance(body, bytes) else as_stream(body).read(context.limits.member_bytes)
    worker = _WORKERS.take(context.limits.reader_memory)
    try:
        yield from worker.parts(data, context, kind)
    except _Died as exc:
        worker.kill()
        context.budget.tick()
        reason = f"can't be read as {kind}: {exc}; its memory is limited {named('reader-memory')}"
        context.skip(None, reason, transient=True)
    except BaseException:  # whoever asked has enough: what is still to come is nobody's
        worker.kill()
        raise
    else:
        _WORKERS.give_back(worker)


class _Died(Exception):
    pass


class _Worker:
    """A process that opens one file after another, with so many bytes of address space."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self._process = subprocess.Popen(
            [sys.executable, "-m", "auditor.extract.isolated_worker", str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": str(_PACKAGE), "LC_ALL": "C.UTF-8"},
            start_new_session=True,  # Ctrl-C is for this process; it ends the other
        )
        assert self._process.stdin and self._process.stdout  # noqa: S101 - they are pipes
        self._in, self._out = self._process.stdin, self._process.stdout

    def parts(self, data: bytes, context: ExtractContext, kind: str) -> Iterator[Member]:
        """Have a file opened. Raises _Died, Exhausted."""
        limits, time_s = asdict(context.limits), context.budget.left_s()
        self._send({"kind": kind, "name": context.name, "limits": limits, "time_s": time_s}, data)
        while True:
            said, content = self._receive(context)
            match said:
                case {"part": str(name), "size": int(size), "shown": bool(shown)}:
                    context.budget.member()
                    context.budget.spend(size)
                    yield Member(name, content[:size], shown=content[size:] if shown else None)
                case {"skipped": name, "reason": str(reason), "transient": bool(transient)}:
                    context.skip(name if isinstance(name, str) else None, reason, transient=transient)
                case {"exhausted": str(reason), "transient": bool(transient)}:
                    raise BudgetExceeded(reason, transient=transient)
                case {"end": True}:
                    return
                case _:
                    raise _Died("its reader says what makes no sense")

    def kill(self) -> int:
        """End the process; return its exit status."""
        self._process.kill()
        with suppress(OSError):  # what was not sent any more
            self._in.close()
        self._out.close()
        return self._process.wait()

    def _send(self, said: dict[str, Any], data: bytes) -> None:
        try:
            send(self._in, said, data)
        except OSError:
            raise _Died(self._end()) from None

    def _receive(self, context: ExtractContext) -> tuple[Any, bytes]:
        text, size = LENGTHS.unpack(self._exactly(LENGTHS.size, context))
        if text > _MAX_TEXT or size > context.limits.unpacked_bytes:
            raise _Died("its reader says more than it may")
        try:
            said = json.loads(self._exactly(text, context))
        except (ValueError, RecursionError):
            raise _Died("its reader says what makes no sense") from None
        return said, self._exactly(size, context)

    def _exactly(self, count: int, context: ExtractContext) -> bytes:
        data = bytearray()
        with selectors.DefaultSelector() as ready:
            ready.register(self._out, selectors.EVENT_READ)
            while len(data) < count:
                if not ready.select(context.budget.left_s() + _GRACE_S):
                    raise context.budget.too_late()
                got = os.read(self._out.fileno(), min(count - len(data), 1 << 20))
                if not got:
                    raise _Died(self._end())
                data += got
        return bytes(data)

    def _end(self) -> str:
        status = self.kill()
        return f"its reader ended with signal {-status}" if status < 0 else f"its reader ended with status {status}"


class _Workers:
    """Processes that wait for work. A file in a file may need a second one while the first is asked."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def take(self, memory: int) -> _Worker:
        with self._lock:
            if self._owner != os.getpid():  # a fork has the same pipes, and must not speak into them
                self._idle, self._owner = [], os.getpid()
            while self._idle:
                worker = self._idle.pop()
                if worker.memory == memory:
                    return worker
                worker.kill()
            return _Worker(memory)

    def give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._idle.append(worker)

    def close(self) -> None:
        """End them all."""
        if self._owner == os.getpid():
            while self._idle:
                self._idle.pop().kill()


def send(out: IO[bytes], said: dict[str, Any], data: bytes | memoryview = b"") -> None:
    """Write a message."""
    text = json.dumps(said).encode()
    out.write(LENGTHS.pack(len(text), len(data)) + text)
    out.write(data)
    out.flush()


_WORKERS = _Workers()
atexit.register(_WORKERS.close)
