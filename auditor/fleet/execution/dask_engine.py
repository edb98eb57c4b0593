"""The engine of many machines: the layers are the tasks of a Dask cluster.

    sweep ── Session, once a worker ──────────► worker ── fetches, verifies, scans ──► record, through the scheduler
          ── Task and Credentials, a layer ───►

Rules and connections are a plugin of the workers, which those get too that join later. The login and the sealing key
come with the tasks, in an object that shows neither, so that no log, no dashboard and no disk of a worker has them; on
the wire they are enciphered where ADDRESS is tls://. A lost worker's tasks go to others: that is Dask's own doing.
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
from auditor.fleet.execution.dask_worker import Credentials, Session, Versions, read
from auditor.fleet.execution.engine import Source, Task
from auditor.registry.authentication import stored_login

_CONNECT_S, _WORKER_S = 10, 60  # until the scheduler answers, and then until a worker is there
_MAX_NAMED = 3


class DaskEngine:
    """Reads `parallel` layers at a time on the workers of a cluster.

    `name` is the same for every run of one sweep: what a killed one left with the workers is replaced. `rate` is the
    rate limit that the sweep's own client must share with the workers, None where there is none. Raises EngineError
    where no scheduler answers, no worker is there, or one is not as it must be.
    """

    def __init__(
        self,
        address: str,
        source: Source,
        ruleset: Ruleset,
        key: bytes,
        *,
        name: str,
        parallel: int,
        progress: Progress,
    ) -> None:
        self._address, self._session, self._progress = address, f"image-audit-{name}", progress
        self._credentials = Credentials(stored_login(source.host), key)
        self._running: set[Future[bytes]] = set()
        self._lock = threading.Lock()
        self._client = _connected(address)
        try:
            self._check(ruleset)
            self.rate = ClusterRate(source.host, source.rate, self._client) if source.rate else None
            self._client.register_plugin(Session(source, ruleset), name=self._session)
        except BaseException:
            self._client.close(timeout=1)
            raise
        self._pool = ThreadPoolExecutor(parallel, "layer")

    def submit(self, task: Task) -> Answer[bytes]:
        """Have a layer read by some worker."""
        return self._pool.submit(self._read, task)

    def close(self) -> None:
        """Drop what waits and what runs, and what the workers hold of it."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            running = list(self._running)
        try:
            self._client.cancel(running)
            self._client.unregister_worker_plugin(self._session)
        except (OSError, CancelledError, KeyError):
            pass  # the cluster is gone, and all that it held
        self._client.close(timeout=5)
        self._pool.shutdown()

    def _check(self, ruleset: Ruleset) -> None:
        """Raise EngineError where no worker is there, or one is not as it must be."""
        try:
            self._client.wait_for_workers(1, timeout=_WORKER_S)
        except TimeoutError:
            raise EngineError(f"--scheduler {self._address}: no worker joined it within {_WORKER_S} s") from None
        own = Versions.of(ruleset)
        answers: dict[str, Any] = self._client.run(Versions.of, ruleset, on_error="return")
        bad = [
            f"worker {worker} {reason}"
            for worker, answer in sorted(answers.items())
            if (reason := _why_not(answer, own))
        ]
        if bad:
            more = f"; and {len(bad) - _MAX_NAMED} more workers" if len(bad) > _MAX_NAMED else ""
            raise EngineError(f"{'; '.join(bad[:_MAX_NAMED])}{more}: install the same image-audit there as here")

    def _read(self, task: Task) -> bytes:
        what = f"layer {task.repository}@{task.digest}"
        future = self._client.submit(read, self._session, task, self._credentials, pure=False)
        with self._lock:
            self._running.add(future)
        try:
            record = future.result()
        except AuditError:
            raise
        except KilledWorker as exc:
            raise Unreachable(f"{what}: {exc.allowed_failures + 1} workers died while they read it") from exc
        except CancelledError as exc:
            raise EngineError(f"--scheduler {self._address}: the connection is lost") from exc
        except Exception as exc:  # a worker's own, whose text may show what a layer holds
            raise Unreachable(f"{what}: {_named(exc)} on a worker") from exc
        finally:
            with self._lock:
                self._running.discard(future)
        self._progress.advance(task.size or 0)
        return record


def _connected(address: str) -> Client:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # it tells in its own words what EngineError says
    try:
        with ThreadPoolExecutor(1) as pool:  # the caller's thread may have an event loop of its own
            pool.submit(lambda: asyncio.run(_reach(address))).result()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions, which are checked here
            return Client(address, timeout=_CONNECT_S, set_as_default=False, name="image-audit")
    except (ValueError, TypeError, RuntimeError) as exc:  # a scheme that nobody knows, tls:// without certificates
        raise EngineError(f"--scheduler {address}: {exc}") from exc
    except (OSError, ImportError) as exc:
        raise EngineError(f"--scheduler {address}: no Dask scheduler answers there") from exc


async def _reach(address: str) -> None:
    """Connect once: a Client that can't leaves threads behind, and a traceback when the program ends."""
    own = Security().get_connection_args("client")
    async with asyncio.timeout(_CONNECT_S):  # for one that answers, and is no scheduler
        (await connect(address, timeout=_CONNECT_S, **own)).abort()


def _why_not(answer: Any, wanted: Versions) -> str:
    """Say why a worker that gave this answer won't do; an empty text where it does."""
    if isinstance(answer, Versions):
        differences = answer.differences(wanted)
        return f"has {differences}" if differences else ""
    return f"can't run image-audit ({answer!s:.200})"


def _named(exc: BaseException) -> str:
    return (isinstance(exc, OSError) and exc.strerror) or type(exc).__name__
