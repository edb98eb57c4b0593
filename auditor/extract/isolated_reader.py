"""Isolated reading: another process reads formats that go through native code, so that a crash costs one file.

The process starts with the first such file, limits itself (isolated_worker.py), and exchanges messages over pipes. One
that dies, breaks the protocol or takes too long is killed, and its file reported as skipped; the next file gets a new
process. All messages are checked: they hold bytes and texts, never objects.
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

from auditor.core.limits import limit_note
from auditor.extract.budget import BudgetExceeded, ExtractContext
from auditor.extract.member_stream import Member

LENGTHS = Struct("<II")
"""Start of each message: the lengths of its JSON text and of the bytes behind that."""
_MAX_TEXT = 1 << 20
_GRACE_S = 2.0  # that a process gets beyond the time of the file, to report itself what it skipped
_PACKAGE = Path(__file__).parents[2]


def read(data: bytes, context: ExtractContext, format_name: str) -> Iterator[Member]:
    """Yield the members of a file by the row of that name in `ARCHIVE_FORMATS`, read in another process."""
    worker = _WORKERS.take(context.limits.reader_memory)
    try:
        yield from worker.members(data, context, format_name)
    except _Died as exc:
        worker.kill()
        context.budget.tick()
        reason = f"can't be read as {format_name}: {exc}; its memory is limited {limit_note('reader-memory')}"
        context.skip(None, reason, transient=True)
    except BaseException:  # the caller stopped early: the rest of the answer would be taken for that to the next file
        worker.kill()
        raise
    else:
        _WORKERS.put_back(worker)


class _Died(Exception):
    pass


class _Worker:
    """A process that reads one file after another, limited to `memory` bytes of address space."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self._process = subprocess.Popen(
            [sys.executable, "-m", "auditor.extract.isolated_worker", str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": str(_PACKAGE), "LC_ALL": "C.UTF-8"},
            start_new_session=True,  # Ctrl-C reaches only this process, which ends the other
        )
        assert self._process.stdin and self._process.stdout  # noqa: S101 - they are pipes
        self._in, self._out = self._process.stdin, self._process.stdout

    def members(self, data: bytes, context: ExtractContext, format_name: str) -> Iterator[Member]:
        """Yield the members of a file. Raises _Died, BudgetExceeded."""
        limits, time_s = asdict(context.limits), context.budget.left_s()
        self._send({"format": format_name, "name": context.name, "limits": limits, "time_s": time_s}, data)
        while True:
            message, content = self._receive(context)
            match message:
                case {"member": str(name), "size": int(size), "search_text": bool(has_text)}:
                    context.budget.member()
                    context.budget.spend(size)
                    yield Member(name, content[:size], search_text=content[size:] if has_text else None)
                case {"skipped": name, "reason": str(reason), "transient": bool(transient)}:
                    context.skip(name if isinstance(name, str) else None, reason, transient=transient)
                case {"exceeded": str(reason), "transient": bool(transient)}:
                    raise BudgetExceeded(reason, transient=transient)
                case {"end": True}:
                    return
                case _:
                    raise _Died("its reader sent a malformed message")

    def kill(self) -> int:
        """End the process; return its exit status."""
        self._process.kill()
        with suppress(OSError):  # of bytes that were not sent
            self._in.close()
        self._out.close()
        return self._process.wait()

    def _send(self, message: dict[str, Any], data: bytes) -> None:
        try:
            send(self._in, message, data)
        except OSError:
            raise _Died(self._exit_reason()) from None

    def _receive(self, context: ExtractContext) -> tuple[Any, bytes]:
        text, size = LENGTHS.unpack(self._read_exactly(LENGTHS.size, context))
        if text > _MAX_TEXT or size > context.limits.reader_memory:
            raise _Died("its reader sent a message beyond the limit")
        try:
            message = json.loads(self._read_exactly(text, context))
        except (ValueError, RecursionError):
            raise _Died("its reader sent a malformed message") from None
        return message, self._read_exactly(size, context)

    def _read_exactly(self, count: int, context: ExtractContext) -> bytes:
        data = bytearray()
        with selectors.DefaultSelector() as ready:
            ready.register(self._out, selectors.EVENT_READ)
            while len(data) < count:
                if not ready.select(context.budget.left_s() + _GRACE_S):
                    raise context.budget.too_late()
                chunk = os.read(self._out.fileno(), min(count - len(data), 1 << 20))
                if not chunk:
                    raise _Died(self._exit_reason())
                data += chunk
        return bytes(data)

    def _exit_reason(self) -> str:
        status = self.kill()
        return f"its reader ended with signal {-status}" if status < 0 else f"its reader ended with status {status}"


class _Workers:
    """Idle processes. A 7z archive in another needs a second one while the first is in use."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def take(self, memory: int) -> _Worker:
        with self._lock:
            if self._owner != os.getpid():  # a fork shares the pipes of its parent, and must not use them
                self._idle, self._owner = [], os.getpid()
            while self._idle:
                worker = self._idle.pop()
                if worker.memory == memory:
                    return worker
                worker.kill()
            return _Worker(memory)

    def put_back(self, worker: _Worker) -> None:
        with self._lock:
            self._idle.append(worker)

    def close(self) -> None:
        """End all idle processes."""
        if self._owner == os.getpid():
            while self._idle:
                self._idle.pop().kill()


def send(out: IO[bytes], message: dict[str, Any], data: bytes | memoryview = b"") -> None:
    """Write a message."""
    text = json.dumps(message).encode()
    out.write(LENGTHS.pack(len(text), len(data)) + text)
    out.write(data)
    out.flush()


_WORKERS = _Workers()
atexit.register(_WORKERS.close)
