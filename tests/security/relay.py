"""What stands between a client and an engine, and breaks off in the middle, as when the engine is restarted."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path


class Relay:
    """Passes bytes on to an engine's socket and back; after `after` bytes of answers every connection is broken.

    From then on nobody answers: whoever connects is refused.
    """

    def __init__(self, path: Path, engine: str, after: int) -> None:
        self.address = f"unix://{path}"
        self._path, self._engine, self._left = path, engine.removeprefix("unix://"), after
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(16)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Break all off, if that has not come to pass."""
        self._break()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        passing = []
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                break
            upstream = socket.socket(socket.AF_UNIX)
            upstream.connect(self._engine)
            with self._lock:
                self._open += [client, upstream]
            for source, target, counts in ((client, upstream, False), (upstream, client, True)):
                passing.append(threading.Thread(target=self._pass, args=(source, target, counts)))
                passing[-1].start()
        for thread in passing:
            thread.join()
        for end in self._open:
            end.close()

    def _pass(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        try:
            while data := source.recv(1 << 12):
                if counts:
                    with self._lock:
                        data, self._left = data[: max(self._left, 0)], self._left - len(data)
                target.sendall(data)
                if counts and self._left <= 0:
                    self._break()
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _break(self) -> None:
        with self._lock:
            for end in (self._server, *self._open):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:  # it is broken already
                    continue
            if self._server.fileno() >= 0:
                self._server.close()
            if os.path.exists(self._path):
                os.unlink(self._path)
