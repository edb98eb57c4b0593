"""Databases of the bench: a SQLite file, or a PostgreSQL server of its own; and how large they are."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, text

from auditor.fleet.store.database import SweepStore
from tests.fleet.postgres import Postgres


@contextmanager
def new_database(kind: str, folder: Path) -> Iterator[str]:
    """Yield the URL of an empty database, `sqlite` or `postgresql`."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/store.sqlite"
        return
    own = Path(tempfile.mkdtemp(prefix="bench-postgres-"))
    own.chmod(0o755)
    server = Postgres(own)
    try:
        yield server.new_database()
    finally:
        server.stop()
        shutil.rmtree(own)


def stored_bytes(url: str) -> int:
    """Return the bytes of a database, without free pages and the write-ahead log."""
    with closing(SweepStore(url)) as store:
        if store.url.get_backend_name() == "sqlite":
            return store.read(_pages)
        return int(store.read(lambda c: c.execute(text("SELECT pg_database_size(current_database())")).scalar_one()))


def _pages(connection: Connection) -> int:
    size, count, free = (
        int(connection.execute(text(f"PRAGMA {name}")).scalar_one())
        for name in ("page_size", "page_count", "freelist_count")
    )
    return size * (count - free)
