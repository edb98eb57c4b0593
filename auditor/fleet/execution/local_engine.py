"""Engine of this machine: threads download layers and feed them to one scanner."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from auditor.fleet.execution.engine import LayerTask
from auditor.fleet.execution.layer_scan import read_layer
from auditor.registry.client import Client
from auditor.scan import Scanner


class LocalEngine:
    """Reads up to `parallel` layers at a time. The caller owns the client, shared with the sweep, and the scanner.

    A scanner that is not prepared is prepared for the first layer, in the thread that submits it.
    """

    def __init__(self, client: Client, scanner: Scanner, key: bytes, parallel: int) -> None:
        self._client, self._scanner, self._key = client, scanner, key
        self._pool = ThreadPoolExecutor(parallel, "layer")
        self._is_prepared = False

    def submit(self, task: LayerTask) -> Future[bytes]:
        """Schedule the read of a layer in one of the threads."""
        if not self._is_prepared:
            self._scanner.prepare()
            self._is_prepared = True
        return self._pool.submit(read_layer, task, self._client, self._scanner, self._key)

    def close(self) -> None:
        """Cancel waiting tasks and stop running ones."""
        self._client.stop()
        self._pool.shutdown(cancel_futures=True)
