"""Engine of many machines: layers are read by the workers of a Dask cluster.

    sweep ── SweepPlugin, once per worker ─────────────────► worker
          ── LayerTask, per layer, through the scheduler ──► worker ── fetch, verify, scan ──► record, through the
          ── Credentials, encrypted for each worker ───────►                                    scheduler

The bytes of layers pass between registry and workers alone. Records hold HMACs of secrets. The login of the registry
and the HMAC key are encrypted for the worker that asks for them, so that the scheduler never has them.

A layer whose worker dies is submitted again. After two losses it is read alone among such layers, so that the third
loss is its own: it is set aside. If the scheduler restarts, the engine connects again and submits what was lost.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures import Future as Answer
from contextlib import nullcontext
from uuid import uuid4

from distributed import Client, Future, KilledWorker

from auditor.core.errors import AuditError, EngineError, Unreachable
from auditor.core.progress import Progress
from auditor.detect.rules import Ruleset
from auditor.fleet.execution.dask_cluster import DaskCluster
from auditor.fleet.execution.dask_rate import ClusterRate
from auditor.fleet.execution.dask_scheduler import TASK_PREFIX
from auditor.fleet.execution.dask_worker import Credentials, CredentialsRequest, accept_credentials, read
from auditor.fleet.execution.engine import LayerTask, RegistryEndpoint
from auditor.registry.logins import stored_login

_MOST_LOSSES = 3  # workers that a layer may kill
_MOST_LOGINS = 20  # workers in a row that ask for the credentials instead of reading
_MOST_RECONNECTIONS = 5  # during one layer
_POLL_S, _WORKERLESS_S = 15, 300


class DaskEngine:
    """Reads up to `parallel` layers at a time on the workers of a cluster.

    `name` is equal for all runs of one sweep, so that a new run replaces the plugin of a killed one. `rate` is the rate
    limit that the client of the sweep must share with the workers, None for no limit. Raises EngineError if the
    scheduler does not answer, or no worker is connected, or a worker has other versions.
    """

    def __init__(
        self,
        address: str,
        endpoint: RegistryEndpoint,
        ruleset: Ruleset,
        key: bytes,
        *,
        name: str,
        parallel: int,
        progress: Progress,
    ) -> None:
        self._progress = progress
        self._credentials = Credentials(stored_login(endpoint.host, endpoint.path), key)
        self._running: set[Future[bytes | CredentialsRequest | None]] = set()
        self._lock, self._alone = threading.Lock(), threading.Lock()
        self._cluster = cluster = DaskCluster(address, f"{TASK_PREFIX}{name}", endpoint, ruleset, progress.note)
        self.rate = ClusterRate(endpoint, lambda: cluster.client, cluster.reconnect) if endpoint.rate else None
        self._pool = ThreadPoolExecutor(parallel, "layer")

    def submit(self, task: LayerTask) -> Answer[bytes]:
        """Schedule the read of a layer on a worker."""
        return self._pool.submit(self._read, task)

    def close(self) -> None:
        """Cancel waiting and running tasks, and remove the plugin from the workers."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            running = list(self._running)
        self._cluster.close(running)
        self._pool.shutdown()

    def _read(self, task: LayerTask) -> bytes:
        """Submit a layer until a worker has read it. Raises an AuditError that names the layer."""
        losses = reconnections = 0
        while reconnections <= _MOST_RECONNECTIONS:
            client = self._cluster.client
            try:
                with self._alone if losses == _MOST_LOSSES - 1 else nullcontext():
                    record = self._record(client, task)
            except KilledWorker as exc:
                losses += 1
                if losses == _MOST_LOSSES:
                    raise Unreachable(f"{_name(task)}: set aside: {losses} workers died while reading it") from exc
            except (CancelledError, OSError):
                self._cluster.reconnect(client)
                reconnections += 1
            else:
                self._progress.advance(task.size or 0)
                return record
        raise Unreachable(f"{_name(task)}: the connection to the scheduler was lost {reconnections} times meanwhile")

    def _record(self, client: Client, task: LayerTask) -> bytes:
        """Submit a layer, and send the credentials to workers that lack them."""
        workers: list[str] | None = None
        for _ in range(_MOST_LOGINS):
            answer = self._answer(client, task, workers)
            if isinstance(answer, bytes):
                return answer
            if answer is None:
                raise CancelledError  # the scheduler has restarted, and lacks the plugin
            sealed = self._credentials.sealed(answer.public_key)
            workers = [answer.worker]
            client.run(accept_credentials, self._cluster.name, sealed, workers=workers, on_error="ignore")
        raise Unreachable(f"{_name(task)}: {_MOST_LOGINS} workers restarted before they could read it")

    def _answer(self, client: Client, task: LayerTask, workers: list[str] | None) -> bytes | CredentialsRequest | None:
        """Submit a task and wait for its result; it should run on one of `workers`, if given."""
        key = f"{self._cluster.name}-{uuid4().hex}"
        try:
            future = client.submit(
                read, self._cluster.name, task, key=key, pure=False, workers=workers, allow_other_workers=bool(workers)
            )
        except Exception as exc:  # another thread has closed the client
            raise CancelledError from exc
        with self._lock:
            self._running.add(future)
        try:
            return self._result(client, future)
        except (AuditError, KilledWorker, CancelledError):
            raise
        except Exception as exc:  # its text may contain content of the layer
            if future.status != "error":
                raise CancelledError from exc  # it comes from the client, not from a worker
            raise Unreachable(f"{_name(task)}: {_error_name(exc)} on a worker") from exc
        finally:
            with self._lock:
                self._running.discard(future)

    def _result(
        self, client: Client, future: Future[bytes | CredentialsRequest | None]
    ) -> bytes | CredentialsRequest | None:
        """Wait for a result. Raises EngineError if the cluster has no worker for _WORKERLESS_S."""
        last_worker = time.monotonic()
        while True:
            try:
                return future.result(timeout=_POLL_S)
            except TimeoutError:
                if future.status == "error":
                    raise
            if client.nthreads():
                last_worker = time.monotonic()
            elif time.monotonic() > last_worker + _WORKERLESS_S:
                raise EngineError(
                    f"--scheduler {self._cluster.address}: no worker for {_WORKERLESS_S} s. "
                    "Start workers, and run the sweep again to continue."
                )


def _name(task: LayerTask) -> str:
    return f"layer {task.repository}@{task.digest}"


def _error_name(exc: BaseException) -> str:
    return (isinstance(exc, OSError) and exc.strerror) or type(exc).__name__
