"""Batches of layers: how many a task of a cluster reads, and what a failure among them costs the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import pytest
from distributed import KilledWorker
from distributed.scheduler import WorkerState
from sqlalchemy import event

from auditor.core.digests import Digest
from auditor.core.errors import AuditError, Damaged, EngineError, NotFound, Unreachable
from auditor.core.progress import Silent
from auditor.detect.rules import Ruleset
from auditor.findings.selection import Selection
from auditor.fleet.execution import dask_engine, image_audits, sweep
from auditor.fleet.execution.dask_engine import DaskEngine
from auditor.fleet.execution.dask_worker import Credentials, RulesData, SoftwareVersions, SweepPlugin
from auditor.fleet.execution.engine import LayerTask, RegistryEndpoint
from auditor.fleet.execution.local_engine import LocalEngine
from auditor.fleet.store.audits import save_images
from auditor.registry.logins import Login
from auditor.scan.record_format import decode_record
from tests.fleet.conftest import Sweeps
from tests.fleet.planted import Remote, application
from tests.images import digest, gzipped, token

Read = Callable[[Sequence[LayerTask]], list[bytes | AuditError]]


def layer(number: int, size: int | None = 1000) -> LayerTask:
    return LayerTask("team/app", Digest(f"sha256:{number:064x}"), size)


class Tasks:
    """What runs the tasks: waits until it is let go, then does what the test says."""

    def __init__(self, read: Read) -> None:
        self.begun, self.go, self.batches = threading.Event(), threading.Event(), list[list[LayerTask]]()
        self._read = read

    def send_credentials(self) -> None:
        pass

    def read(self, layers: Sequence[LayerTask]) -> list[bytes | AuditError]:
        self.begun.set()
        self.go.wait(60)
        self.batches.append([*layers])
        return self._read(layers)

    def running(self) -> list[object]:
        return []


def records(layers: Sequence[LayerTask]) -> list[bytes | AuditError]:
    return [one.digest.encode() for one in layers]


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[DaskEngine, Tasks]]]:
    """Engines without a cluster."""
    made = list[DaskEngine]()

    def engine(read: Read = records, parallel: int = 1) -> tuple[DaskEngine, Tasks]:
        tasks = Tasks(read)
        monkeypatch.setattr(dask_engine, "DaskCluster", lambda *_: SimpleNamespace(close=lambda _: None))
        monkeypatch.setattr(dask_engine, "DaskTasks", lambda *_: tasks)
        one = DaskEngine(
            "tcp://x", RegistryEndpoint("r.test"), Ruleset(()), b"k", name="x", parallel=parallel, progress=Silent()
        )
        made.append(one)
        return one, tasks

    yield engine
    for one in made:
        one.close()


def outcomes(futures: Sequence[Future[bytes]]) -> list[bytes | BaseException]:
    return [future.exception(60) or future.result() for future in futures]


def test_a_task_reads_a_share_of_the_layers_that_wait(engines: Any) -> None:
    engine, tasks = engines()
    engine._parallel = 4  # with one thread, so that the order is fixed
    layers = [layer(number) for number in range(101)]
    futures = [engine.submit(layers[0])]
    assert tasks.begun.wait(60)
    futures += [engine.submit(one) for one in layers[1:]]
    tasks.go.set()
    assert outcomes(futures) == records(layers)
    assert [len(batch) for batch in tasks.batches] == [1, 16, 16, 16, 14, 10, 8, 6, 4, 3, 2, 2, 1, 1, 1]


def test_a_batch_holds_128_mb_and_layers_of_unknown_size_are_read_alone(engines: Any) -> None:
    engine, tasks = engines()
    sizes = [1, 60 << 20, 60 << 20, 60 << 20, None, 5, 200 << 20, 7]
    futures = [engine.submit(layer(0, sizes[0]))]
    assert tasks.begun.wait(60)
    futures += [engine.submit(layer(number, size)) for number, size in enumerate(sizes) if number]
    tasks.go.set()
    outcomes(futures)
    assert [[one.size for one in batch] for batch in tasks.batches] == [
        [1], [60 << 20, 60 << 20], [60 << 20], [None], [5], [200 << 20], [7],
    ]  # fmt: skip


def test_a_layer_that_kills_its_workers_is_set_aside_and_the_others_of_its_batch_are_read(engines: Any) -> None:
    deadly = layer(3)

    def read(layers: Sequence[LayerTask]) -> list[bytes | AuditError]:
        if deadly in layers:
            raise KilledWorker("task", cast(WorkerState, "worker"), 0)
        return records(layers)

    engine, tasks = engines(read)
    layers = [layer(number) for number in range(6)]
    futures = [engine.submit(one) for one in layers]
    tasks.go.set()
    found = outcomes(futures)
    assert str(found.pop(3)) == f"layer team/app@{deadly.digest}: set aside: 3 workers died while reading it"
    assert found == records([one for one in layers if one != deadly])
    assert sum(deadly in batch for batch in tasks.batches) == 3


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (Unreachable("worker tcp://a has other versions"), Unreachable, "{layer}: worker tcp://a has other versions"),
        (EngineError("--scheduler x: no worker"), EngineError, "--scheduler x: no worker"),
    ],
)
def test_a_failure_of_a_task_is_that_of_each_of_its_layers(
    engines: Any, error: AuditError, kind: type[AuditError], text: str
) -> None:
    def read(_: Sequence[LayerTask]) -> list[bytes | AuditError]:
        raise error

    engine, tasks = engines(read)
    layers = [layer(number) for number in range(4)]
    futures = [engine.submit(one) for one in layers]
    tasks.go.set()
    found = outcomes(futures)
    assert {type(one) for one in found} == {kind}
    assert [str(one) for one in found] == [text.format(layer=one) for one in layers]


@pytest.mark.registry
def test_a_layer_that_fails_on_a_worker_does_not_affect_others_of_its_task(
    ruleset: Ruleset, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = application(0, "app", None)
    Remote(address).push("team/app", "1", built)
    rules = RulesData.of(ruleset)
    plugin = SweepPlugin(RegistryEndpoint(address), rules, SoftwareVersions.of(rules))
    plugin.setup(SimpleNamespace(address="tcp://w", state=SimpleNamespace(nthreads=1), periodic_callbacks={}))  # type: ignore[arg-type]
    try:
        plugin.accept(Credentials(Login(), b"k" * 32).sealed(bytes(plugin._private_key.public_key)))
        stored = [LayerTask("team/app", Digest(digest(gzipped(data))), len(gzipped(data))) for data in built.layers]
        first, missing, last = plugin.read([stored[0], layer(1), stored[1]])  # type: ignore[misc]
        scan = plugin._scanner.scan_layer

        def failing(*arguments: Any) -> Any:
            if stored[0].digest in arguments[1]:
                raise RuntimeError("a text of the layer")
            return scan(*arguments)

        monkeypatch.setattr(plugin._scanner, "scan_layer", failing)
        broken, again = plugin.read([*stored])  # type: ignore[misc]
    finally:
        plugin.teardown(None)  # type: ignore[arg-type]
    assert isinstance(first, bytes) and isinstance(last, bytes) and isinstance(missing, NotFound) and again == last
    assert [decode_record(data).digest for data in (first, last)] == [one.digest for one in stored]
    assert str(broken) == f"{stored[0]}: RuntimeError on a worker"


class Failing(LocalEngine):
    """Can't read some layers."""

    damaged: frozenset[str] = frozenset()

    def submit(self, task: LayerTask) -> Future[bytes]:
        read = super().submit(task)
        if task.digest in self.damaged:
            read = Future()
            read.set_exception(Damaged(f"{task}: damaged"))
        return read


@pytest.mark.registry
def test_the_other_layers_of_an_image_that_fails_are_stored(sweeps: Sweeps, address: str) -> None:
    built = application(0, "app", None)
    Remote(address).push("team/app", "1", built)
    plan = sweeps.plan(address)
    client = plan.endpoint.client()
    with closing(Failing(client, sweeps.scanner, sweeps.store.key, 2)) as engine:
        engine.damaged = frozenset([digest(gzipped(built.layers[0]))])
        sweeps.sweeper(plan, client, engine).run()
    again = sweeps(address)
    assert again["failed"] == [] and again["layers"]["read"] == len(built.layers) - 1


@pytest.mark.registry
@pytest.mark.parametrize("bound", ["_AHEAD", "_AHEAD_BYTES"])
def test_a_sweep_requests_a_bounded_number_of_layers_ahead(
    sweeps: Sweeps, address: str, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """The engine reads nothing before an image is waited for: a sweep without a bound would request all."""
    remote = Remote(address)
    for number in range(12):
        remote.push("team/app", str(number), application(number, f"app{number}", None))
    monkeypatch.setattr(sweep, bound, 2)
    monkeypatch.setattr(sweep, "_LOOKED_UP", 1)
    monkeypatch.setattr(image_audits, "_LOADED_TOGETHER", 1)
    plan = sweeps.plan(address)
    client, requested = plan.endpoint.client(), list[int]()
    with closing(Lazy(client, sweeps.scanner, sweeps.store.key, 1)) as engine:
        sweeper = sweeps.sweeper(plan, client, engine)
        audits = sweeper._open_audits

        def opened(*arguments: Any) -> Any:
            made = audits(*arguments)
            layers = made._layers
            wait = layers.wait

            def waits(*own: Any) -> None:
                requested.append(layers.requested)
                engine.read_all()
                wait(*own)

            monkeypatch.setattr(layers, "wait", waits)
            return made

        monkeypatch.setattr(sweeper, "_open_audits", opened)
        sweeper.run()
    assert len(requested) == 12 and 0 < max(requested) <= 6, requested


class Lazy(LocalEngine):
    """Reads layers once it is told to."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._later = list[tuple[LayerTask, Future[bytes]]]()

    def submit(self, task: LayerTask) -> Future[bytes]:
        self._later.append((task, Future()))
        return self._later[-1][1]

    def read_all(self) -> None:
        for task, future in self._later:
            future.set_result(super().submit(task).result())
        self._later.clear()


@pytest.mark.registry
@pytest.mark.parametrize(("most", "groups"), [(1_000, [4]), (1, [2, 2]), (0, [1, 1, 1, 1])])
def test_images_of_a_repository_are_stored_together_unless_they_have_many_findings(
    sweeps: Sweeps, address: str, monkeypatch: pytest.MonkeyPatch, most: int, groups: list[int]
) -> None:
    remote, stored, save = Remote(address), list[int](), save_images
    for number in range(4):
        remote.push("team/app", str(number), application(0, str(number), token(number), hidden=False))
    sweeps(address)  # the layers are read
    monkeypatch.setattr(image_audits, "_FINDINGS_TOGETHER", most)
    monkeypatch.setattr(
        image_audits,
        "save_images",
        lambda *given: stored.append(len(given[2])) or save(*given),  # type: ignore[func-returns-value]
    )
    found = sweeps(address, selection=Selection(exclude_paths=("/other",)))  # another audit, from stored records
    assert len(found["images"]) == 4 and [count for count in stored if count] == groups


@pytest.mark.registry
def test_the_stored_records_of_several_images_are_read_together(sweeps: Sweeps, address: str) -> None:
    remote, statements = Remote(address), list[str]()
    for number in range(8):
        remote.push("team/app", str(number), application(number, str(number), None))
    sweeps(address)
    event.listen(
        sweeps.store._engine,
        "before_cursor_execute",
        lambda _, __, statement, *___: statements.append(statement) if "FROM record" in statement else None,
    )
    found = sweeps(address, selection=Selection(exclude_paths=("/other",)))  # another audit, from stored records
    assert len(found["images"]) == 8 and found["layers"]["read"] == 0
    assert len(statements) <= 20, "two for each look-up, one image at least, and two for each four images"
