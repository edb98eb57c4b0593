"""Engine of many machines: layers are read by the workers of a Dask cluster.

    sweep ── SweepPlugin, once per worker ──────────► worker ── fetch, verify, scan ──► record, through the scheduler
          ── LayerTask and Credentials, per layer ──►

Rules and connections are a plugin of the workers; workers that join later get it too. Login and HMAC key are sent with
the tasks in an object without a repr, so that they appear in no log, dashboard or file of a worker. They are encrypted
on the network if ADDRESS starts with tls://. Dask moves the tasks of a lost worker to other workers.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures import Future as Answer
from typing import Any

from distributed import Client, Future, KilledWorker, Security
from distributed.comm.core import connect

from auditor.core.errors import AuditError, EngineError, Unreachable
from auditor.core.progress import Progress
from auditor.detect.rules import Ruleset
from auditor.fleet.execution.dask_rate import ClusterRate
from auditor.fleet.execution.dask_worker import Credentials, SoftwareVersions, SweepPlugin, read
from auditor.fleet.execution.engine import LayerTask, RegistryEndpoint
from auditor.registry.logins import stored_login

_CONNECT_S, _WORKER_S = 10, 60  # timeouts for the scheduler, and for the first worker
_MAX_NAMED = 3


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
        self._address, self._plugin_name, self._progress = address, f"image-audit-{name}", progress
        self._credentials = Credentials(stored_login(endpoint.host, endpoint.path), key)
        self._running: set[Future[bytes]] = set()
        self._lock = threading.Lock()
        self._client = _connected(address)
        try:
            self._check(ruleset)
            self.rate = ClusterRate(endpoint.host, endpoint.rate, self._client) if endpoint.rate else None
            self._client.register_plugin(SweepPlugin(endpoint, ruleset), name=self._plugin_name)
        except BaseException:
            self._client.close(timeout=1)
            raise
        self._pool = ThreadPoolExecutor(parallel, "layer")

    def submit(self, task: LayerTask) -> Answer[bytes]:
        """Schedule the read of a layer on a worker."""
        return self._pool.submit(self._read, task)

    def close(self) -> None:
        """Cancel waiting and running tasks, and remove the plugin from the workers."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            running = list(self._running)
        try:
            self._client.cancel(running)
            self._client.unregister_worker_plugin(self._plugin_name)
        except (OSError, CancelledError, KeyError):
            pass  # the cluster has stopped, and its tasks with it
        self._client.close(timeout=5)
        self._pool.shutdown()

    def _check(self, ruleset: Ruleset) -> None:
        """Raise EngineError if no worker is connected, or a worker has other versions."""
        try:
            self._client.wait_for_workers(1, timeout=_WORKER_S)
        except TimeoutError:
            raise EngineError(
                f"--scheduler {self._address}: no worker joined it within {_WORKER_S} s. "
                f"Start one: dask worker {self._address} --nthreads 2"
            ) from None
        own = SoftwareVersions.of(ruleset)
        answers: dict[str, Any] = self._client.run(SoftwareVersions.of, ruleset, on_error="return")
        bad = [
            f"worker {worker} {reason}"
            for worker, answer in sorted(answers.items())
            if (reason := _mismatch(answer, own))
        ]
        if bad:
            more = f"; and {len(bad) - _MAX_NAMED} more workers" if len(bad) > _MAX_NAMED else ""
            raise EngineError(f"{'; '.join(bad[:_MAX_NAMED])}{more}. Install the same image-audit there as here.")

    def _read(self, task: LayerTask) -> bytes:
        name = f"layer {task.repository}@{task.digest}"
        future = self._client.submit(read, self._plugin_name, task, self._credentials, pure=False)
        with self._lock:
            self._running.add(future)
        try:
            record = future.result()
        except AuditError:
            raise
        except KilledWorker as exc:
            raise Unreachable(f"{name}: {exc.allowed_failures + 1} workers died while reading it") from exc
        except CancelledError as exc:
            raise EngineError(
                f"--scheduler {self._address}: connection lost. Run the sweep again to continue."
            ) from exc
        except Exception as exc:  # its text may contain content of the layer
            raise Unreachable(f"{name}: {_error_name(exc)} on a worker") from exc
        finally:
            with self._lock:
                self._running.discard(future)
        self._progress.advance(task.size or 0)
        return record


def _connected(address: str) -> Client:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # EngineError reports the same
    try:
        with ThreadPoolExecutor(1) as pool:  # the thread of the caller may already run an event loop
            pool.submit(lambda: asyncio.run(_reach(address))).result()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about versions, which _check compares
            return Client(address, timeout=_CONNECT_S, set_as_default=False, name="image-audit")
    except (ValueError, TypeError, RuntimeError) as exc:  # an unknown scheme, or tls:// without certificates
        raise EngineError(f"--scheduler {address}: {exc}") from exc
    except (OSError, ImportError) as exc:
        raise EngineError(f"--scheduler {address}: no Dask scheduler answers there. Start one: dask scheduler") from exc


async def _reach(address: str) -> None:
    """Connect once: a Client that fails to connect leaves threads, and a traceback at exit."""
    own = Security().get_connection_args("client")
    async with asyncio.timeout(_CONNECT_S):  # a server that answers may be no scheduler
        (await connect(address, timeout=_CONNECT_S, **own)).abort()


def _mismatch(answer: Any, required: SoftwareVersions) -> str:
    """Describe why a worker with this answer can't be used; an empty text if it can."""
    if isinstance(answer, SoftwareVersions):
        differences = answer.differences(required)
        return f"has {differences}" if differences else ""
    return f"can't run image-audit ({answer!s:.200})"


def _error_name(exc: BaseException) -> str:
    return (isinstance(exc, OSError) and exc.strerror) or type(exc).__name__
