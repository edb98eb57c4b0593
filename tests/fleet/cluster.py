"""A Dask cluster on loopback: a real scheduler, and workers in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from distributed import Client

from tests.conftest import free_port
from tests.fleet.cluster_process import run

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.fleet.cluster_process"])


class Cluster:
    """Starts a scheduler at once; workers one by one. Everything it says goes to `log`."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._log = folder / "cluster.log"
        # What is said is to be everything that Dask can say.
        self._environment = {
            "DASK_LOGGING__DISTRIBUTED": "debug",
            **environment,
            "DOCKER_CONFIG": str(folder),
        }
        self._folder = folder
        self._processes: list[ForkServerProcess] = []
        self.scheduler = self.start_scheduler()

    def start_scheduler(self) -> ForkServerProcess:
        """Start a scheduler, at the address of the one before."""
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", "--no-show"]
        self.scheduler = self._start("dask_scheduler", options)
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self.scheduler
            assert self.scheduler.is_alive(), self.log
            time.sleep(0.05)
        raise AssertionError("the scheduler does not answer")

    def add_worker(self, prelude: str = "", scheduler: str | None = None) -> ForkServerProcess:
        """Start a worker, with Python statements that it runs first; `scheduler` is an address that leads there."""
        return self._start(
            "dask_worker",
            [scheduler or self.address, "--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1",
             "--local-directory", str(self._folder / f"worker{len(self._processes)}")],
            prelude,
        )  # fmt: skip

    def wait_for(self, workers: int) -> None:
        with self.client() as client:
            client.wait_for_workers(workers, timeout=60)

    def client(self) -> Client:
        return Client(self.address, set_as_default=False)

    def kill_one_at_work(self, is_time: Callable[[], bool]) -> str:
        """Kill a worker that reads a layer, once it is time; return its address."""
        with self.client() as client:
            pids = client.run(os.getpid)
            for _ in range(40_000):  # workers compile their rules first
                busy = [worker for worker, keys in client.processing().items() if keys]
                if busy and is_time():
                    os.kill(pids[busy[0]], signal.SIGKILL)
                    return str(busy[0])
                time.sleep(0.005)
        raise AssertionError("no worker was at work")

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers, dead ones too."""
        return [process.pid or 0 for process in self._processes if process.name == "dask_worker"]

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()

    def _start(self, program: str, arguments: list[str], prelude: str = "") -> ForkServerProcess:
        process = _FORKS.Process(
            name=program,
            target=run,
            args=(program, arguments, self._environment, self._log, self._folder, prelude),
            daemon=True,
        )
        process.start()
        self._processes.append(process)
        return process
