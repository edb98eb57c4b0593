"""The engine of this machine: threads that download and feed one scanner, whose own threads match."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from auditor.fleet.execution.engine import Task, read_layer
from auditor.registry.client import Client
from auditor.scan import Scanner


class LocalEngine:
    """Reads `parallel` layers at a time. The client, which the sweep shares, and the scanner are the caller's."""

    def __init__(self, client: Client, scanner: Scanner, key: bytes, parallel: int) -> None:
        scanner.prepare()
        self._client, self._scanner, self._key = client, scanner, key
        self._pool = ThreadPoolExecutor(parallel, "layer")

    def submit(self, task: Task) -> Future[bytes]:
        """Have a layer read by one of the threads."""
        return self._pool.submit(read_layer, task, self._client, self._scanner, self._key)

    def close(self) -> None:
        """Drop what waits, and end what runs."""
        self._client.stop()
        self._pool.shutdown(cancel_futures=True)
