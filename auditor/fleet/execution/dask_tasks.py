"""Tasks of a sweep on a Dask cluster: each reads layers on one worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from itertools import islice
from uuid import uuid4

from distributed import Client, Future, KilledWorker

from auditor.core.errors import AuditError, EngineError, Unauthorized, Unreachable
from auditor.fleet.execution.dask_cluster import DaskCluster
from auditor.fleet.execution.dask_worker import (
    Answer,
    Credentials,
    CredentialsRequest,
    UnfitWorker,
    accept_credentials,
    error_name,
    public_key,
    read,
)
from auditor.fleet.execution.engine import LayerTask

_MOST_LOGINS = 20  # workers in a row that ask for the credentials instead of reading
_MOST_AT_ONCE = 100  # workers: each receives the credentials encrypted for all of them
_LOGIN_AGE_S = 60  # after which refused credentials are read again
_MOST_RECONNECTIONS = 5  # during one task
_POLL_S, _WORKERLESS_S = 15, 300
_FIT_S, _PAUSE_S = 60, 1  # for a worker that can read layers, and between two looks for one


class _WorkersLost(Exception):
    """None of the workers is left to which a task was restricted."""


class DaskTasks:
    """Runs the tasks of a sweep. Threads may share it. The caller owns the cluster.

    `credentials` reads the stored ones: now, and again if they are refused, as those of cloud registries expire within
    hours and a helper of Docker renews them.
    """

    def __init__(self, cluster: DaskCluster, credentials: Callable[[], Credentials]) -> None:
        self._cluster, self._read_credentials = cluster, credentials
        self._credentials, self._login_end = credentials(), 0.0
        self._login_lock = threading.Lock()
        self._running: set[Future[Answer]] = set()
        self._unfit: dict[str, UnfitWorker] = {}
        self._lock = threading.Lock()

    def send_credentials(self) -> None:
        """Send the credentials to the workers that are connected; others ask for them with their first task."""
        cluster, client = self._cluster, self._cluster.client
        with suppress(CancelledError, OSError):  # tasks connect again
            keys = client.run(public_key, cluster.name, on_error="ignore")
            known = iter((worker, key) for worker, key in keys.items() if key is not None)
            while some := dict(islice(known, _MOST_AT_ONCE)):
                sealed = {worker: self._credentials.sealed(key) for worker, key in some.items()}
                client.run(accept_credentials, cluster.name, sealed, workers=list(sealed), on_error="ignore")

    def read(self, layers: Sequence[LayerTask]) -> list[bytes | AuditError]:
        """Submit layers until a worker has read them; return the record of each, or why it can't be read.

        Raises KilledWorker if the worker dies, EngineError if the cluster stays away, Unreachable for another failure
        of all layers; its message names none of them.
        """
        reconnections = 0
        while reconnections <= _MOST_RECONNECTIONS:
            client = self._cluster.client
            try:
                return self._records(client, layers)
            except (CancelledError, OSError):
                self._cluster.reconnect(client)
                reconnections += 1
        raise Unreachable(f"the connection to the scheduler was lost {reconnections} times meanwhile")

    def running(self) -> list[Future[Answer]]:
        """Return the tasks that were submitted and have not ended."""
        with self._lock:
            return list(self._running)

    def _records(self, client: Client, layers: Sequence[LayerTask]) -> list[bytes | AuditError]:
        """Submit layers until a worker reads them; send the credentials to workers that lack them."""
        workers: list[str] | None = None
        for _ in range(_MOST_LOGINS):
            credentials = self._credentials
            try:
                answer = self._answer(client, layers, workers or self._fit_workers(client), only=workers is None)
            except _WorkersLost:
                continue
            if answer is None:
                raise CancelledError  # the scheduler or a worker lacks the plugin
            if isinstance(answer, list) and not self._are_renewed(credentials, answer):
                return answer
            workers = None
            if isinstance(answer, UnfitWorker):
                self._leave_out(answer)
            elif isinstance(answer, CredentialsRequest):
                sealed = {answer.worker: self._credentials.sealed(answer.public_key)}
                workers = [answer.worker]
                client.run(accept_credentials, self._cluster.name, sealed, workers=workers, on_error="ignore")
        raise Unreachable(f"{_MOST_LOGINS} workers restarted before they could read it")

    def _are_renewed(self, used: Credentials, answer: Sequence[bytes | AuditError]) -> bool:
        """Whether the registry refused some credentials, and the workers have others by now; they are read again."""
        if not any(isinstance(one, Unauthorized) for one in answer):
            return False
        with self._login_lock:
            if self._credentials is used and time.monotonic() >= self._login_end:
                self._login_end = time.monotonic() + _LOGIN_AGE_S
                found = self._read_credentials()
                if found != used:
                    self._credentials = found
                    self.send_credentials()
            return self._credentials is not used

    def _leave_out(self, unfit: UnfitWorker) -> None:
        """Give no further task to a worker."""
        with self._lock:
            is_known = unfit.worker in self._unfit
            self._unfit[unfit.worker] = unfit
        if not is_known:
            self._cluster.note(f"--scheduler {self._cluster.address}: {unfit} It gets no further layers.")

    def _fit_workers(self, client: Client) -> list[str] | None:
        """Return the workers without those that can't read layers, None if no worker is one of these.

        Raises EngineError if no other worker is connected within _FIT_S.
        """
        if not self._unfit:
            return None
        deadline = time.monotonic() + _FIT_S
        while not (fit := [worker for worker in client.nthreads() if worker not in self._unfit]):
            if time.monotonic() > deadline:
                reason = next(iter(self._unfit.values()))
                raise EngineError(f"--scheduler {self._cluster.address}: no other worker is connected; {reason}")
            time.sleep(_PAUSE_S)
        return fit

    def _answer(self, client: Client, layers: Sequence[LayerTask], workers: list[str] | None, *, only: bool) -> Answer:
        """Submit a task and wait for its result; it should run on one of `workers`, if given, or `only` there.

        Raises _WorkersLost if none of them is left.
        """
        key = f"{self._cluster.name}-{uuid4().hex}"
        try:
            future = client.submit(
                read,
                self._cluster.name,
                layers,
                key=key,
                pure=False,
                workers=workers,
                allow_other_workers=bool(workers) and not only,
            )
        except Exception as exc:  # another thread has closed the client
            raise CancelledError from exc
        with self._lock:
            self._running.add(future)
        try:
            return self._result(client, future, workers if only else None)
        except (AuditError, KilledWorker, CancelledError, _WorkersLost):
            raise
        except Exception as exc:  # its text may contain content of the layer
            if future.status != "error":
                raise CancelledError from exc  # it comes from the client, not from a worker
            raise Unreachable(f"{error_name(exc)} on a worker") from exc
        finally:
            with self._lock:
                self._running.discard(future)

    def _result(self, client: Client, future: Future[Answer], only: Sequence[str] | None) -> Answer:
        """Wait for a result. Raises EngineError if the cluster has no worker for _WORKERLESS_S."""
        last_worker = time.monotonic()
        while True:
            try:
                return future.result(timeout=_POLL_S)
            except TimeoutError:
                if future.status == "error":
                    raise
            connected = client.nthreads()
            if only is not None and connected.keys().isdisjoint(only):
                future.cancel()
                raise _WorkersLost
            if connected:
                last_worker = time.monotonic()
            elif time.monotonic() > last_worker + _WORKERLESS_S:
                raise EngineError(
                    f"--scheduler {self._cluster.address}: no worker for {_WORKERLESS_S} s. "
                    "Start workers, and run the sweep again to continue."
                )
