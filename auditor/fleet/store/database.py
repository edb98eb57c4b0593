"""Connections and transactions: SQLite in the user's data folder, or PostgreSQL shared by several machines.

    store = SweepStore(url)                   # opens or creates the database
    store.read(lambda c: c.execute(...))      # one transaction, repeated while the database is unavailable
    store.write(...)                          # the same, with changes
    store.key                                 # HMAC key of secrets: Secret.with_hmac

Any number of processes may use a store at the same time.
"""

from __future__ import annotations

import functools
import math
import os
import re
import secrets
import shlex
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from auditor.core.cache_folder import home
from auditor.core.errors import StoreError, UsageError
from auditor.core.version import install_hint
from auditor.fleet.store import schema

HEAD = "0006_skipped"
"""Revision of the newest migration."""

_FILE = "registry.sqlite"
_BUSY_S = 60
_CONNECTIONS = 15  # of a process; all stay open, because a server takes longer to open one than to answer
_LOCK = 0x1AD17  # number of a PostgreSQL advisory lock: one process migrates at a time
_PERMANENT_ERRORS = (
    "disk is full",
    "disk I/O error",
    "readonly",
    "unable to open",
    "malformed",
    "not a database",
    "password",
    "does not exist",
)
_READ_ONLY_ERRORS = ("read-only transaction", "permission denied for")
_UNRELEASED = re.compile(r"\d{4}")  # revisions before the first release
_UPSERT_DIALECTS = ("sqlite", "postgresql")
_NEWEST = text("SELECT version_num FROM alembic_version")
T = TypeVar("T")


def default_url() -> str:
    """Return the URL of the store in the user's data folder: XDG base directory specification."""
    base = os.environ.get("XDG_DATA_HOME")
    root = Path(base) if base and Path(base).is_absolute() else home() / ".local/share"
    return URL.create("sqlite", database=str(root / "image-audit" / _FILE)).render_as_string()


class SweepStore:
    """Store of sweeps at a database URL. Raises UsageError for a bad URL, StoreError if the database can't be used.

    A transaction retries for up to `retry_s` while the database is unavailable, the first connection only for
    `connect_s`, so that a mistyped address fails soon.
    """

    def __init__(self, url: str | None = None, *, retry_s: float = 300, connect_s: float = 10) -> None:
        self.url = _parsed(url or default_url())
        self._retry_s = min(connect_s, retry_s)
        self._own = threading.local()  # open connections of a thread: `reads` and `writes`
        self._engine = _engine(self.url)
        # In SQLite, each transaction has a snapshot. In PostgreSQL, each statement would see later commits.
        snapshot = {"isolation_level": "REPEATABLE READ"} if self.url.get_backend_name() == "postgresql" else {}
        self._reads = self._engine.execution_options(reads=True, **snapshot)
        try:
            self.key: bytes = self.read(_current_key) or self._migrated_key()
        except BaseException:
            self.close()
            raise
        self._retry_s = retry_s

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a read-only transaction with a consistent snapshot; a retry runs it again.

        A `read` that `work` calls belongs to its transaction, and sees the same snapshot.
        """
        return self._run("reads", self._reads, work, self._retry_s)

    def write(self, work: Callable[[Connection], T], *, retry: bool = True) -> T:
        """Run `work` in a transaction that is committed as a whole or not at all; a retry runs it again.

        A `write` that `work` calls belongs to its transaction. Without `retry`, a temporary failure raises StoreError
        at once.
        """
        return self._run("writes", self._engine, work, self._retry_s if retry else 0)

    def _run(self, kind: str, engine: Engine, work: Callable[[Connection], T], retry_s: float) -> T:
        open_one: Connection | None = getattr(self._own, kind, None)
        if open_one is not None:
            return work(open_one)
        failed_since, backoff, is_reopened = math.inf, 0.5, False
        while True:
            try:
                with engine.begin() as connection:
                    setattr(self._own, kind, connection)
                    try:
                        return work(connection)
                    finally:
                        setattr(self._own, kind, None)
            except SQLAlchemyError as exc:
                if isinstance(exc, DBAPIError) and exc.connection_invalidated and not is_reopened:
                    is_reopened = True  # the server closed it while it was unused
                    continue
                failed_since = min(failed_since, time.monotonic())
                if time.monotonic() >= failed_since + retry_s or not _is_temporary(exc):
                    raise StoreError(f"store {self}: {_message(exc)}") from exc
            time.sleep(backoff)
            backoff = min(backoff * 2, 15)

    def _migrated_key(self) -> bytes:
        """Return the HMAC key, after an upgrade of the tables where they are older."""
        try:
            if self.read(_revision) != HEAD:
                self.write(self._upgrade)
            return self.write(_load_key)
        except StoreError as exc:
            if not any(text in str(exc) for text in _READ_ONLY_ERRORS):
                raise
            raise StoreError(
                f"store {self}: this role can only read, and the tables of this version do not exist yet. "
                "Run a sweep or a watch first."
            ) from exc

    def _upgrade(self, connection: Connection) -> None:
        from auditor.fleet.store.upgrade import upgrade_tables  # alembic, which imports slowly

        revision = _revision(connection)
        if revision is not None and _UNRELEASED.fullmatch(revision):
            raise StoreError(f"store {self}: {_unreleased(self.url)}")
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        if not upgrade_tables(connection, HEAD):
            raise StoreError(
                f"store {self}: written by a newer image-audit (schema {revision}, this version knows {HEAD}). "
                "Upgrade image-audit, or name another store with --store URL."
            )


def update_statistics(connection: Connection) -> None:
    """Tell the planner of PostgreSQL the sizes of the tables, after they were filled.

    PostgreSQL does so itself a minute later. Until then it reads whole tables for a few rows.
    """
    if connection.dialect.name == "postgresql":
        tables = ", ".join(f'"{table.name}"' for table in schema.metadata.sorted_tables)
        connection.execute(text(f"ANALYZE {tables}"))


def upsert(connection: Connection, table: Any, key: dict[str, Any], values: dict[str, Any]) -> None:
    """Update a row or insert it, also if another process inserts it at the same time. `key` is unique in the table."""
    upsert_all(connection, table, tuple(key), [{**key, **values}])


def upsert_all(connection: Connection, table: Any, key: tuple[str, ...], rows: Sequence[dict[str, Any]]) -> None:
    """Update rows of the same columns or insert them, as `upsert` does."""
    if rows and connection.dialect.name in _UPSERT_DIALECTS:
        values = tuple(name for name in rows[0] if name not in key)
        connection.execute(_insert_or_update(connection.dialect.name, table, key, values), rows)
        return
    for row in rows:
        own = {name: row[name] for name in key}
        _update_or_insert(connection, table, own, {name: row[name] for name in row.keys() - own.keys()})


def _update_or_insert(connection: Connection, table: Any, key: dict[str, Any], values: dict[str, Any]) -> None:
    """Do as `upsert` in a database without such a statement."""
    match = [table.c[name] == value for name, value in key.items()]
    change = table.update().where(*match).values(values or key)
    if connection.execute(change).rowcount:
        return
    try:
        with connection.begin_nested():
            connection.execute(insert(table).values({**key, **values}))
    except IntegrityError:
        connection.execute(change)


@functools.cache
def _insert_or_update(dialect: str, table: Any, key: tuple[str, ...], values: tuple[str, ...]) -> Any:
    """Return the statement of `upsert` where the database has one."""
    new = import_module(f"sqlalchemy.dialects.{dialect}").insert(table)  # an open connection has imported it
    if not values:
        return new.on_conflict_do_nothing(index_elements=key)
    return new.on_conflict_do_update(index_elements=key, set_={name: new.excluded[name] for name in values})


def _parsed(text: str) -> URL:
    try:
        url = make_url(text)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg2")
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError) as exc:
        raise UsageError(
            f"--store {text.partition('://')[0]:.40}: not a database URL. "
            "Use sqlite:////path/to/file or postgresql://HOST/NAME"
        ) from exc
    except ValueError as exc:
        raise UsageError(f"--store: {exc}") from None
    return url


def _engine(url: URL) -> Engine:
    try:
        if url.get_backend_name() != "sqlite":
            own: dict[str, Any] = {}
            if url.get_driver_name() == "psycopg2":
                from auditor.fleet.store import postgresql  # its driver, which SQLite does not need

                postgresql.use_interruptible_waits()
                own = {**postgresql.OPTIONS, "connect_args": postgresql.connection_limits(url.query)}
            return create_engine(url, pool_size=_CONNECTIONS, max_overflow=0, **own)
        if url.database and url.database != ":memory:":
            _make_private(Path(url.database))
        engine = create_engine(url, connect_args={"timeout": _BUSY_S})
    except ModuleNotFoundError as exc:
        hint = "Write postgresql://HOST/NAME" if url.get_driver_name() == "psycopg" else install_hint("fleet")
        raise UsageError(f"--store: the driver {exc.name} is not installed. {hint}") from None
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _make_private(path: Path) -> None:
    """Create the file with mode 600, because SQLite would create it readable for all users.

    An existing file is not opened: closing it would drop this process's POSIX locks on it, SQLite's included.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return  # another process created it; SQLite reports anything but a regular file
    except OSError as exc:
        raise StoreError(f"store {path}: {exc.strerror}") from exc


def _set_up(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions late, and two writers would collide
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reads") else "BEGIN IMMEDIATE")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(_NEWEST).scalar()


def _current_key(connection: Connection) -> bytes | None:
    """Return the HMAC key; None if there is none yet, or the tables are older than this version.

    This does not ask whether the tables exist, which would take as long as all else.
    """
    try:
        return _stored_key(connection) if connection.execute(_NEWEST).scalar() == HEAD else None
    except DBAPIError as exc:
        if _is_temporary(exc) and "no such table" not in str(exc.orig):
            raise
        return None


def _stored_key(connection: Connection) -> bytes | None:
    key = connection.execute(select(schema.secret_key.c.bytes)).scalar()
    return None if key is None else bytes(key)


def _load_key(connection: Connection) -> bytes:
    """Return the HMAC key; create it if there is none, also if another process does so at the same time."""
    if _stored_key(connection) is None:
        new_key = insert(schema.secret_key).values(one=1, bytes=secrets.token_bytes(32))
        with suppress(IntegrityError), connection.begin_nested():
            connection.execute(new_key)
    key = _stored_key(connection)
    assert key is not None  # noqa: S101 - its row is there now
    return key


def _is_temporary(exc: SQLAlchemyError) -> bool:
    """Whether a retry may succeed: the database is unreachable, starting, or locked."""
    if isinstance(exc, DBAPIError) and exc.connection_invalidated:
        return True
    return isinstance(exc, OperationalError) and not any(text in str(exc.orig) for text in _PERMANENT_ERRORS)


def _unreleased(url: URL) -> str:
    path = shlex.quote(url.database or "")
    way = f"or run `mv {path} {path}.old`" if url.get_backend_name() == "sqlite" else "or create an empty database"
    return (
        "written by a version before the first release, and unchanged. Its sweeps can't be read. "
        f"Name another store with --store URL, {way}, and scan again."
    )


def _message(exc: SQLAlchemyError) -> str:
    """Return the message of the database without the SQL statement and its values."""
    return str(exc.orig if isinstance(exc, DBAPIError) else exc).strip()[:300]
