"""Leases: two processes on one store, and the lease of a dead process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from sqlalchemy import select, update

from auditor.core.errors import LeaseHeld, LeaseLost, StoreError
from auditor.fleet.store import lease, schema
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.lease import hold_lease, sweep_lease_name, watch_lease_name
from tests.conftest import Cli
from tests.fleet.conftest import Sweeps
from tests.fleet.planted import Remote, application
from tests.fleet.service.test_watch import Running
from tests.images import token

NAME = sweep_lease_name("registry.example.com", "0" * 64)


@pytest.fixture
def store(url: str) -> Iterator[SweepStore]:
    with closing(SweepStore(url, retry_s=2)) as opened:
        yield opened


def change(store: SweepStore, **values: Any) -> None:
    store.write(lambda c: c.execute(update(schema.lease).values(**values)))


def row(store: SweepStore) -> Any:
    return store.read(lambda c: c.execute(select(schema.lease)).first())


def test_a_lease_has_one_holder_and_is_free_after_release(store: SweepStore) -> None:
    with hold_lease(store, NAME, "registry.example.com is being swept"):
        with pytest.raises(StoreError) as caught, hold_lease(store, NAME, "registry.example.com is being swept"):
            pass
        said = str(caught.value)
        assert (
            "registry.example.com is being swept by " in said
            and "only one runs at a time" in said
            and "process" in said
        )
        with hold_lease(store, watch_lease_name("registry.example.com", None), "it is being watched"):
            pass
    with hold_lease(store, NAME, "it is being swept"):
        pass
    assert row(store) is None


def test_a_lease_can_be_waited_for(store: SweepStore) -> None:
    with ExitStack() as other:
        other.enter_context(hold_lease(store, NAME, "x"))
        waited = list[float]()
        with pytest.raises(LeaseHeld), hold_lease(store, NAME, "x", wait_s=3, sleep=waited.append):
            pass
        assert waited == [1, 1, 1]
        with hold_lease(store, NAME, "x", wait_s=3, sleep=lambda _: other.close()) as own:
            own.check()


def test_the_lease_of_a_killed_process_of_this_machine_is_free_at_once(store: SweepStore, url: str) -> None:
    program = (
        "import sys\nfrom auditor.fleet.store.database import SweepStore\n"
        "from auditor.fleet.store.lease import hold_lease\n"
        f"with hold_lease(SweepStore({url!r}), {NAME!r}, 'x'):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(StoreError, match=f"process {process.pid} since"), hold_lease(store, NAME, "x"):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()
    with hold_lease(store, NAME, "x"):
        assert row(store).expires > time.time()


class TestAnotherMachine:
    """Leases of processes whose state this machine cannot check."""

    def test_a_lease_without_renewal_expires_after_its_term(self, store: SweepStore) -> None:
        said: list[str] = []

        def sleep(seconds: float) -> None:
            change(store, expires=int(time.time()) - 10)

        with hold_lease(store, NAME, "x") as first:
            change(store, machine="another")
            with hold_lease(store, NAME, "x", report=said.append, sleep=sleep):
                assert len(said) == 1 and "waiting up to 60 s for its lease" in said[0]
                first.check()  # the last renewal is recent
                first._renewed_s -= 61
                with pytest.raises(LeaseLost, match="by another process after this one was suspended"):
                    first.check()

    def test_a_lease_that_expired_during_a_suspension_is_renewed_if_it_is_free(self, store: SweepStore) -> None:
        with hold_lease(store, NAME, "x") as own:
            change(store, expires=0)
            own._renewed_s -= 61
            own.check()
            assert row(store).expires > time.time()

    def test_a_lease_without_renewal_is_free_after_a_term_though_the_clock_was_set_back(
        self, store: SweepStore
    ) -> None:
        waited = list[float]()
        with hold_lease(store, NAME, "x", term_s=36_000):  # it is not renewed meanwhile
            change(store, machine="another", expires=int(time.time()) + 3600)
            with hold_lease(store, NAME, "x", sleep=waited.append) as own:
                own.check()
            assert 60 <= len(waited) <= 62

    def test_a_renewed_lease_stays_with_its_holder(self, store: SweepStore) -> None:
        with hold_lease(store, NAME, "x"):
            change(store, machine="another")

            def sleep(seconds: float) -> None:
                change(store, expires=int(time.time()) + 100)

            with pytest.raises(StoreError, match="only one runs at a time"), hold_lease(store, NAME, "x", sleep=sleep):
                pass


def test_a_lease_is_renewed_while_it_is_held(store: SweepStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold_lease(store, NAME, "x", term_s=2) as own:
        change(store, expires=0)
        while row(store).expires == 0:
            time.sleep(0.05)
        own.check()


def test_a_reused_process_id_is_another_process() -> None:
    own = lease._started(os.getpid())
    alive = lease.LeaseHolder("t", "n", lease._machine(), own, "", 0)
    assert lease._is_here(alive)
    earlier = lease.LeaseHolder("t", "n", lease._machine(), f"{os.getpid()} 1", "", 0)
    assert not lease._is_here(earlier) and lease._is_dead(earlier)


@pytest.mark.registry
class TestCommand:
    def test_a_second_watch_says_so_in_one_line(self, cli: Cli, address: str, url: str) -> None:
        Remote(address).push("team/app", "1", application(0, "app", token(1)))
        given = [address, "--cron", "0 0 1 1 *", "--store", url, "--quiet"]
        running = Running(cli, *given)
        running.until("watching")
        again = cli("registry", "watch", *given, "--listen", "127.0.0.1:0")
        assert (again.status, again.out, again.err.count("\n")) == (2, "", 1)
        assert f"{address} is being watched by " in again.err and f"process {running.process.pid}" in again.err
        scan = cli("registry", "scan", address, "--store", url, "--quiet", "--fail-on", "never")
        assert (scan.status, scan.err) == (0, "")
        other = Running(cli, *given, "--tags", "1")
        other.until("watching")
        assert (running.stop()[0], other.stop()[0]) == (0, 0)

    def test_equal_sweeps_do_not_run_at_the_same_time(self, cli: Cli, sweeps: Sweeps, address: str) -> None:
        Remote(address).push("team/app", "1", application(0, "app", token(1)))
        order = sweeps.plan(address)
        given = ["registry", "scan", address, "--store", str(sweeps.store.url), "--quiet", "--fail-on", "never"]
        with hold_lease(
            sweeps.store, sweep_lease_name(str(order.scope), order.scope_digest), f"{address} is being swept"
        ):
            done = cli(*given)
            assert (done.status, done.err.count("\n")) == (2, 1) and f"{address} is being swept by" in done.err
            assert cli(*given, "--tags", "1").status == 0
        assert cli(*given).status == 0
