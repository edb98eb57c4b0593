"""Sweeps on a Dask cluster: a real scheduler, real workers, and workers that die."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from distributed import Client, Nanny, Scheduler, Worker
from distributed.comm.core import CommClosedError
from distributed.core import Server

from auditor.core.digests import Digest
from auditor.core.errors import EngineError
from auditor.core.progress import Silent
from auditor.fleet.execution import dask_engine, dask_tasks
from auditor.fleet.execution.dask_cluster import DaskCluster
from auditor.fleet.execution.dask_measurements import QuietNanny, SelfMeasurements
from auditor.fleet.execution.dask_tasks import DaskTasks
from auditor.fleet.execution.dask_worker import Answer, CredentialsRequest, SoftwareVersions, SweepPlugin
from auditor.fleet.execution.engine import LayerTask, RegistryEndpoint
from auditor.fleet.execution.sweep import sweep_lease
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.registry.logins import Login
from auditor.scan.record_format import decode_record
from tests.conftest import Cli
from tests.fleet.cluster import Cluster
from tests.fleet.conftest import Sweeps, without_times
from tests.fleet.dask_sweeps import engine_of, swept
from tests.fleet.notes import Notes
from tests.fleet.planted import Content, Remote, application
from tests.fleet.proxy import Proxy
from tests.images import digest, gzipped, token

pytestmark = [
    pytest.mark.registry,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # see the fixture `cluster`
]
WORKER = "import auditor.fleet.execution.dask_worker as w"
PASSWORD = "p4ss-of-the-test"
OLD = f"{WORKER}; w.__version__ = '0.0.1'"
"""What a worker of another version runs first."""


def test_the_result_is_that_of_this_machine_though_a_worker_is_killed(
    sweeps_in: Sweeps, tmp_path: Path, cluster: Cluster, filled: tuple[str, Content], proxy_to: Callable[[str], Proxy],
) -> None:  # fmt: skip
    cluster.add_worker(), cluster.add_worker()
    cluster.wait_for(2)
    proxy = proxy_to(filled[0])
    proxy.delay_s = 0.1
    killed: list[str] = []

    def kill() -> None:
        killed.append(cluster.kill_one_at_work(lambda: sum(proxy.blobs[name] for name in filled[1].layers) > 4))

    killer = threading.Thread(target=kill)
    killer.start()
    remote = swept(sweeps_in, cluster.address, proxy.address)
    killer.join()
    assert killed and set(proxy.blobs) >= set(filled[1].layers)
    with closing(SweepStore(f"sqlite:///{tmp_path}/local.sqlite")) as store:
        local = Sweeps(store, sweeps_in.scanner)(filled[0])
    assert remote["failed"] == [] and without_times(remote) == without_times(local)
    assert remote["layers"]["read"] == len(filled[1].layers)


def test_no_worker_measures_itself_during_its_sweep_and_no_scheduler_during_any(
    sweeps_in: Sweeps, cluster: Cluster
) -> None:
    cluster.add_worker()
    cluster.wait_for(1)

    def running() -> tuple[set[str], set[str]]:
        with cluster.client() as client:
            (worker,) = client.run(running_callbacks).values()
            return set(client.run_on_scheduler(running_on_scheduler)), set(worker)

    before = running()
    paused = before[0] - {"tick", "ticks"}, before[1] - {"profile", "profile-cycle", "tick", "ticks"}
    first, second = (engine_of(sweeps_in, cluster.address, RegistryEndpoint("127.0.0.1:1")) for _ in range(2))
    assert running() == paused
    first.close()
    assert running()[0] == paused[0]
    second.close()
    assert running() == before
    with closing(engine_of(sweeps_in, cluster.address, RegistryEndpoint("127.0.0.1:1"))):
        assert running() == paused
    assert running() == before


def test_a_pause_of_the_measurements_is_no_time_without_response(caplog: pytest.LogCaptureFixture) -> None:
    async def measure() -> None:
        async with Server({}) as server:
            measurements = SelfMeasurements(server)
            server._last_tick -= 3600
            measurements.pause()
            measurements.resume()
            server._measure_tick()

    with caplog.at_level("INFO", "distributed.core"):
        asyncio.run(measure())
    assert "unresponsive" not in caplog.text


def test_a_nanny_does_not_measure_itself_during_a_sweep() -> None:
    async def measure() -> None:
        async with (
            Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address=":0") as scheduler,
            Nanny(scheduler.address, nthreads=1) as nanny,
        ):
            before = set(running_callbacks(nanny))
            assert "tick" in before
            assert await nanny.plugin_add(QuietNanny(), "sweep") == {"status": "OK"}
            assert set(running_callbacks(nanny)) == before - {"tick", "ticks"}
            assert await nanny.plugin_remove("sweep") == {"status": "OK"}
            assert set(running_callbacks(nanny)) == before

    asyncio.run(measure())


def test_the_nannies_have_the_plugin_of_a_sweep_until_its_end(sweeps_in: Sweeps, cluster: Cluster) -> None:
    cluster.add_worker()
    cluster.wait_for(1)

    def of_nannies() -> list[str]:
        with cluster.client() as client:
            return cast(list[str], client.run_on_scheduler(nanny_plugins))

    engine = engine_of(sweeps_in, cluster.address, RegistryEndpoint("127.0.0.1:1"))
    assert of_nannies() == [engine._cluster.name]
    engine.close()
    assert of_nannies() == []


def test_nannies_need_no_image_audit(
    sweeps_in: Sweeps, cluster: Cluster, filled: tuple[str, Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    register = Client.register_plugin

    def registered(client: Client, plugin: Any, **more: Any) -> Any:
        if isinstance(plugin, QuietNanny):
            raise ModuleNotFoundError("No module named 'auditor'")
        return register(client, plugin, **more)

    monkeypatch.setattr(Client, "register_plugin", registered)
    cluster.add_worker()
    cluster.wait_for(1)
    assert swept(sweeps_in, cluster.address, filled[0])["failed"] == []


@pytest.mark.parametrize("is_later", [False, True], ids=["connected", "later"])
def test_workers_have_the_credentials_before_their_tasks_and_later_ones_ask_for_them(
    sweeps_in: Sweeps, cluster: Cluster, filled: tuple[str, Content], monkeypatch: pytest.MonkeyPatch, *, is_later: bool
) -> None:
    asking = list[str]()
    answer = DaskTasks._answer

    def recorded(tasks: DaskTasks, *rest: Any, **more: Any) -> Answer:
        found = answer(tasks, *rest, **more)
        asking.extend([found.worker] if isinstance(found, CredentialsRequest) else [])
        return found

    monkeypatch.setattr(DaskTasks, "_answer", recorded)
    if is_later:
        monkeypatch.setattr(DaskTasks, "send_credentials", lambda _: None)
    cluster.add_worker(), cluster.add_worker()
    cluster.wait_for(2)
    found = swept(sweeps_in, cluster.address, filled[0])
    assert found["layers"]["read"] == len(filled[1].layers) and bool(asking) is is_later


def test_a_worker_keeps_the_compiled_rules_for_the_next_sweep_with_the_same_rules(
    sweeps_in: Sweeps, cluster: Cluster
) -> None:
    cluster.add_worker()
    cluster.wait_for(1)
    seen = list[int]()
    for _ in range(2):
        engine = engine_of(sweeps_in, cluster.address, RegistryEndpoint("127.0.0.1:1"))
        with closing(engine), cluster.client() as client:
            seen += client.run(searcher_id).values()
    assert seen[0] == seen[1]


def searcher_id(dask_worker: Worker) -> int:
    (plugin,) = (one for one in dask_worker.plugins.values() if isinstance(one, SweepPlugin))
    return id(plugin._scanner.searcher)


def running_on_scheduler(dask_scheduler: Server) -> list[str]:
    return running_callbacks(dask_scheduler)


def nanny_plugins(dask_scheduler: Scheduler) -> list[str]:
    return list(dask_scheduler.nanny_plugins)


def running_callbacks(dask_worker: Server) -> list[str]:
    return [name for name, callback in dask_worker.periodic_callbacks.items() if callback.is_running()]


def test_the_command_sweeps_with_workers_that_have_the_login_and_show_it_nowhere(
    cluster: Cluster, cli: Cli, tmp_path: Path, start_registry: Any
) -> None:
    host = registry_with_password(start_registry, tmp_path)
    session = requests.Session()
    session.auth = ("auditor", PASSWORD)
    secret = token(401)
    Remote(host, session).push("team/app", "1", application(0, "app", secret))
    folder = Path(cli.environment["DOCKER_CONFIG"])
    cluster.add_worker()
    cluster.wait_for(1)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(f'{{"auths": {{"{host}": {{"auth": "{basic()}"}}}}}}')
    (tmp_path / "rules.yaml").write_text(
        "- {id: own-rule, name: Own, provider: own, severity: low, confidence: high, pattern: '\\bthis is app\\b', "
        "keywords: [this is], examples: ['this is app'], counterexamples: ['this is apple']}\n"
    )
    done = cli(
        "registry", "scan", host, "--engine", "dask", "--scheduler", cluster.address, "--store",
        f"sqlite:///{tmp_path}/store.sqlite", "--format", "json", "--rules", tmp_path / "rules.yaml",
        "--fail-on", "critical",
    )  # fmt: skip
    assert done.status == 1 and done.err == "", done.err
    (image,) = done.json["images"]
    assert image["by_severity"] == {"critical": 1, "low": 1}
    cluster.close()
    said = cluster.log
    assert "'plugin': b" in said and "Message from" in said  # it did say all it can
    assert not [word for word in (PASSWORD, basic(), secret) if word in said]


def test_the_rate_is_that_of_the_sweep_and_all_workers_together(
    sweeps: Sweeps, cluster: Cluster, address: str, proxy_to: Callable[[str], Proxy]
) -> None:
    """It takes at least as long as the rate says: the workers that join later do not add to it."""
    remote = Remote(address)
    for number in range(8):
        remote.push("team/app", str(number), application(number, f"app{number}", None))
    cluster.add_worker()
    cluster.wait_for(1)
    proxy = proxy_to(address)
    order = sweeps.plan(proxy.address, rate=8)
    with closing(engine_of(sweeps, cluster.address, order.endpoint)) as engine:
        cluster.add_worker(), cluster.add_worker()
        cluster.wait_for(3)
        began = time.monotonic()
        sweeps.sweeper(order, order.endpoint.client(rate=engine.rate), engine).run()
        took_s = time.monotonic() - began
    asked = sum(proxy.asked.values())
    assert asked > 30 and took_s >= (asked - 1) / 8


def test_credentials_that_the_registry_refuses_are_read_again_and_sent_to_the_workers(
    sweeps: Sweeps, cluster: Cluster, tmp_path: Path, start_registry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = registry_with_password(start_registry, tmp_path)
    session = requests.Session()
    session.auth = ("auditor", PASSWORD)
    built = application(0, "app", None)
    Remote(host, session).push("team/app", "1", built)
    cluster.add_worker(), cluster.add_worker()
    cluster.wait_for(2)
    stored = iter([Login("auditor", "an expired one"), *[Login("auditor", PASSWORD)] * 2])
    monkeypatch.setattr(dask_engine, "stored_login", lambda *_: next(stored))
    layers = [LayerTask("team/app", Digest(digest(gzipped(data))), None) for data in built.layers]
    with closing(engine_of(sweeps, cluster.address, RegistryEndpoint(host))) as engine:
        reads = [engine.submit(layer) for layer in layers]
        assert [decode_record(read.result(60)).digest for read in reads] == [layer.digest for layer in layers]
    assert len([*stored]) == 1  # the second one is read once


def registry_with_password(start_registry: Any, folder: Path) -> str:
    """Start a registry that asks for the password of a user; return its address."""
    users = folder / "users"
    users.write_bytes(subprocess.run(["htpasswd", "-Bbn", "auditor", PASSWORD], capture_output=True, check=True).stdout)
    return str(start_registry(f"auth: {{htpasswd: {{realm: test, path: {users}}}}}\n"))


def basic() -> str:
    return base64.b64encode(f"auditor:{PASSWORD}".encode()).decode()


@pytest.mark.parametrize(
    ("prelude", "reason"),
    [
        (OLD, "has image-audit 0.0.1, not "),
        (f"{WORKER}; import sys; sys.modules['{WORKER[7:-5]}'] = None", "can't run image-audit ("),
        (f"{WORKER}; w.format_version = lambda: 'f' * 64", "has code ffffffffffff, not "),
        ("from auditor.core import cache_keys as keys; keys.version_of = lambda _: '0.0.1'", ", hyperscan 0.0.1, not "),
    ],
    ids=["version", "missing", "code", "libraries"],
)
def test_a_worker_with_other_versions_is_reported(sweeps: Sweeps, cluster: Cluster, prelude: str, reason: str) -> None:
    cluster.add_worker(prelude)
    cluster.wait_for(1)
    with pytest.raises(EngineError, match=r"^worker tcp://.*Install the same image-audit there as here\.$") as caught:
        engine_of(sweeps, cluster.address, RegistryEndpoint("127.0.0.1:1"))
    assert reason in str(caught.value)


def test_a_later_worker_with_other_versions_reads_nothing_and_is_named_once(
    sweeps: Sweeps, cluster: Cluster, filled: tuple[str, Content], proxy_to: Callable[[str], Proxy]
) -> None:
    cluster.add_worker()
    cluster.wait_for(1)
    proxy = proxy_to(filled[0])
    order, progress = sweeps.plan(proxy.address), Notes()
    with closing(engine_of(sweeps, cluster.address, order.endpoint, progress)) as engine:
        cluster.add_worker(OLD)
        cluster.wait_for(2)
        number = sweeps.sweeper(order, order.endpoint.client(), engine).run()
    assert queries.failures(sweeps.store, number) == [] and set(proxy.blobs) >= set(filled[1].layers)
    (note,) = progress.notes
    assert "has image-audit 0.0.1, not " in note and note.endswith("It gets no further layers.")


@pytest.mark.parametrize("is_later", [False, True], ids=["connected", "later"])
def test_a_worker_that_can_not_be_prepared_reads_nothing_and_stays_as_it_was(
    sweeps: Sweeps, cluster: Cluster, filled: tuple[str, Content], proxy_to: Callable[[str], Proxy], *, is_later: bool
) -> None:
    """Its disk is full, for one."""
    full = f"{WORKER}; import errno; full = OSError(errno.ENOSPC, 'No space left on device')"
    full += "; w.tempfile.TemporaryDirectory = lambda **_: (_ for _ in ()).throw(full)"
    cluster.add_worker() if is_later else cluster.add_worker(full)
    cluster.wait_for(1)
    proxy, progress = proxy_to(filled[0]), Notes()
    proxy.delay_s = 0.01
    order = sweeps.plan(proxy.address)
    with cluster.client() as client:
        (before,) = client.run(running_callbacks).values()
    with closing(engine_of(sweeps, cluster.address, order.endpoint, progress)) as engine:
        cluster.add_worker(full) if is_later else cluster.add_worker()
        cluster.wait_for(2)
        number = sweeps.sweeper(order, order.endpoint.client(), engine).run()
        with cluster.client() as client:
            assert before in client.run(running_callbacks).values()
            assert set(client.run(policy_of_worker).values()) == {os.SCHED_OTHER, os.SCHED_BATCH}
    assert queries.failures(sweeps.store, number) == [] and set(proxy.blobs) >= set(filled[1].layers)
    (note,) = progress.notes
    assert "can't read layers (No space left on device). Repair it and start it again. It gets no further" in note


def policy_of_worker() -> int:
    return os.sched_getscheduler(os.getpid())


def test_a_task_whose_workers_are_gone_before_it_begins_is_given_to_others(
    sweeps: Sweeps, cluster: Cluster, filled: tuple[str, Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_tasks, "_POLL_S", 0.05)
    cluster.add_worker()
    cluster.wait_for(1)
    gone, fit = ["tcp://127.0.0.1:1"], DaskTasks._fit_workers
    first: list[list[str]] = [gone, gone]
    monkeypatch.setattr(DaskTasks, "_fit_workers", lambda own, client: first.pop() if first else fit(own, client))
    order = sweeps.plan(filled[0])
    with closing(engine_of(sweeps, cluster.address, order.endpoint)) as engine:
        number = sweeps.sweeper(order, order.endpoint.client(), engine).run()
        with cluster.client() as client:
            assert client.run_on_scheduler(waiting_on_scheduler) == []
    assert first == [] and queries.failures(sweeps.store, number) == []
    assert queries.counts(sweeps.store, number)["layers_read"] == len(filled[1].layers)


def waiting_on_scheduler(dask_scheduler: Scheduler) -> list[str]:
    return [str(task.key) for task in dask_scheduler.unrunnable]


def test_a_second_process_with_the_same_sweep_leaves_the_workers_of_the_first_one_alone(
    sweeps: Sweeps, cluster: Cluster, cli: Cli, address: str
) -> None:
    Remote(address).push("team/app", "1", application(0, "app", None))
    cluster.add_worker()
    cluster.wait_for(1)
    with sweep_lease(sweeps.store, sweeps.plan(address), Silent()):
        done = cli(
            "registry", "scan", address, "--engine", "dask", "--scheduler", cluster.address,
            "--store", str(sweeps.store.url),
        )  # fmt: skip
    assert done.status == 2 and f"{address} is being swept by" in done.err and done.err.count("\n") == 1
    assert "Starting Worker plugin image-audit-" not in cluster.log


def test_with_workers_of_other_versions_alone_the_sweep_ends(
    sweeps: Sweeps, cluster: Cluster, filled: tuple[str, Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_tasks, "_FIT_S", 0)
    first = cluster.add_worker()
    cluster.wait_for(1)
    order = sweeps.plan(filled[0])
    with closing(engine_of(sweeps, cluster.address, order.endpoint)) as engine:
        cluster.add_worker(OLD)
        cluster.wait_for(2)
        first.kill()
        first.join()
        with pytest.raises(EngineError, match=r"no other worker is connected; worker .* has image-audit 0.0.1, not "):
            sweeps.sweeper(order, order.endpoint.client(), engine).run()


def test_a_scheduler_that_ends_while_a_sweep_connects_is_waited_for(
    sweeps: Sweeps, cluster: Cluster, filled: tuple[str, Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.add_worker()
    cluster.wait_for(1)
    check = DaskCluster._check

    def broken(own: DaskCluster, client: Client) -> None:
        monkeypatch.setattr(DaskCluster, "_check", check)
        raise CommClosedError("in <TCP (closed)>: Stream is closed")

    monkeypatch.setattr(DaskCluster, "_check", broken)
    progress = Notes()
    order = sweeps.plan(filled[0])
    with closing(engine_of(sweeps, cluster.address, order.endpoint, progress)) as engine:
        number = sweeps.sweeper(order, order.endpoint.client(), engine).run()
    assert queries.failures(sweeps.store, number) == []
    heads = [note.rpartition(": ")[2].partition(",")[0] for note in progress.notes]
    assert heads == ["connection lost", "connected again"]


@pytest.mark.parametrize(
    ("scheduler", "reason"),
    [
        ("tcp://127.0.0.1:1", "no Dask scheduler answers there"),
        ("foo://127.0.0.1:1", "unknown address scheme 'foo'"),
        ("tls://127.0.0.1:1", "TLS expects a `ssl_context`"),
    ],
)
def test_where_no_scheduler_can_be_reached_one_line_says_so(
    cli: Cli, tmp_path: Path, address: str, scheduler: str, reason: str
) -> None:
    done = cli(
        "registry", "scan", address, "--engine", "dask", "--scheduler", scheduler, "--store",
        f"sqlite:///{tmp_path}/store.sqlite",
    )  # fmt: skip
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert done.err.startswith(f"image-audit: --scheduler {scheduler}: {reason}")


def test_differences_are_named() -> None:
    here = SoftwareVersions("0.2.0", "a" * 12, "sha256:" + "b" * 12, "little", (("cpython", "3.12"), ("py7zr", "1")))
    there = SoftwareVersions("0.2.0", "c" * 12, "sha256:" + "b" * 12, "little", (("cpython", "3.11"), ("py7zr", "1")))
    assert there.differences(here) == f"code {'c' * 12}, not {'a' * 12}, cpython 3.11, not 3.12"
    assert here.differences(here) == ""
