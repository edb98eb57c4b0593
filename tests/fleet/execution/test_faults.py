"""Failures during long sweeps: the network, the registry, the store, the machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from auditor.core.errors import StoreError
from auditor.fleet.store.database import SweepStore
from auditor.registry.retry import TRIES, Clock
from auditor.scan import Scanner
from tests.conftest import Cli
from tests.fleet.conftest import Sweeps, without_times
from tests.fleet.planted import Content, Remote, application
from tests.fleet.postgres import Postgres
from tests.fleet.proxy import FAULTS, Proxy
from tests.images import OCI, descriptor, token
from tests.transports.clock import VirtualClock

pytestmark = pytest.mark.registry
Filled = tuple[str, Content]
SCAN = ("registry", "scan")


def counted(document: dict[str, Any]) -> dict[str, Any]:
    """A sweep's JSON without its times."""
    return without_times(document)


def test_a_sweep_through_a_network_that_fails_is_that_of_one_that_does_not(
    sweeps_in: Sweeps, filled: Filled, proxy_to: Callable[[str], Proxy], tmp_path: Path, scanner: Scanner
) -> None:
    with closing(SweepStore(f"sqlite:///{tmp_path}/calm.sqlite")) as calm:
        want = Sweeps(calm, scanner)(filled[0])
    proxy = proxy_to(filled[0])
    proxy.faults = 0.15
    got = sweeps_in(proxy.address)
    assert counted(got) == counted(want)
    assert set(proxy.failed) == set(FAULTS)


def test_a_killed_sweep_continues_to_the_same_result(
    cli: Cli, url: str, filled: Filled, proxy_to: Callable[[str], Proxy], sweeps: Sweeps
) -> None:
    want = sweeps(filled[0])
    proxy = proxy_to(filled[0])
    proxy.faults, proxy.delay_s = 0.15, 0.03
    arguments = [*SCAN, proxy.address, "--store", url, "--format", "json", "--parallel", "2"]
    for blobs in (15, 60):
        process = subprocess.Popen(
            [sys.executable, "-m", "auditor", *arguments], env=cli.environment, cwd=cli.folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while sum(proxy.blobs.values()) < blobs and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    proxy.delay_s = 0
    done = cli(*arguments)
    assert done.status == 1, done.err
    got, same = counted(done.json), counted(want)
    # A layer may have been kept by a run that was killed before it counted it.
    assert got["layers"]["read"] + got["layers"]["cached"] == same["layers"]["read"]
    for one in (got, same):
        del one["layers"]
    assert got == same


def test_a_layer_that_is_damaged_in_the_registry_fails_its_images_alone(
    cli: Cli, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote(address)
    remote.push("team/app", "good", application(0, "good", token(1)))
    broken = b"no layer at all, by its type a gzip" * 10
    config = application(0, "bad", None).config_bytes
    for data in (broken, config):
        remote.blob("team/app", data)
    document = {
        "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": descriptor(config, OCI + "config.v1+json"),
        "layers": [descriptor(broken, OCI + "layer.v1.tar+gzip")] * 2,
    }  # fmt: skip
    remote.manifest("team/app", "bad", document)
    done = cli(*SCAN, address, "--format", "json", "--fail-on", "never")
    assert done.status == 0 and "1 reference of the registry was not audited" in done.err
    assert [item["tags"] for item in done.json["images"]] == [["good"]]
    (failed,) = done.json["failed"]
    assert failed["reference"] == "team/app:bad" and failed["reason"]
    assert cli(*SCAN, address, "--strict", "-q").status == 2


def test_a_missing_blob_is_reported(sweeps: Sweeps, address: str, proxy_to: Callable[[str], Proxy]) -> None:
    remote = Remote(address)
    built = application(0, "app", token(1))
    remote.push("team/app", "1", built)
    blobs, _ = built.blobs("gzip")
    lost = next(iter(blobs))
    remote.session.delete(f"{remote.base}/team/app/blobs/{lost}")
    found = sweeps(address)
    assert found["images"] == []
    assert [item["reference"] for item in found["failed"]] == ["team/app:1"] and lost in found["failed"][0]["reason"]


def test_a_tag_that_vanishes_or_moves_during_the_sweep_is_no_error(
    sweeps: Sweeps, address: str, proxy_to: Callable[[str], Proxy]
) -> None:
    remote = Remote(address)
    root = remote.push("team/app", "1", application(0, "gone", None))
    moved = remote.push("team/app", "2", application(0, "before", None))
    proxy = proxy_to(address)
    count = proxy.fault

    def fault(method: str, path: str) -> str | None:
        if path.endswith("/tags/list"):  # answered, and then both images go
            threading.Timer(0.2, go).start()
        if "/blobs/" in path:
            time.sleep(0.5)
        return count(method, path)

    def go() -> None:
        remote.delete("team/app", root["digest"])
        remote.push("team/app", "2", application(0, "after", None))
        remote.delete("team/app", moved["digest"])

    proxy.fault = fault  # type: ignore[method-assign]
    found = sweeps(proxy.address, parallel=1)
    assert found["failed"] == []


def test_a_registry_that_does_not_answer_ends_the_sweep_with_one_line(cli: Cli) -> None:
    done = cli(*SCAN, "127.0.0.1:1")
    assert done.status == 2 and "does not answer" in done.err and len(done.err.splitlines()) == 1


@pytest.fixture
def virtual_clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    """The clock of all clients."""
    clock = VirtualClock()
    for name in ("now", "date", "sleep"):
        monkeypatch.setattr(Clock, name, staticmethod(getattr(clock, name)))
    return clock


def test_the_rate_is_kept(
    sweeps: Sweeps, filled: Filled, proxy_to: Callable[[str], Proxy], virtual_clock: VirtualClock
) -> None:
    proxy = proxy_to(filled[0])
    proxy.faults = 0.15
    sweeps(proxy.address, rate=10, repos=("team1/*",))
    asked = sum(proxy.asked.values())
    assert asked > 40 and virtual_clock.now() >= (asked - 1) / 10


@pytest.mark.parametrize("way", ["busy", "slow down", "status 500", "dropped", "cut"])
@pytest.mark.parametrize("what", ["manifests", "blobs", "tags"])
def test_a_lasting_fault_is_asked_a_few_times_an_object(
    sweeps: Sweeps, address: str, proxy_to: Callable[[str], Proxy], virtual_clock: VirtualClock, way: str, what: str
) -> None:
    Remote(address).push("team/app", "1", application(0, "app", token(1)))
    proxy = proxy_to(address)
    count = proxy.fault

    def fault(method: str, path: str) -> str | None:
        count(method, path)
        return way if f"/{what}/" in path else None

    proxy.fault = fault  # type: ignore[method-assign]
    found = sweeps(proxy.address)
    assert [item["reference"].partition(":")[0] for item in found["failed"]] == ["team/app"]
    asked = {key: number for key, number in proxy.asked.items() if f"/{what}/" in key[1]}
    assert asked and max(asked.values()) == TRIES


def test_an_unavailable_store_is_retried(postgres: Postgres, filled: Filled, scanner: Scanner, sweeps: Sweeps) -> None:
    want = sweeps(filled[0])
    with closing(SweepStore(postgres.new_database(), retry_s=60)) as store:
        own = Sweeps(store, scanner)
        got: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: got.append(own(filled[0], rate=60)))
        thread.start()
        time.sleep(0.6)
        postgres.stop()
        time.sleep(1)
        postgres.start()
        thread.join()
    assert counted(got[0]) == counted(want)


def test_a_store_that_stays_unavailable_is_reported(postgres: Postgres) -> None:
    url = postgres.new_database()
    address = url.replace(url.partition("127.0.0.1:")[2].partition("/")[0], "1")
    with pytest.raises(StoreError, match="store postgresql"):
        SweepStore(address, connect_s=0)  # whatever the patience later on


def test_a_full_disk_is_reported_in_one_line_and_the_next_run_continues(
    cli: Cli, filled: Filled, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/full.sqlite"
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000));"
        "from auditor.cli import main; main(sys.argv[1:])"
    )
    environment = {**cli.environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program, *SCAN, filled[0], "--store", url],
        env=environment, cwd=cli.folder, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.decode().count("\n") == 1 and b"full.sqlite" in done.stderr
    again = cli(*SCAN, filled[0], "--store", url, "--format", "json")
    assert again.status == 1 and len(again.json["images"]) == 40 and again.json["failed"] == []
