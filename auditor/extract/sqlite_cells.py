"""SQLite databases: text and blobs, cell by cell.

The file's raw bytes are searched elsewhere; here long cells, which SQLite cuts into pages, are whole, and a value
stands beside its column's name.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

from auditor.extract.budget import ExtractContext
from auditor.extract.file_types import HEAD, kind_of
from auditor.extract.member_stream import Member, MemberStream, as_stream

_STEPS = 20_000  # of SQLite's machine between two looks at the clock: about a millisecond
_MAX_COLUMNS = 500
_MIN_CELL = 6
_MAX_VALUE = 512
_ALLOWED = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_PRAGMA))
_TELLING = re.compile(r"pass|pwd|secret|token|key|auth|cred|conn|dsn|url|hash|session|cookie|cert|private", re.I)
_WORD = re.compile(rb"[\w+/=.-]{16}")


def database(body: bytes | MemberStream, context: ExtractContext, _: str) -> Iterator[Member]:
    """Yield cells named `table/rowid/column`: those that could hold a secret."""
    data = body if isinstance(body, bytes) else as_stream(body).read(context.limits.member_bytes)
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


def packages(body: bytes | MemberStream, context: ExtractContext, _: str) -> Iterator[Member]:
    """Yield the headers of an rpm database, which lie in one column."""
    data = body if isinstance(body, bytes) else as_stream(body).read(context.limits.member_bytes)
    with closing(_opened(data, context)) as base:
        for (header,) in base.execute("SELECT blob FROM Packages"):
            if isinstance(header, bytes):
                context.budget.member()
                yield Member("header", header)


_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 ORDER BY rootpage"


def _opened(data: bytes, context: ExtractContext) -> sqlite3.Connection:
    """Open a database in memory that can neither write, nor call functions, nor run on."""
    base = sqlite3.connect(":memory:")
    try:
        _load(base, data, context)
    except BaseException:
        base.close()
        raise
    return base


def _load(base: sqlite3.Connection, data: bytes, context: ExtractContext) -> None:
    # A database in WAL mode can't be opened without its side files; bytes 18 and 19 say the mode.
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
        # Not `*`: it has generated columns too, which a hostile schema can make costly.
        wanted = ", ".join(map(_quoted, columns[:_MAX_COLUMNS]))
        try:
            rows = base.execute(f"SELECT rowid, {wanted} FROM {quoted}")  # noqa: S608  # names of the database's own
        except sqlite3.OperationalError:  # WITHOUT ROWID
            rows = base.execute(f"SELECT NULL, {wanted} FROM {quoted}")  # noqa: S608
        for number, row in enumerate(rows, 1):
            identity = row[0] if isinstance(row[0], int) else number
            for column, value in zip(columns, row[1:], strict=False):
                if not isinstance(value, bytes) or len(value) < _MIN_CELL:
                    continue
                context.budget.spend(len(value))  # cells may share pages, so that a small file has large ones
                if _worthwhile(column, value):
                    context.budget.member()
                    yield Member(f"{table}/{identity}/{column}", value, shown=_shown(column, value))
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


def _worthwhile(column: str, value: bytes) -> bool:
    """Tell whether a cell may hold a secret: by its column, a long word in it, or because it is packed."""
    if _TELLING.search(column) or _WORD.search(value):
        return True
    return kind_of("", value[:HEAD]) is not None


def _shown(column: str, value: bytes) -> bytes | None:
    """Put the column's name before a short value, as in an assignment; long ones speak for themselves."""
    if len(value) > _MAX_VALUE or b"\n" in value or b"\0" in value:
        return None
    return b'%s = "%s"' % (column.encode("utf-8", "replace"), value)
