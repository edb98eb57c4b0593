"""The cache: one SQLite file in the cache folder, shared by all processes of one user.

It has layer records (by diff_id, rules, code and limits), and facts: the diff_id of a stored blob, the digest of a part
of an unchanged file, images without findings that stop the hook. Every fact was written after the bytes were hashed.
Secrets in records are HMACs under the key of the cache folder, and each row has a MAC under it.

The cache is optional: one that can't be opened, written or authenticated is ignored, with one warning.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from auditor.core.cache_folder import check_owner, folder_key
from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID, Digest
from auditor.store.mac import is_authentic, mac

FILE_NAME = "layers.sqlite"
DEFAULT_BYTES = 1 << 30
"""Bytes of records in the cache; above it the least recently used are deleted."""

_VERSION = 2
_BUSY_S = 60
_TOUCH_S = 3600
"""A record used again within that time keeps its timestamp: to set it writes the whole record again."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    key TEXT PRIMARY KEY,                           -- diff_id, digest of the rules, digest of the code
    data BLOB NOT NULL,
    tag BLOB NOT NULL CHECK (length(tag) = 32),     -- MAC of key and data: auditor/store/mac.py
    used INTEGER NOT NULL                           -- seconds since 1970
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fact (
    key TEXT PRIMARY KEY,                           -- kind, subject, and the version of the code
    value TEXT NOT NULL,
    tag BLOB NOT NULL CHECK (length(tag) = 32),     -- MAC of key and value
    used INTEGER NOT NULL                           -- when it was written
) WITHOUT ROWID;
"""
_OLD = ("secret_key", "record", "blob", "clean", "slice")
"""Tables of version 1. Their rows have no MAC."""
_MAX_FACTS = 200_000
_FORGET_FACTS = "DELETE FROM fact WHERE key IN (SELECT key FROM fact ORDER BY used DESC LIMIT -1 OFFSET ?)"
"""Deletes the oldest facts."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A stored layer: size of the stored bytes, and diff_id."""

    size: int
    diff_id: DiffID


@dataclass(frozen=True, slots=True)
class Usage:
    """Number and bytes of the cached records."""

    records: int
    bytes: int


class LayerStore:
    """The cache in one folder. No method raises: on an error values count as absent."""

    def __init__(self, folder: Path, warn: Callable[[str], None], max_bytes: int = DEFAULT_BYTES) -> None:
        self.path = folder / FILE_NAME
        self.max_bytes = max_bytes
        self.key = secrets.token_bytes(32)
        self._warn = warn
        self._database: sqlite3.Connection | None = None
        self.lock = threading.RLock()
        """Held for each operation: threads that read layers share the connection."""
        with self._guarded():
            self.key = folder_key(folder)
            self._database = self._opened()

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def record(self, key: str) -> bytes | None:
        """Return a record, and update the time of its last use."""
        with self._guarded():
            row = self._row("SELECT data, tag, used FROM record WHERE key = ?", key)
            if row is None:
                return None
            data, tag, used = row
            if not is_authentic(self.key, tag, "record", key, data):
                self._run("DELETE FROM record WHERE key = ?", key)
                return None
            if used < time.time() - _TOUCH_S:
                self._run("UPDATE record SET used = ? WHERE key = ?", int(time.time()), key)
            return bytes(data)
        return None

    def keep_record(self, key: str, data: bytes) -> None:
        """Store a record, and delete others above the limit of bytes."""
        with self._guarded():
            tag = mac(self.key, "record", key, data)
            self._run("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)", key, data, tag, int(time.time()))
            self._shrink()

    def blob(self, key: str) -> Blob | None:
        """Return size and diff_id of a stored blob, by its digest and the version of the code."""
        value = self._fact(f"blob {key}")
        size, _, diff_id = (value or "").partition(" ")
        return Blob(int(size), DiffID(diff_id)) if value else None

    def keep_blob(self, key: str, blob: Blob) -> None:
        """Store the diff_id of a blob. Stored and uncompressed bytes were hashed."""
        self._keep_fact(f"blob {key}", f"{blob.size} {blob.diff_id}")

    def slice(self, identity: str) -> Digest | None:
        """Return the digest of a part of an unchanged file."""
        value = self._fact(f"slice {identity}")
        return Digest(value) if value else None

    def keep_slice(self, identity: str, digest: Digest) -> None:
        """Store the digest of a part of a file, which was hashed."""
        self._keep_fact(f"slice {identity}", digest)

    def is_clean(self, key: str) -> bool:
        """Whether an earlier audit of an image had no finding that stops the hook."""
        return self._fact(f"clean {key}") is not None

    def keep_clean(self, key: str) -> None:
        """Store that an image has no finding that stops the hook."""
        self._keep_fact(f"clean {key}", "")

    def _fact(self, key: str) -> str | None:
        with self._guarded():
            row = self._row("SELECT value, tag FROM fact WHERE key = ?", key)
            if row is None:
                return None
            value, tag = row
            if not is_authentic(self.key, tag, "fact", key, value):
                self._run("DELETE FROM fact WHERE key = ?", key)
                return None
            return str(value)
        return None

    def _keep_fact(self, key: str, value: str) -> None:
        with self._guarded():
            tag = mac(self.key, "fact", key, value)
            self._run("INSERT OR REPLACE INTO fact VALUES (?, ?, ?, ?)", key, value, tag, int(time.time()))

    def usage(self) -> Usage:
        """Return number and size of the records."""
        with self._guarded():
            return Usage(*self._row("SELECT count(*), coalesce(sum(length(data)), 0) FROM record"))
        return Usage(0, 0)

    def clear(self) -> None:
        """Delete all values, and replace the key: HMACs under the old one have no further use."""
        with self._guarded():
            folder_key(self.path.parent, new=True)
            for table in ("record", "fact"):
                self._run(f"DELETE FROM {table}")  # noqa: S608 - constants
            self._run("VACUUM")

    def _shrink(self) -> None:
        if self.usage().bytes <= self.max_bytes:
            return
        self._run(
            "DELETE FROM record WHERE key IN (SELECT key FROM (SELECT key, sum(length(data)) OVER "
            "(ORDER BY used DESC, key) AS total FROM record) WHERE total > ?)",
            self.max_bytes,
        )

    def _opened(self) -> sqlite3.Connection:
        """Open or create the file. A lock prevents two processes from creating it at once."""
        folder = self.path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / f"{FILE_NAME}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                return self._connected()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as exc:
                renamed = self.path.with_name(f"{FILE_NAME}.damaged")
                self.path.replace(renamed)
                for suffix in ("-wal", "-shm"):
                    self.path.with_name(FILE_NAME + suffix).unlink(missing_ok=True)
                outcome = f"It was renamed to {renamed.name}, and a new one is used."
                self._warn(f"{self.path}: the cache is damaged ({exc}). {outcome}")
                return self._connected()
        finally:
            os.close(lock)

    def _connected(self) -> sqlite3.Connection:
        self._make_private()
        database = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version == 1:
                database.executescript("".join(f"DROP TABLE IF EXISTS {table};" for table in _OLD) + "VACUUM;")
            elif version not in (0, _VERSION):
                raise sqlite3.DatabaseError(f"version {version}, expected {_VERSION}")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.executescript(_SCHEMA)
            database.execute(_FORGET_FACTS, (_MAX_FACTS,))
            if version != _VERSION:
                database.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _make_private(self) -> None:
        """Create the file for the user alone. An existing one is not opened; closing would drop SQLite's locks.

        Raises PermissionError if the file, or a file of SQLite beside it, belongs to another user.
        """
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        for suffix in ("", "-wal", "-shm"):
            path = self.path.with_name(FILE_NAME + suffix)
            with suppress(FileNotFoundError):
                status = path.lstat()
                check_owner(path, status)
                if status.st_mode & 0o077:
                    path.chmod(0o600)

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if self._database is None:
            raise sqlite3.ProgrammingError("closed")
        return self._database.execute(statement, values)

    def _row(self, statement: str, *values: Any) -> Any:
        return self._run(statement, *values).fetchone()

    def _guarded(self) -> _Guard:
        return _Guard(self)

    def disable(self, exc: BaseException) -> None:
        """Stop using the cache: it is full, read-only, locked for long, or damaged."""
        self._warn(f"{self.path}: the cache can't be used: {exc}. This run continues without it.")
        with suppress(sqlite3.Error):
            self.close()


class _Guard:
    """Context manager for one operation, one thread at a time; stops using the cache on an error."""

    def __init__(self, store: LayerStore) -> None:
        self._store = store

    def __enter__(self) -> None:
        self._store.lock.acquire()

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> bool:
        try:
            return self._is_handled(exc)
        finally:
            self._store.lock.release()

    def _is_handled(self, exc: BaseException | None) -> bool:
        if isinstance(exc, sqlite3.ProgrammingError):  # no longer in use
            return True
        if isinstance(exc, sqlite3.Error | OSError | ValueError | TypeError):
            self._store.disable(exc)
            return True
        return False
