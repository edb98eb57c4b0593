"""The cache of layer records: one SQLite file in the cache folder, shared by all processes of one user.

It says what a layer holds (by diff_id, ruleset and code), which diff_id a stored blob unpacks to, which digest a part
of a file had that did not change since, and which images were clean. Each was written after the bytes were hashed.
Secrets in records are sealed with a key that stands in this file and nowhere else.

A cache is a help: one that can't be opened, written or believed is passed over, with one warning.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.model import DiffID, Digest

FILE_NAME = "layers.sqlite"
DEFAULT_BYTES = 1 << 30
"""Bytes of records that are kept; beyond it those go that were not used for longest."""

_VERSION = 1
_BUSY_S = 60
_TOUCH_S = 60  # a record that is used again within that time need not be marked
_SCHEMA = """
CREATE TABLE IF NOT EXISTS secret_key (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    bytes BLOB NOT NULL CHECK (length(bytes) = 32)  -- seals the secrets of all records
);
CREATE TABLE IF NOT EXISTS record (
    key TEXT PRIMARY KEY,                           -- diff_id, digest of the rules, digest of the code
    data BLOB NOT NULL,
    sum BLOB NOT NULL CHECK (length(sum) = 16),     -- BLAKE2b of data
    used INTEGER NOT NULL                           -- seconds since 1970
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blob (
    digest TEXT PRIMARY KEY,                        -- of the stored, perhaps compressed bytes, which were hashed
    size INTEGER NOT NULL CHECK (size >= 0),
    diff_id TEXT NOT NULL                           -- of what they unpack to, which was hashed as well
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clean (
    key TEXT PRIMARY KEY                            -- digest of an image's id, and of all that its verdict depends on
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS slice (
    identity TEXT PRIMARY KEY,                      -- of a file, and the part of it: see auditor/records.py
    digest TEXT NOT NULL,                           -- of the bytes there, which were hashed
    used INTEGER NOT NULL
) WITHOUT ROWID;
"""
_MAX_SLICES = 100_000


@dataclass(frozen=True, slots=True)
class Blob:
    """A stored layer; `size` in bytes as stored."""

    size: int
    diff_id: DiffID


@dataclass(frozen=True, slots=True)
class Usage:
    """How many records the cache holds, and their bytes."""

    records: int
    bytes: int


class LayerStore:
    """The cache in one folder. No method raises: what fails is as if nothing had been kept."""

    def __init__(self, folder: Path, warn: Callable[[str], None], max_bytes: int = DEFAULT_BYTES) -> None:
        self.path = folder / FILE_NAME
        self.max_bytes = max_bytes
        self.key = secrets.token_bytes(32)
        self._warn = warn
        self._database: sqlite3.Connection | None = None
        with self._guarded():
            self._database = self._opened()
            self.key = self._one("SELECT bytes FROM secret_key")

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def record(self, key: str) -> bytes | None:
        """Return a record, and mark it as used."""
        with self._guarded():
            row = self._row("SELECT data, sum, used FROM record WHERE key = ?", key)
            if row is None:
                return None
            data, checksum, used = row
            if _sum(data) != checksum:
                self._run("DELETE FROM record WHERE key = ?", key)
                return None
            if used < time.time() - _TOUCH_S:
                self._run("UPDATE record SET used = ? WHERE key = ?", int(time.time()), key)
            return bytes(data)
        return None

    def keep_record(self, key: str, data: bytes) -> None:
        """Keep a record, and let others go where there are too many."""
        with self._guarded():
            self._run("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)", key, data, _sum(data), int(time.time()))
            self._shrink()

    def blob(self, digest: Digest) -> Blob | None:
        """Return what is known of a stored blob."""
        with self._guarded():
            row = self._row("SELECT size, diff_id FROM blob WHERE digest = ?", digest)
            return Blob(row[0], DiffID(row[1])) if row else None
        return None

    def keep_blob(self, digest: Digest, blob: Blob) -> None:
        """Keep what bytes of this digest unpack to: both were hashed."""
        with self._guarded():
            self._run("INSERT OR REPLACE INTO blob VALUES (?, ?, ?)", digest, blob.size, blob.diff_id)

    def slice(self, identity: str) -> Digest | None:
        """Return the digest that a part of a file had."""
        with self._guarded():
            row = self._row("SELECT digest FROM slice WHERE identity = ?", identity)
            return Digest(row[0]) if row else None
        return None

    def keep_slice(self, identity: str, digest: Digest) -> None:
        """Keep the digest of a part of a file, which was hashed."""
        with self._guarded():
            self._run("INSERT OR REPLACE INTO slice VALUES (?, ?, ?)", identity, digest, int(time.time()))
            self._run(
                "DELETE FROM slice WHERE identity IN (SELECT identity FROM slice ORDER BY used DESC LIMIT -1 OFFSET ?)",
                _MAX_SLICES,
            )

    def is_clean(self, key: str) -> bool:
        """Whether an image was audited before, and held nothing that matters to whoever asked."""
        with self._guarded():
            return self._row("SELECT 1 FROM clean WHERE key = ?", key) is not None
        return False

    def keep_clean(self, key: str) -> None:
        """Keep that an image holds nothing that matters."""
        with self._guarded():
            self._run("INSERT OR IGNORE INTO clean VALUES (?)", key)

    def usage(self) -> Usage:
        """Return how much is kept."""
        with self._guarded():
            return Usage(*self._row("SELECT count(*), coalesce(sum(length(data)), 0) FROM record"))
        return Usage(0, 0)

    def clear(self) -> None:
        """Forget everything, the key included: what was sealed with it says nothing any more."""
        with self._guarded():
            for table in ("record", "blob", "clean", "slice", "secret_key"):
                self._run(f"DELETE FROM {table}")  # noqa: S608 - names of our own
            self._run("INSERT INTO secret_key VALUES (1, ?)", secrets.token_bytes(32))
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
        """Open the file, or make it: one process at a time, or two would each set it up."""
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
                aside = self.path.with_name(f"{FILE_NAME}.damaged")
                self.path.replace(aside)
                for suffix in ("-wal", "-shm"):
                    self.path.with_name(FILE_NAME + suffix).unlink(missing_ok=True)
                self._warn(f"{self.path}: the cache is damaged ({exc}); it was put aside as {aside.name}")
                return self._connected()
        finally:
            os.close(lock)

    def _connected(self) -> sqlite3.Connection:
        self._make_private()
        database = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise sqlite3.DatabaseError(f"of version {version}; this program writes {_VERSION}")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.executescript(_SCHEMA)
            database.execute("INSERT OR IGNORE INTO secret_key VALUES (1, ?)", (secrets.token_bytes(32),))
            database.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _make_private(self) -> None:
        """Make the file before SQLite does. One that is there is not opened: closing it would drop SQLite's locks."""
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            if self.path.is_symlink():
                raise

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if self._database is None:
            raise sqlite3.ProgrammingError("closed")
        return self._database.execute(statement, values)

    def _row(self, statement: str, *values: Any) -> Any:
        return self._run(statement, *values).fetchone()

    def _one(self, statement: str) -> Any:
        return self._row(statement)[0]

    def _guarded(self) -> _Guard:
        return _Guard(self)

    def give_up(self, exc: BaseException) -> None:
        """Go on without the cache: it is full, read-only, locked for long, or damaged."""
        self._warn(f"{self.path}: the cache can't be used: {exc}; going on without it")
        with suppress(sqlite3.Error):
            self.close()


class _Guard:
    """Lets no error of a cache out."""

    def __init__(self, store: LayerStore) -> None:
        self._store = store

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> bool:
        if isinstance(exc, sqlite3.ProgrammingError):  # it was given up before
            return True
        if isinstance(exc, sqlite3.Error | OSError | ValueError | TypeError):
            self._store.give_up(exc)
            return True
        return False


def _sum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
