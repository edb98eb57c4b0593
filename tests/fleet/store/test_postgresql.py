"""Connections to PostgreSQL: servers that do not answer, and signals meanwhile."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from types import FrameType

import pytest
from sqlalchemy import text

from auditor.core.errors import StoreError
from auditor.fleet.store.database import SweepStore
from tests.conftest import Cli
from tests.fleet.postgres import Postgres


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def url_of(server: socket.socket) -> str:
    return f"postgresql://me@127.0.0.1:{server.getsockname()[1]}/db"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_that_waits_for_a_server(
    cli: Cli, silent: socket.socket, number: int, status: int
) -> None:
    command = [sys.executable, "-m", "auditor", "registry", "report", "--store", url_of(silent)]
    with subprocess.Popen(command, env=cli.environment, stderr=subprocess.PIPE) as process:
        with silent.accept()[0]:
            process.send_signal(number)
            assert process.wait(60) == status
        assert process.stderr is not None and len(process.stderr.read().strip().splitlines()) == 1


def test_a_server_that_does_not_answer_is_reported_after_the_time_in_the_url(silent: socket.socket) -> None:
    with pytest.raises(StoreError, match="no answer within 1 s"):
        SweepStore(f"{url_of(silent)}?connect_timeout=1", retry_s=0)


def test_a_server_that_is_unreachable_is_given_up_after_two_minutes(postgres: Postgres) -> None:
    names = ("keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")

    def limits(url: str) -> list[str]:
        with closing(SweepStore(url)) as store:
            given = store.read(lambda c: c.connection.dbapi_connection.get_dsn_parameters())  # type: ignore[union-attr]
        return [given[name] for name in names]

    url = postgres.new_store()
    assert limits(url) == ["60", "10", "6", "120000"]
    assert limits(f"{url}?keepalives_idle=7&tcp_user_timeout=0") == ["7", "10", "6", "0"]


class Interrupted(BaseException):
    """What the handler of a signal raises."""


def interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


def test_a_signal_ends_a_statement_and_the_store_goes_on(postgres: Postgres) -> None:
    former = signal.signal(signal.SIGALRM, interrupt)
    try:
        with closing(SweepStore(postgres.new_store(), retry_s=0)) as store:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(Interrupted):
                store.read(lambda c: c.execute(text("SELECT pg_sleep(600)")))
            assert store.read(lambda c: c.execute(text("SELECT 1")).scalar()) == 1
    finally:
        signal.signal(signal.SIGALRM, former)


@pytest.mark.parametrize("retry", [True, False])
def test_connections_that_the_server_closed_are_opened_again_at_once(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, *, retry: bool
) -> None:
    own = "datname = current_database() AND pid <> pg_backend_pid()"
    others = text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {own}")
    url = postgres.new_store()
    with closing(SweepStore(url, retry_s=0)) as store, closing(SweepStore(url, retry_s=0)) as other:
        monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waited"))
        with ThreadPoolExecutor(3) as pool:  # as many connections
            together = Barrier(3, timeout=60)
            list(pool.map(lambda _: store.read(lambda _: together.wait()), range(3)))
        assert len(other.read(lambda c: c.execute(others).all())) == 3
        for _ in range(4):
            assert store.write(lambda c: c.execute(text("SELECT 1")).scalar(), retry=retry) == 1
            assert store.read(lambda c: c.execute(text("SELECT 1")).scalar()) == 1
