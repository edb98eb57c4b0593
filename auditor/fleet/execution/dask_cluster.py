"""Connection of a sweep to its Dask cluster: made at the start, and again after the scheduler restarts."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from distributed import Client, Future, Security
from distributed.comm.core import connect

from auditor.core.errors import EngineError
from auditor.detect.rules import Ruleset
from auditor.fleet.execution.dask_measurements import QuietNanny
from auditor.fleet.execution.dask_scheduler import CLIENT_NAME, SweepScheduling
from auditor.fleet.execution.dask_worker import RulesData, SoftwareVersions, SweepPlugin
from auditor.fleet.execution.engine import RegistryEndpoint

_CONNECT_S, _WORKER_S = 10, 60  # timeouts for the scheduler, and for the first worker
_RECONNECT_S, _PAUSE_S = 180, 1  # time for a scheduler and its workers to restart, and between two attempts
_MAX_NAMED = 3


class DaskCluster:
    """Client of a scheduler, with the plugins of a sweep on the scheduler and on all workers.

    `name` names the plugin of the workers, and starts the keys of all tasks; `note` receives messages for the user.
    Raises EngineError if the scheduler does not answer, or no worker is connected, or a worker has other versions.
    """

    def __init__(
        self, address: str, name: str, endpoint: RegistryEndpoint, ruleset: Ruleset, note: Callable[[str], None]
    ) -> None:
        self.address, self.name, self.note = address, name, note
        self._endpoint, self._rules = endpoint, RulesData.of(ruleset)
        self._versions = SoftwareVersions.of(self._rules)
        self._lock, self._closed = threading.Lock(), threading.Event()
        try:
            self.client = self._connected()
        except (OSError, CancelledError):  # the scheduler ended meanwhile
            self._reconnect_soon()

    def reconnect(self, lost: Client) -> None:
        """Replace a lost client; threads that lost the same one wait for the first of them.

        Raises EngineError after _RECONNECT_S, and at once where that was tried before or the cluster is closed.
        """
        with self._lock:
            if self.client is not lost:
                return
            if not self._closed.is_set():
                with suppress(OSError, CancelledError, RuntimeError, TimeoutError):
                    lost.close(timeout=1)
            self._reconnect_soon()

    def close(self, running: Sequence[Future[Any]]) -> None:
        """Cancel tasks, remove the plugin from the workers, and close the client."""
        self._closed.set()  # first: cancelled tasks look like those of a lost scheduler
        with suppress(OSError, CancelledError, RuntimeError):  # the cluster has stopped, and its tasks with it
            self.client.cancel(running)
        with self._lock:
            with suppress(OSError, CancelledError, KeyError, RuntimeError, ValueError):  # the cluster has stopped
                self.client.unregister_worker_plugin(self.name)
                self.client.unregister_worker_plugin(self.name, nanny=True)
            self.client.close(timeout=5)

    def _reconnect_soon(self) -> None:
        """Connect again for _RECONNECT_S. Raises EngineError if that fails, or the cluster is closed."""
        if not self._closed.is_set():
            self.note(f"--scheduler {self.address}: connection lost, trying again for {_RECONNECT_S} s")
            self._reconnect(time.monotonic() + _RECONNECT_S)
        if self._closed.is_set():
            raise EngineError(f"--scheduler {self.address}: connection lost. Run the sweep again to continue.")

    def _reconnect(self, deadline: float) -> None:
        while not self._closed.is_set():
            try:
                self.client = self._connected()
            except (EngineError, OSError, CancelledError):
                if time.monotonic() >= deadline:
                    self._closed.set()
                self._closed.wait(_PAUSE_S)
            else:
                self.note(f"--scheduler {self.address}: connected again, the sweep continues")
                return

    def _connected(self) -> Client:
        client = _client(self.address)
        try:
            self._check(client)
            self._register(client)
        except BaseException:
            client.close(timeout=1)
            raise
        return client

    def _check(self, client: Client) -> None:
        """Raise EngineError if no worker is connected, or a worker has other versions."""
        try:
            client.wait_for_workers(1, timeout=_WORKER_S)
        except TimeoutError:
            raise EngineError(
                f"--scheduler {self.address}: no worker joined it within {_WORKER_S} s. "
                f"Start one: dask worker {self.address} --nthreads 2"
            ) from None
        answers: dict[str, Any] = client.run(SoftwareVersions.of, self._rules, on_error="return")
        bad = [
            f"worker {worker} {reason}"
            for worker, answer in sorted(answers.items())
            if (reason := _mismatch(answer, self._versions))
        ]
        if bad:
            more = f"; and {len(bad) - _MAX_NAMED} more workers" if len(bad) > _MAX_NAMED else ""
            raise EngineError(f"{'; '.join(bad[:_MAX_NAMED])}{more}. Install the same image-audit there as here.")

    def _register(self, client: Client) -> None:
        try:
            client.register_plugin(SweepScheduling())
        except ImportError as exc:
            raise EngineError(
                f"--scheduler {self.address}: can't run image-audit ({exc}). "
                "Install the same image-audit there as here."
            ) from exc
        client.register_plugin(SweepPlugin(self._endpoint, self._rules, self._versions), name=self.name)
        with suppress(ImportError):  # image-audit was sent to the workers alone
            client.register_plugin(QuietNanny(), name=self.name)


def _client(address: str) -> Client:
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # EngineError and notes report the same
    try:
        with ThreadPoolExecutor(1) as pool:  # the thread of the caller may already run an event loop
            pool.submit(lambda: asyncio.run(_reach(address))).result()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about versions, which _check compares
            return Client(address, timeout=_CONNECT_S, set_as_default=False, name=CLIENT_NAME)
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
