"""Connections to PostgreSQL by psycopg2: what waits for the server can be interrupted by a signal.

psycopg2 itself waits in libpq, where no handler of a signal runs, and its `wait_select` catches KeyboardInterrupt.
"""

from __future__ import annotations

import select
import time
from collections.abc import Container
from typing import Any

from psycopg2 import OperationalError, extensions

OPTIONS: dict[str, Any] = {
    "executemany_mode": "values_plus_batch",  # many rows are one statement
    "client_encoding": "utf8",  # whatever the database has
    "use_native_hstore": False,  # no table has one
}
"""Arguments of SQLAlchemy's create_engine."""

_CONNECT_S = 60
"""Seconds until a server must have accepted a connection, unless the URL has a `connect_timeout`."""
_LOST_S = 120
"""Seconds after which a connection is lost if its server answers nothing, not even that it is still there."""
_EVENTS = {extensions.POLL_READ: select.POLLIN, extensions.POLL_WRITE: select.POLLOUT}


def use_interruptible_waits() -> None:
    """Let all connections of this process wait so that signals and `connect_timeout` end it."""
    extensions.set_wait_callback(_wait)


def connection_limits(given: Container[str]) -> dict[str, int]:
    """Return parameters that end a connection whose server is unreachable, except those that are `given`.

    Linux itself waits for more than two hours, or for a quarter of one if data was sent. Source: libpq-connect.
    """
    limits = {
        "keepalives_idle": _LOST_S // 2,
        "keepalives_interval": _LOST_S // 12,
        "keepalives_count": 6,
        "tcp_user_timeout": _LOST_S * 1000,
    }
    return {name: value for name, value in limits.items() if name not in given}


def _wait(connection: Any) -> None:
    """Wait until a connection is made or a statement has ended. Source: psycopg2 docs, "Support for coroutines"."""
    limit_s = None
    if connection.status == extensions.STATUS_SETUP:
        asked = connection.get_dsn_parameters().get("connect_timeout", "")
        limit_s = int(asked) if asked.isdecimal() and asked != "0" else _CONNECT_S
    began = time.monotonic()
    while (state := connection.poll()) != extensions.POLL_OK:
        if state not in _EVENTS:
            raise OperationalError(f"bad state of the connection: {state}")
        ready = select.poll()
        ready.register(connection.fileno(), _EVENTS[state])
        left_s = None if limit_s is None else began + limit_s - time.monotonic()
        if not ready.poll(None if left_s is None else max(0, left_s) * 1000):
            raise OperationalError(f"no answer within {limit_s} s")
