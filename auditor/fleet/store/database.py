"""The store of sweeps: SQLite in the user's data folder, or PostgreSQL where several machines share it.

    store = Store(url)                        # opened, made or brought up to date
    store.read(lambda c: c.execute(...))      # one transaction; run again while the database is away
    store.write(...)
    store.key                                 # key of the HMACs of secrets: core.secret.Secret

Any number of processes may use it at a time.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
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
from auditor.fleet.store import schema

HEAD = "0003"
"""The newest migration."""

_FILE = "registry.sqlite"
_BUSY_S = 60
_LOCK = 0x1AD17  # of PostgreSQL's advisory locks: one process migrates
_SCRIPTS = Path(__file__).parent / "migrations"
_HOPELESS = (
    "disk is full",
    "disk I/O error",
    "readonly",
    "unable to open",
    "malformed",
    "not a database",
    "password",
    "does not exist",
)
T = TypeVar("T")


def default_url() -> str:
    """Return the URL of the store in the user's data folder: XDG base directory specification."""
    base = os.environ.get("XDG_DATA_HOME")
    root = Path(base) if base and Path(base).is_absolute() else home() / ".local/share"
    return URL.create("sqlite", database=str(root / "image-audit" / _FILE)).render_as_string()


class Store:
    """The store at a URL. Raises UsageError on a bad URL, StoreError where the database can't be used.

    While the database is away a transaction waits, up to `patience_s`. Opening waits less long: whoever mistyped the
    address wants to hear of it.
    """

    def __init__(self, url: str | None = None, *, patience_s: float = 300, opening_s: float = 10) -> None:
        self.url = _parsed(url or default_url())
        self._patience_s = min(opening_s, patience_s)
        self._engine = _engine(self.url)
        self._reads = self._engine.execution_options(reads=True)
        try:
            self._migrate()
            self.key: bytes = self.write(_own_key)
        except BaseException:
            self.close()
            raise
        self._patience_s = patience_s

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run what only reads, in one transaction: it sees one state of the store."""
        return self._run(self._reads, work, self._patience_s)

    def write(self, work: Callable[[Connection], T], *, patient: bool = True) -> T:
        """Run what writes, in one transaction: all of it is kept, or nothing. It may be run several times.

        Without patience it is not: what can't be done at once raises StoreError.
        """
        return self._run(self._engine, work, self._patience_s if patient else 0)

    def _run(self, engine: Engine, work: Callable[[Connection], T], patience_s: float) -> T:
        waited, pause = 0.0, 0.5
        while True:
            try:
                with engine.begin() as connection:
                    return work(connection)
            except SQLAlchemyError as exc:
                if waited >= patience_s or not _passes(exc):
                    raise StoreError(f"store {self}: {_words(exc)}") from exc
            time.sleep(pause)
            waited, pause = waited + pause, min(pause * 2, 15)

    def _migrate(self) -> None:
        if self.read(_revision) == HEAD:
            return
        self.write(self._upgrade)

    def _upgrade(self, connection: Connection) -> None:
        from alembic.util import CommandError

        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        try:
            migrate(connection)
        except CommandError:
            raise StoreError(
                f"store {self}: is of version {_revision(connection)}, this program knows {HEAD}; install a newer one"
            ) from None


def migrate(connection: Connection, revision: str = HEAD) -> None:
    """Bring the tables up to a version, or back to it. Raises Alembic's CommandError on one that nobody knows."""
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    back = (_revision(connection) or "") > revision
    (command.downgrade if back else command.upgrade)(config, revision)


def put(connection: Connection, table: Any, key: dict[str, Any], values: dict[str, Any]) -> None:
    """Bring a row up to date, or make it: in any database, and where another process makes it just now."""
    match = [table.c[name] == value for name, value in key.items()]
    change = table.update().where(*match).values(values or key)
    if connection.execute(change).rowcount:
        return
    try:
        with connection.begin_nested():
            connection.execute(insert(table).values({**key, **values}))
    except IntegrityError:
        connection.execute(change)


def _parsed(text: str) -> URL:
    try:
        url = make_url(text)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError) as exc:
        raise UsageError(
            f"--store {text.partition('://')[0]:.40}: want a URL as sqlite:////path/to/file or postgresql://USER@HOST/NAME"
        ) from exc
    except ValueError as exc:
        raise UsageError(f"--store: {exc}") from None
    return url


def _engine(url: URL) -> Engine:
    try:
        if url.get_backend_name() != "sqlite":
            return create_engine(url, pool_pre_ping=True)
        if url.database and url.database != ":memory:":
            _make_private(Path(url.database))
        engine = create_engine(url, connect_args={"timeout": _BUSY_S})
    except ModuleNotFoundError as exc:
        raise UsageError(f"--store: the driver {exc.name} is not installed; pip install 'image-audit[fleet]'") from None
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _make_private(path: Path) -> None:
    """Make the file before SQLite does, which would let everybody read it.

    One that is there is not opened: closing it would drop the locks that this process has on it, SQLite's among them.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return  # another process made it just now; of anything else SQLite says what it is
    except OSError as exc:
        raise StoreError(f"store {path}: {exc.strerror}") from exc


def _set_up(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # or the driver, which begins late, would let two writers collide
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reads") else "BEGIN IMMEDIATE")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _own_key(connection: Connection) -> bytes:
    wanted = select(schema.secret_key.c.bytes)
    found = connection.execute(wanted).scalar()
    if found is None:
        made = insert(schema.secret_key).values(one=1, bytes=secrets.token_bytes(32))
        with suppress(IntegrityError), connection.begin_nested():
            connection.execute(made)
        found = connection.execute(wanted).scalar_one()
    return bytes(found)


def _passes(exc: SQLAlchemyError) -> bool:
    """Whether it may go better in a while: the database is away, starting, or locked."""
    if isinstance(exc, DBAPIError) and exc.connection_invalidated:
        return True
    return isinstance(exc, OperationalError) and not any(word in str(exc.orig) for word in _HOPELESS)


def _words(exc: SQLAlchemyError) -> str:
    """Return the database's own words, without the statement, whose values nobody wants to read."""
    return str(exc.orig if isinstance(exc, DBAPIError) else exc).strip()[:300]
