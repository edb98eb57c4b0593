"""Cells of SQLite databases: text and blobs.

The scan also searches the file's raw bytes. In cells, a long value, which SQLite splits over pages, is whole, and a
short one has its column's name beside it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

from auditor.codec.signatures import HEAD, signature_of
from auditor.extract.budget import ExtractContext
from auditor.extract.member_stream import Member

_STEPS = 20_000  # instructions of SQLite between two checks of the time: about a millisecond
_MAX_COLUMNS = 500
_MIN_CELL = 6
_MAX_VALUE = 512
_ALLOWED = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_PRAGMA))
_SECRET_COLUMN = re.compile(r"pass|pwd|secret|token|key|auth|cred|conn|dsn|url|hash|session|cookie|cert|private", re.I)
# A long word, or one that stands beside a short secret.
_WORD = re.compile(rb"[\w+/=.-]{16}|(?i:pass|pwd|secret|token|key|auth|cred|access|mnemonic|phrase|seed)")


def read(data: bytes, context: ExtractContext) -> Iterator[Member]:
    """Yield the cells that may hold a secret, named `table/rowid/column`."""
    with closing(_opened(data, context)) as base:
        try:
            names = [row[0] for row in base.execute(_TABLES)]
            for name in names:
                if isinstance(name, bytes):
                    yield from _cells(base, name.decode("utf-8", "replace"), context)
        except sqlite3.Error as exc:
            context.budget.tick()
            _raise_of_memory(exc)
            context.skip(None, f"is a broken database: {exc}")


def read_rpm_headers(data: bytes, context: ExtractContext) -> Iterator[Member]:
    """Yield the package headers of an rpm database."""
    with closing(_opened(data, context)) as base:
        for (header,) in base.execute("SELECT blob FROM Packages"):
            if isinstance(header, bytes):
                context.budget.member()
                yield Member("header", header)


_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 ORDER BY rootpage"


def _opened(data: bytes, context: ExtractContext) -> sqlite3.Connection:
    """Open a database in memory: read only, without functions, with a time limit."""
    base = sqlite3.connect(":memory:")
    try:
        _load(base, data, context)
    except BaseException:
        base.close()
        raise
    return base


def _load(base: sqlite3.Connection, data: bytes, context: ExtractContext) -> None:
    # A database in WAL mode needs side files to open; bytes 18 and 19 set the mode.
    # https://www.sqlite.org/fileformat.html#file_format_version_numbers
    base.deserialize(data[:18] + b"\1\1" + data[20:])
    base.text_factory = bytes
    base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, context.limits.member_bytes)
    base.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON", "mmap_size = 0"):
        base.execute(f"PRAGMA {pragma}")
    base.set_progress_handler(context.budget.late, _STEPS)
    base.set_authorizer(_authorize)


def _authorize(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _cells(base: sqlite3.Connection, table: str, context: ExtractContext) -> Iterator[Member]:
    quoted = _quoted(table)
    try:
        columns = [row[1].decode("utf-8", "replace") for row in base.execute(f"PRAGMA table_info({quoted})")]
        # Not `*`: that includes generated columns, which a hostile schema can make costly.
        selected = ", ".join(map(_quoted, columns[:_MAX_COLUMNS]))
        try:
            rows = base.execute(f"SELECT rowid, {selected} FROM {quoted}")  # noqa: S608  # names of the database's own
        except sqlite3.OperationalError:  # WITHOUT ROWID
            rows = base.execute(f"SELECT NULL, {selected} FROM {quoted}")  # noqa: S608
        for number, row in enumerate(rows, 1):
            identity = row[0] if isinstance(row[0], int) else number
            for column, value in zip(columns, row[1:], strict=False):
                if not isinstance(value, bytes) or len(value) < _MIN_CELL:
                    continue
                context.budget.spend(len(value))  # cells may share pages: a small file can have many large cells
                if _may_hold_secret(column, value):
                    context.budget.member()
                    yield Member(f"{table}/{identity}/{column}", value, search_text=_with_column(column, value))
    except sqlite3.Error as exc:
        if context.budget.late():
            raise context.budget.too_late() from exc
        _raise_of_memory(exc)
        context.skip(table, f"is a broken table: {exc}")


def _raise_of_memory(exc: sqlite3.Error) -> None:
    if getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_NOMEM:
        raise MemoryError from exc


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _may_hold_secret(column: str, value: bytes) -> bool:
    """Tell whether a cell may hold a secret: by its column's name, a word in it, or as an archive."""
    if _SECRET_COLUMN.search(column) or _WORD.search(value):
        return True
    signature = signature_of(value[:HEAD])
    return signature is not None and signature.is_container


def _with_column(column: str, value: bytes) -> bytes | None:
    """Return a short value as an assignment to its column's name, for keyword rules; None for a long one."""
    if len(value) > _MAX_VALUE or b"\n" in value or b"\0" in value:
        return None
    return b'%s = "%s"' % (column.encode("utf-8", "replace"), value)
