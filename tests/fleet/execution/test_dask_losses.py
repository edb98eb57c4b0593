"""Losses of a Dask cluster during a sweep: workers, the scheduler, hostile layers; and what the scheduler can read."""

from __future__ import annotations

import base64
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey

from auditor.core.errors import EngineError
from auditor.fleet.execution import dask_cluster, dask_tasks
from auditor.fleet.execution.dask_worker import Credentials
from auditor.fleet.execution.engine import RegistryEndpoint
from auditor.fleet.store.database import SweepStore
from auditor.registry.logins import Login
from tests.fleet.cluster import Cluster
from tests.fleet.conftest import Sweeps, without_times
from tests.fleet.dask_sweeps import engine_of, swept
from tests.fleet.notes import Notes
from tests.fleet.planted import Content, Remote, application
from tests.fleet.proxy import Proxy
from tests.fleet.recorder import Recorder
from tests.images import digest, gzipped, token

pytestmark = [
    pytest.mark.registry,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # see the fixture `cluster`
]
DEADLY = """
import os, signal
import auditor.fleet.execution.dask_worker as worker
harmless = worker.read_layer
def read_layer(task, *rest):
    if task.digest == "{digest}":
        os.kill(os.getpid(), signal.SIGKILL)
    return harmless(task, *rest)
worker.read_layer = read_layer
"""
"""What a worker runs first that a layer kills."""


def started(is_time: Callable[[], bool], act: Callable[[], object]) -> threading.Thread:
    """A thread that acts once it is time."""

    def work() -> None:
        while not is_time():
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_sweep_continues_after_its_scheduler_restarts(
    sweeps: Sweeps, tmp_path: Path, cluster: Cluster, filled: tuple[str, Content], proxy_to: Callable[[str], Proxy]
) -> None:
    cluster.add_worker()
    cluster.wait_for(1)
    proxy, progress = proxy_to(filled[0]), Notes()
    proxy.delay_s = 0.05

    def restart() -> None:
        cluster.scheduler.kill()
        cluster.scheduler.join()
        cluster.start_scheduler()
        cluster.add_worker()

    helper = started(lambda: sum(proxy.blobs[name] for name in filled[1].layers) > 4, restart)
    remote = swept(sweeps, cluster.address, proxy.address, progress, rate=500)
    helper.join()
    assert [note.removeprefix(f"--scheduler {cluster.address}: ") for note in progress.notes] == [
        "connection lost, trying again for 180 s", "connected again, the sweep continues",
    ]  # fmt: skip
    with closing(SweepStore(f"sqlite:///{tmp_path}/local.sqlite")) as store:
        local = Sweeps(store, sweeps.scanner)(filled[0])
    assert remote["failed"] == [] and without_times(remote) == without_times(local)


def test_layers_whose_plugin_another_process_removes_are_read_again(
    sweeps: Sweeps, cluster: Cluster, filled: tuple[str, Content], proxy_to: Callable[[str], Proxy]
) -> None:
    """A process that has lost its lease, and is continued later, removes the plugin of the one that has it now."""
    cluster.add_worker()
    cluster.wait_for(1)
    proxy = proxy_to(filled[0])
    proxy.delay_s = 0.05

    def replace_and_remove() -> None:
        engine_of(sweeps, cluster.address, RegistryEndpoint(proxy.address)).close()

    helper = started(lambda: sum(proxy.blobs[name] for name in filled[1].layers) > 4, replace_and_remove)
    found = swept(sweeps, cluster.address, proxy.address, Notes())
    helper.join()
    assert found["failed"] == [] and len(found["images"]) == 40


def test_a_scheduler_that_does_not_come_back_ends_the_sweep_and_the_next_one_goes_on(
    sweeps: Sweeps, cluster: Cluster, filled: tuple[str, Content], proxy_to: Callable[[str], Proxy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(dask_cluster, "_RECONNECT_S", 0)
    monkeypatch.setattr(dask_cluster, "_PAUSE_S", 0.01)
    cluster.add_worker()
    cluster.wait_for(1)
    proxy = proxy_to(filled[0])
    proxy.delay_s = 0.05
    killer = started(lambda: sum(proxy.blobs.values()) > 60, cluster.close)
    with pytest.raises(
        EngineError, match=rf"^--scheduler {cluster.address}: connection lost\. Run the sweep again to continue\.$"
    ):
        swept(sweeps, cluster.address, proxy.address)
    killer.join()
    proxy.delay_s = 0
    assert len(sweeps(proxy.address)["images"]) == 40


def test_a_layer_that_kills_three_workers_is_set_aside_and_all_others_are_read(
    sweeps: Sweeps, cluster: Cluster, address: str
) -> None:
    remote, images = Remote(address), [application(number, f"app{number}", None) for number in range(6)]
    for number, built in enumerate(images):
        remote.push("team/app", str(number), built)
    hostile = digest(gzipped(images[2].layers[1]))
    workers = [cluster.add_worker(DEADLY.format(digest=hostile)) for _ in range(4)]
    cluster.wait_for(4)
    found = swept(sweeps, cluster.address, address)
    reason = f"layer team/app@{hostile}: set aside: 3 workers died while reading it"
    assert found["failed"] == [{"reference": "team/app:2", "reason": reason}]
    assert sorted(tag for item in found["images"] for tag in item["tags"]) == ["0", "1", "3", "4", "5"]
    assert sorted(worker.is_alive() for worker in workers) == [False, False, False, True]


def test_a_sweep_without_workers_ends_with_the_reason(
    sweeps: Sweeps, cluster: Cluster, filled: tuple[str, Content], proxy_to: Callable[[str], Proxy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(dask_tasks, "_POLL_S", 0.05)
    monkeypatch.setattr(dask_tasks, "_WORKERLESS_S", 0.1)
    worker, proxy = cluster.add_worker(), proxy_to(filled[0])
    proxy.delay_s = 0.05
    cluster.wait_for(1)
    killer = started(lambda: any(proxy.blobs[name] for name in filled[1].layers), worker.kill)
    with pytest.raises(EngineError, match=r": no worker for 0\.1 s\. Start workers, and run the sweep again"):
        swept(sweeps, cluster.address, proxy.address)
    killer.join()


def test_neither_secrets_nor_logins_nor_bytes_of_layers_pass_the_scheduler(
    sweeps: Sweeps, cluster: Cluster, tmp_path: Path, start_registry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that the scheduler receives passes a recorder: tasks and results, and what workers say."""
    user, password, secret = "auditor", "p4ss-of-the-test", token(402)
    users = tmp_path / "users"
    users.write_bytes(subprocess.run(["htpasswd", "-Bbn", user, password], capture_output=True, check=True).stdout)
    host = start_registry(f"auth: {{htpasswd: {{realm: test, path: {users}}}}}\n")
    session = requests.Session()
    session.auth = (user, password)
    built = application(0, "app", secret)
    Remote(host, session).push("team/app", "1", built)
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    (tmp_path / "config.json").write_text(f'{{"auths": {{"{host}": {{"auth": "{basic}"}}}}}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    recorder = Recorder(cluster.port)
    cluster.add_worker(scheduler=recorder.address)
    cluster.wait_for(1)
    found = swept(sweeps, recorder.address, host)
    cluster.close()
    recorder.close()
    assert found["images"][0]["by_severity"] == {"critical": 1}
    layers = [gzipped(data) for data in built.layers]
    assert all(digest(data).encode() in recorder.seen for data in layers), "tasks name layers"
    texts = (secret, password, basic, "this is app", sweeps.store.key.hex())
    hidden = [sweeps.store.key, *(text.encode() for text in texts), *(data[:1000] for data in layers)]
    assert [data for data in hidden if data in recorder.seen] == []


def test_credentials_are_read_by_one_worker_alone_and_never_shown() -> None:
    held = Credentials(Login("auditor", "p4ss-of-the-test", "identity"), b"key-of-the-test")
    assert repr(held) == str(held) == f"{held}" == "Credentials()"
    worker = PrivateKey.generate()
    sealed = held.sealed(bytes(worker.public_key))
    assert Credentials.opened(sealed, worker) == held
    with pytest.raises(CryptoError):
        Credentials.opened(sealed, PrivateKey.generate())
