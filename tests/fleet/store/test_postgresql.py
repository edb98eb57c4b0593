"""Connections to PostgreSQL: servers that do not answer, and signals meanwhile."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
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
