"""Worker process that scans pieces of layers: the side of the child.

It receives the descriptor of a piece's file and the piece, and answers with the result or the exception of the scan. It
ends when its parent closes the connection, or has ended itself.
"""

from __future__ import annotations

import gc
import io
import os
import pickle
import signal
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from auditor.codec.file_slices import SharedFile
from auditor.codec.windows import OVERLAP, WINDOW
from auditor.core.process import disable_core_dumps, keep_heap, trim_heap
from auditor.core.secret import Secret
from auditor.scan.piece import Piece, PieceResult
from auditor.scan.piece_scan import PieceScanner, Recipe

_LARGE = 8 << 20
"""Bytes read or extracted for a piece after which memory is returned to the system."""


def run(connection: Connection, scanner: PieceScanner) -> NoReturn:
    """Serve in a forked process, then end it without the exit handlers of the parent."""
    try:
        _detach(connection)
        serve(connection, scanner)
    finally:
        os._exit(0)


def main(descriptor: int) -> None:
    """Serve in a new interpreter: the first message is the recipe of the scanner."""
    connection: Connection = Connection(descriptor)
    _detach(connection)
    try:
        recipe: Recipe = connection.recv()
    except EOFError:
        return
    serve(connection, recipe.scanner())


def serve(connection: Connection, scanner: PieceScanner) -> None:
    """Scan the pieces that a connection brings, until it is closed."""
    buffer = bytearray(OVERLAP + WINDOW)
    while True:
        try:
            file = SharedFile(reduction.recv_handle(connection))
            piece: Piece = connection.recv()
            answer = _scan(scanner, piece, file, buffer)
            connection.send_bytes(_encoded(answer))
        except (EOFError, OSError):
            return
        file.close()
        if isinstance(answer, PieceResult) and piece.size + answer.extracted > _LARGE:
            del answer
            gc.collect()
            trim_heap()


def _scan(scanner: PieceScanner, piece: Piece, file: SharedFile, buffer: bytearray) -> PieceResult | Exception:
    try:
        return scanner.scan(piece, file, buffer=buffer)
    except Exception as exc:
        return exc.with_traceback(None)


class _Pickler(pickle.Pickler):
    """Pickler that takes the texts of secrets along: the answer goes from memory to memory of the same user."""

    def reducer_override(self, value: object) -> Any:
        if type(value) is Secret:
            return Secret, (value.reveal(), value.masked, value.fingerprint)
        return NotImplemented


def _encoded(answer: PieceResult | Exception) -> bytes:
    out = io.BytesIO()
    try:
        _Pickler(out, pickle.HIGHEST_PROTOCOL).dump(answer)
    except Exception as exc:
        return pickle.dumps(RuntimeError(f"{type(answer).__name__} can't be sent: {type(exc).__name__}"))
    return out.getvalue()


def _detach(connection: Connection) -> None:
    """Leave signals, the terminal and files to the parent: it ends this process, and reports for it."""
    disable_core_dumps()
    keep_heap()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in _open_files():
        if descriptor not in (null, connection.fileno()):
            with suppress(OSError):
                os.dup2(null, descriptor, inheritable=False)  # not closed: an object of the parent may still close it


def _open_files() -> Iterable[int]:
    """Return the descriptors of this process: pipes and locks of the parent end only with their last copy."""
    try:
        return [int(entry.name) for entry in os.scandir("/proc/self/fd")]
    except OSError:  # not Linux
        return range(256)
