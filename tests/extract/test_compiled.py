"""Databases and compiled code."""

from __future__ import annotations

import marshal
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.extract import java_class
from auditor.extract.member_extractor import MemberExtractor
from tests.extract import build
from tests.extract.opened import opened
from tests.images import layer, token

SECRET = token(31)
SOURCE = f"""
OTHERS = (2**40, -(2**70), 1.5, -1e300, 2j, True, None, ..., b"bytes", "\u00e9", "\U0001f511" * 300, ("a", ("b",)))
def others(a, /, b=2**31, *c, d=frozenset("xy"), **e): return a in {{1, 2**33}} and c[1:2:3] and (lambda: (b, e))

PASSWORD = "hunter2"
SETTINGS = {{"user": "root", "api_key": "{SECRET}"}}
connect(password="swordfish")
class Client:
    def __init__(self):
        self.secret = "inner-{SECRET}"
"""


def database(*statements: str, encoding: str = "UTF-8") -> bytes:
    with closing(sqlite3.connect(":memory:")) as base:
        base.execute(f"PRAGMA encoding = '{encoding}'")
        for statement in statements:
            base.execute(statement)
        base.commit()
        return base.serialize()


USERS = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, password TEXT, photo BLOB)",
    f"INSERT INTO users VALUES (17, 'bob', '{SECRET}', NULL)",
)


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_a_cell_is_named_by_table_row_and_column_and_shown_beside_its_column(encoding: str) -> None:
    data = database(*USERS, encoding=encoding)
    assert MemberExtractor().is_extractable("app.db", data[:512])
    (piece,) = opened("app.db", data).pieces
    assert (piece.member, piece.data) == ("users/17/password", f'password = "{SECRET}"'.encode())
    assert MemberExtractor().member_content("app.db", data, "users/17/password") == SECRET.encode()


def test_cells_over_many_pages_and_archives_in_cells_are_whole() -> None:
    packed = layer({"etc/.env": SECRET}).hex()
    data = database(
        "CREATE TABLE t (k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID",
        f"INSERT INTO t VALUES ('a', '{'x' * 4090}{SECRET}{'x' * 9000}')",
        f"INSERT INTO t VALUES ('b', x'{packed}')",
    )
    assert [way for way, _ in opened("app.db", data).ways(SECRET)] == ["t/1/v", "t/2/v!etc/.env"]


def test_a_database_in_wal_mode_is_read(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as base:
        base.execute("PRAGMA journal_mode = WAL")
        for statement in USERS:
            base.execute(statement)
        base.commit()
    found = opened("a.db", (tmp_path / "a.db").read_bytes())
    assert [way for way, _ in found.ways(SECRET)] == ["users/17/password"]


def test_what_a_schema_computes_is_not_asked_for() -> None:
    data = database(
        *USERS,
        "CREATE TABLE g (a TEXT, b TEXT AS (hex(a)))",
        "INSERT INTO g (a) VALUES ('aaaaaaaaaaaaaaaaaaaaaaa')",
        "CREATE VIEW endless AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
        'CREATE TABLE "odd""name" (password TEXT)',
        """INSERT INTO "odd""name" VALUES ('passphrase')""",
    )
    found = opened("a.db", data, file_time=3)
    assert "users/17/password" in found.members and 'odd"name/1/password' in found.members
    assert "g/1/a" in found.members and not found.notes


def test_a_cell_without_a_long_word_is_searched_where_it_speaks_of_a_secret() -> None:
    prose = "one two three four " * 1000
    rows = [f"{prose}{end}" for end in ("the pass phrase is: correct horse", "nothing else")]
    found = opened("a.db", database("CREATE TABLE t (body TEXT)", *(f"INSERT INTO t VALUES ('{row}')" for row in rows)))
    assert found.members == ["t/1/body"]


def test_a_broken_database_is_noted() -> None:
    data = bytearray(database(*USERS, *(f"CREATE TABLE t{n} (a TEXT)" for n in range(200))))
    data[200:9000] = b"\xaa" * 8800
    assert opened("a.db", bytes(data)).notes


# The interpreter that runs the tests, and the system's, which is mostly another version.
PYTHONS = [python for python in dict.fromkeys((sys.executable, "/usr/bin/python3")) if Path(python).exists()]


@pytest.mark.parametrize("python", PYTHONS)
def test_compiled_python_gives_its_constants_with_the_names_they_are_given(tmp_path: Path, python: str) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    script = "import py_compile, sys; py_compile.compile(sys.argv[1], sys.argv[2], doraise=True)"
    subprocess.run([python, "-c", script, str(tmp_path / "a.py"), str(tmp_path / "a.pyc")], check=True)
    found = opened("app/a.pyc", (tmp_path / "a.pyc").read_bytes())
    (piece,) = found.pieces
    assert not found.notes
    lines = piece.data.decode().splitlines()
    assert {'PASSWORD = "hunter2"', f'api_key = "{SECRET}"', f'secret = "inner-{SECRET}"'} <= set(lines)
    assert 'password = "swordfish"' in lines
    assert piece.decoded == ("pyc",) and piece.member is None


def test_compiled_python_of_installed_packages_is_left_to_the_search_of_raw_bytes() -> None:
    head = b"\xa7\r\r\n" + bytes(12) + b"\xe3"
    assert MemberExtractor().is_extractable("app/__pycache__/settings.cpython-311.pyc", head)
    assert not MemberExtractor().is_extractable("usr/lib/python3.11/site-packages/x.pyc", head)


def test_marshal_data_that_nests_or_promises_too_much_is_noted() -> None:
    nested = b"(\1\0\0\0" * 100_000 + b"N"
    many = b"(" + (2**31 - 1).to_bytes(4, "little") + b"N" * 100
    negative = b"s" + (2**32 - 5).to_bytes(4, "little")
    laughs = b"\xa9\2" * 1 + b"N" + b"r\0\0\0\0"
    for body in (nested, many, negative, laughs, b"c" * 50, b"", marshal.dumps(1)):
        opened("a.pyc", b"\xa7\r\r\n" + bytes(12) + body)


if shutil.which("javac"):

    def test_a_java_class_gives_its_constants_with_their_fields(tmp_path: Path) -> None:
        (tmp_path / "A.java").write_text(
            f'class A {{ static final String PASSWORD = "hunter2"; String token; A() {{ token = "{SECRET}"; }}'
            ' void f(java.util.Properties p) { p.setProperty("password", "swordfish"); } long l = 5L; double d = 0.1; }'
        )
        subprocess.run(["javac", "-d", str(tmp_path), str(tmp_path / "A.java")], check=True)
        (piece,) = opened("A.class", (tmp_path / "A.class").read_bytes()).pieces
        lines = piece.data.decode().splitlines()
        assert {'PASSWORD = "hunter2"', f'token = "{SECRET}"', 'password = "swordfish"'} <= set(lines)


@pytest.mark.parametrize(
    ("data", "is_read"),
    [
        (build.java_class(["plain text"], names=["nextToken", "Ljava/security/PrivateKey;"]), False),
        (build.java_class(["user.name"], names=["getPassword"], calls={"open": "a string"}), False),
        (build.java_class([], calls={"setPassword": "hunter2"}), True),
        (build.java_class(["password"], names=["x"]), False),
        (build.java_class(["password=hunter2"]), True),
        (build.java_class(["<password>hunter2</password>"]), True),
        (build.java_class([], names=["${db.password:hunter2}"]), True),  # of an annotation
        (build.java_class([], names=["<T:Ljava/lang/Object;>(Lcom/example/TypeToken<TT;>;)V"]), True),
    ],
    ids=["names", "a call", "a setter", "a key", "a string", "markup", "an annotation", "generics"],
)
def test_constants_of_a_java_class_are_read_where_one_may_be_a_secret(data: bytes, is_read: bool) -> None:
    (piece,) = opened("A.class", data).pieces
    assert (piece.data != data) is is_read and piece.decoded == ("class",)
    assert (b"hunter2" in piece.data) is (b"hunter2" in data)


@given(st.lists(st.sampled_from([b"\x12", b"\x13", b"\n", b"\0", b"\xb5", b"\xb6"]), max_size=40), st.integers(0, 5))
def test_constants_that_code_loads_are_found_as_by_a_plain_search(code: list[bytes], at: int) -> None:
    data = b"".join(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(java_class, "_BLOCK", 7)
        found = [match.span() for match in java_class._matches(data, at)]
    patterns = java_class._LOADED, java_class._BOTH_LOADED
    expected = [pattern.match(data, begin) for begin in range(at, len(data)) for pattern in patterns]
    assert found == [match.span() for match in expected if match]
