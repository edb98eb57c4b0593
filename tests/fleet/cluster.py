"""A Dask cluster on loopback: a real scheduler, and workers in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from distributed import Client

from tests.conftest import free_port, wait_for_port


class Cluster:
    """Starts a scheduler at once; workers one by one. Everything it says goes to `log`."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        self._log = folder / "cluster.log"
        # What is said is to be everything that Dask can say.
        self._environment = {
            **environment,
            "DASK_LOGGING__DISTRIBUTED": "debug",
            "DOCKER_CONFIG": str(folder),
        }
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        scheduler = ["dask_scheduler", "--host", "127.0.0.1", "--port", str(port)]
        wait_for_port(port, self._start([*scheduler, "--no-dashboard", "--no-show"]))

    def add_worker(self, prelude: str = "") -> int:
        """Start a worker, with Python statements that it runs first; return its process id."""
        process = self._start(
            ["dask_worker", self.address, "--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1",
             "--local-directory", str(self._folder / f"worker{len(self._processes)}")],
            prelude,
        )  # fmt: skip
        return process.pid

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
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def _start(self, command: list[str], prelude: str = "") -> subprocess.Popen[bytes]:
        module, *arguments = command
        code = f"{prelude}\nimport sys\nfrom distributed.cli.{module} import main\nsys.argv[1:] = {arguments!r}\nmain()"
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", code], stdout=log, stderr=log, env=self._environment, cwd=self._folder
            )
        self._processes.append(process)
        return process
