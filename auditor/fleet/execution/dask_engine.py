"""Engine of many machines: layers are read by the workers of a Dask cluster.

    sweep ── SweepPlugin, once per worker ────────────────► worker
          ── LayerTasks, in batches, by the scheduler ────► worker ── fetch, verify, scan ──► records, by the scheduler
          ── Credentials, encrypted for each worker ──────►

The bytes of layers pass between registry and workers alone. Records hold HMACs of secrets. The login of the registry
and the HMAC key are encrypted for the worker that asks for them, so that the scheduler never has them.

A task of Dask costs the sweep, the scheduler and a worker together 11 ms of processor time. Therefore it reads several
layers if many wait, one after the other.

The layers of a worker that dies are submitted again, one by one. After two losses a layer is read alone among such
layers, so that the third loss is its own: it is set aside. If the scheduler restarts, the engine connects again and
submits what was lost.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import NamedTuple

from distributed import KilledWorker

from auditor.core.errors import Unreachable
from auditor.core.progress import Progress
from auditor.detect.rules import Ruleset
from auditor.fleet.execution.dask_cluster import DaskCluster
from auditor.fleet.execution.dask_rate import ClusterRate
from auditor.fleet.execution.dask_scheduler import TASK_PREFIX
from auditor.fleet.execution.dask_tasks import DaskTasks
from auditor.fleet.execution.dask_worker import Credentials
from auditor.fleet.execution.engine import LayerTask, RegistryEndpoint
from auditor.registry.logins import stored_login

_MOST_LAYERS, _MOST_BYTES = 16, 128 << 20  # of a batch; a larger layer is read by a task of its own
_MOST_LOSSES = 3  # workers that a layer may kill


class _Read(NamedTuple):
    """A layer to read, and the future of its record."""

    layer: LayerTask
    record: Future[bytes]


class DaskEngine:
    """Runs up to `parallel` tasks at a time on the workers of a cluster.

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
        self._progress, self._parallel = progress, parallel
        self._waiting: deque[_Read] = deque()
        self._lock, self._alone = threading.Lock(), threading.Lock()
        self._cluster = cluster = DaskCluster(address, f"{TASK_PREFIX}{name}", endpoint, ruleset, progress.note)
        self._tasks = DaskTasks(cluster, lambda: Credentials(stored_login(endpoint.host, endpoint.path), key))
        self._tasks.send_credentials()
        self.rate = ClusterRate(endpoint, lambda: cluster.client, cluster.reconnect) if endpoint.rate else None
        self._pool = ThreadPoolExecutor(parallel, "layer")

    def submit(self, task: LayerTask) -> Future[bytes]:
        """Schedule the read of a layer on a worker."""
        read = _Read(task, Future())
        with self._lock:
            self._waiting.append(read)
        self._pool.submit(self._read_batch)
        return read.record

    def close(self) -> None:
        """Cancel waiting and running tasks, and remove the plugin from the workers."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._cluster.close(self._tasks.running())
        self._pool.shutdown()

    def _read_batch(self) -> None:
        """Read layers that wait, unless earlier calls took them all."""
        with self._lock:
            batch = self._next_batch()
        if batch:
            self._read(batch)

    def _next_batch(self) -> list[_Read]:
        """Take the share of one of `parallel` tasks: the fewer layers wait, the fewer it reads."""
        waiting, batch, size = self._waiting, list[_Read](), 0
        most = min(_MOST_LAYERS, 1 + len(waiting) // self._parallel)
        while waiting and len(batch) < most:
            size += _MOST_BYTES if waiting[0].layer.size is None else waiting[0].layer.size
            if batch and size > _MOST_BYTES:
                break
            batch.append(waiting.popleft())
        return batch

    def _read(self, batch: Sequence[_Read], losses: int = 0) -> None:
        """Read layers that have lost so many workers."""
        try:
            with self._alone if losses == _MOST_LOSSES - 1 else nullcontext():
                records = self._tasks.read([read.layer for read in batch])
        except KilledWorker as exc:
            if losses + 1 == _MOST_LOSSES:
                _fail(batch, Unreachable(f"set aside: {_MOST_LOSSES} workers died while reading it"), exc)
                return
            for read in batch:
                self._read([read], losses + 1)
        except BaseException as exc:
            _fail(batch, exc, exc)
        else:
            for read, record in zip(batch, records, strict=True):
                self._progress.advance(read.layer.size or 0)
                if isinstance(record, bytes):
                    read.record.set_result(record)
                else:
                    read.record.set_exception(record)


def _fail(batch: Sequence[_Read], error: BaseException, cause: BaseException) -> None:
    """Let layers fail with an error that names each, unless it is one of the cluster."""
    for read in batch:
        own = Unreachable(f"{read.layer}: {error}") if isinstance(error, Unreachable) else error
        own.__cause__ = None if own is cause else cause
        read.record.set_exception(own)
