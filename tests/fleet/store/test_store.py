"""The store: migrations, its own guards, several users at a time."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, Connection, MetaData, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from auditor.core.errors import StoreError, UsageError
from auditor.fleet.store import database as store
from auditor.fleet.store import queries, schema
from auditor.fleet.store.database import Store, default_url, put
from tests.conftest import Cli


def test_the_migrations_make_the_tables_of_the_schema(url: str) -> None:
    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), schema.metadata))

    def checks(connection: Connection) -> set[str]:
        seen = inspect(connection)
        return {str(c["name"]) for table in schema.metadata.tables for c in seen.get_check_constraints(table)}

    with closing(Store(url)) as opened:
        assert opened.read(differences) == []
        wanted = {
            str(constraint.name)
            for table in schema.metadata.tables.values()
            for constraint in table.constraints
            if isinstance(constraint, CheckConstraint)
        }
        assert opened.read(checks) == wanted


def test_the_newest_migration_is_the_one_that_the_program_knows() -> None:
    scripts = ScriptDirectory(str(Path(store.__file__).parent / "migrations"))
    assert scripts.get_current_head() == store.HEAD


def old_store(url: str) -> None:
    """A store of the first version. Three sweeps, of which a fourth was killed, saw less and less of a repository."""
    engine = store._engine(store._parsed(url))
    span, seen = "first_seen, since, last_seen", "'2026-01-01T00:00:00Z', 1"
    rows = [
        "INSERT INTO sweep (id, registry, scope, started, finished, ruleset, critical, gone) VALUES "
        + ", ".join(
            f"({n}, 'r', 's', '2026-01-0{n}T00:00:00Z', '2026-01-0{n}T01:00:00Z', 'x', 5, 1)" for n in (1, 2, 3)
        )
        + ", (4, 'r', 's', '2026-01-04T00:00:00Z', NULL, 'x', 0, 0)",
        "INSERT INTO failure (sweep, reference, reason) VALUES (3, 'team/web:1', 'lost')",
        "INSERT INTO repository (id, host, name, last_sweep, previous_sweep) VALUES (1, 'r', 'team/app', 3, 2)",
        "INSERT INTO layer (digest, diff_id, size, read_in) VALUES ('l', 'u', 7, 1)",
    ]
    for number, (name, last) in enumerate({"a": 1, "b": 2, "c": 3, "d": 4}.items(), 1):
        own = f"{number}, 1, '{name}'"
        rows += [
            f"INSERT INTO manifest (digest, created) VALUES ('{name}', '2025-01-01')",
            f"INSERT INTO leaf (manifest, position, digest, media_type) VALUES ('{name}', 0, '{name}', 'm')",
            f"INSERT INTO tag (id, repository, name, manifest, {span}) VALUES ({own}, '{name}', {seen}, {last})",
            f"INSERT INTO image (id, repository, digest, audit, {span}) VALUES ({own}, 'k', {seen}, {last})",
            f"INSERT INTO image_layer (image, position, layer) VALUES ({number}, 0, 'l')",
        ]
    with engine.begin() as connection:
        store.migrate(connection, "0001")
        for row in rows:
            connection.execute(text(row))
        old = MetaData()
        old.reflect(connection)
        connection.execute(insert(old.tables["secret_key"]).values(one=1, bytes=bytes(32)))
        for number in (1, 2, 3, 4):
            report = zlib.compress(json.dumps({"of": number}).encode())
            connection.execute(insert(old.tables["report"]).values(image=number, data=report))
            made = insert(old.tables["finding"]).values(
                {"image": number, "finding": f"f{number}", "rule": "r", "name": "n", "severity": "high",
                 "confidence": "high", "state": "present", "path": "/p", "masked": "****", "secret": bytes(16),
                 "layer": "l", "held": True, "first_seen": "2026-01-01T00:00:00Z", "since": 1, "last_seen": number}
            )  # fmt: skip
            connection.execute(made)
    engine.dispose()


def test_a_store_of_the_first_version_keeps_what_it_knows(url: str) -> None:
    old_store(url)
    with closing(Store(url)) as opened:
        assert opened.key == bytes(32)
        assert [(row.id, row.counts["critical"], row.choice) for row in queries.sweeps(opened)] == [
            (1, 5, None), (2, 5, None), (3, 5, None),
        ]  # fmt: skip
        (image,) = queries.images(opened, 3)
        assert (image.digest, image.tags, image.by_severity, image.new) == ("c", ("c",), {"high": 1}, 0)
        assert [(row.id, row.layer, row.first_seen) for row in queries.findings(opened, 3)] == [
            ("f3", "l", "2026-01-01T00:00:00Z")
        ]
        assert [queries.gone_findings(opened, sweep) for sweep in (2, 3)] == [[], []], "nobody asked for the digests"
        assert {row.counts["gone"] for row in queries.sweeps(opened)} == {0}
        assert queries.report(opened, 3) == {"of": 3}
        assert queries.failures(opened, 3) == [("team/web:1", "lost")]
        assert [(layer.digest, layer.tags) for layer in queries.leaking_layers(opened, 3)] == [("l", ("team/app:c",))]


def test_a_store_goes_back_to_the_first_version(url: str) -> None:
    old_store(url)
    with closing(Store(url)) as opened:
        opened.write(lambda c: store.migrate(c, "0001"))
        row = opened.read(lambda c: c.execute(text("SELECT last_sweep, previous_sweep FROM repository")).one())
        assert tuple(row) == (4, 3)
    with closing(Store(url)) as opened:
        assert [image.digest for image in queries.images(opened, 3)] == ["c"]


def test_every_column_has_a_comment() -> None:
    columns = [column for table in schema.metadata.tables.values() for column in table.columns]
    assert columns and not [str(column) for column in columns if not column.comment]


def test_a_store_keeps_its_key(url: str) -> None:
    keys = set()
    for _ in range(2):
        with closing(Store(url)) as opened:
            keys.add(opened.key)
    assert len(keys) == 1 and len(keys.pop()) == 32


def test_several_may_open_a_new_store_at_once(url: str) -> None:
    program = f"from auditor.fleet.store.database import Store; print(Store({url!r}).key.hex())"
    command = [sys.executable, "-c", program]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: subprocess.run(command, capture_output=True, check=False), range(4)))
    assert [item.returncode for item in done] == [0] * 4, done[0].stderr
    assert len({item.stdout for item in done}) == 1


def test_a_second_one_in_a_process_leaves_the_first_its_locks(tmp_path: Path) -> None:
    """Or another process would take away the log that the first still writes."""
    url = f"sqlite:///{tmp_path}/s.sqlite"
    with closing(Store(url, patience_s=0)) as first:
        Store(url).close()
        program = f"from auditor.fleet.store.database import Store; Store({url!r}).close()"
        subprocess.run([sys.executable, "-c", program], check=True)
        key = {"host": "h", "name": "n"}
        first.write(lambda c: put(c, schema.repository, key, {}))
        with closing(Store(url)) as other:
            assert len(other.read(lambda c: c.execute(select(schema.repository)).all())) == 1


def test_several_may_write_one_row_at_once(url: str) -> None:
    with closing(Store(url)) as opened:
        key = {"host": "h", "name": "n"}
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: opened.write(lambda c: put(c, schema.repository, key, {})), range(16)))
        assert len(opened.read(lambda c: c.execute(select(schema.repository)).all())) == 1


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("secret_key", {"one": 2, "bytes": bytes(32)}),
        ("layer", {"digest": "a", "diff_id": "b", "size": -1}),
        ("record", {"key": "a", "data": b"abc", "size": 2, "used": 1}),
        ("sweep", {"registry": "r", "scope": "s", "ruleset": "x", "started": "2026-02", "finished": "2026-01"}),
    ],
)
def test_the_database_refuses_what_makes_no_sense(url: str, table: str, values: dict[str, Any]) -> None:
    with closing(Store(url)) as opened:
        with pytest.raises(StoreError) as caught:
            opened.write(lambda c: c.execute(insert(schema.metadata.tables[table]).values(**values)))
        assert isinstance(caught.value.__cause__, IntegrityError)


def test_a_store_of_a_newer_program_is_refused(url: str) -> None:
    with closing(Store(url)) as opened:
        opened.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(StoreError, match="install a newer one"):
        Store(url)


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    with closing(Store(f"sqlite:///{tmp_path}/deep/er/s.sqlite")):
        assert stat.S_IMODE((tmp_path / "deep/er/s.sqlite").stat().st_mode) == 0o600


def test_the_default_lies_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_url() == "sqlite:////data/image-audit/registry.sqlite"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_url() == "sqlite:////home/me/.local/share/image-audit/registry.sqlite"


@pytest.mark.parametrize("url", ["nonsense", "nosuch://host/db", "postgresql://u:pw@127.0.0.1:x/db"])
def test_an_url_that_makes_no_sense_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="--store"):
        Store(url)


def test_a_password_in_the_url_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Store("postgresql://me:open-sesame@127.0.0.1:1/db", patience_s=0)
    assert "open-sesame" not in str(caught.value) and "***" in str(caught.value)


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store(f"sqlite:///{tmp_path}/s", patience_s=0)


def test_without_the_extra_the_command_says_what_to_install(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "hide").mkdir()
    (tmp_path / "hide/sitecustomize.py").write_text(
        "import importlib.util as u, sys\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'sqlalchemy' else find(name, *a)\n"
    )
    paths = os.pathsep.join([str(tmp_path / "hide"), *sys.path])
    done = cli("registry", "scan", "127.0.0.1:1", PYTHONPATH=paths)
    assert done.status == 2 and "pip install 'image-audit[fleet]'" in done.err and len(done.err.splitlines()) == 1
    assert cli("scan", "--help", PYTHONPATH=paths).status == 0


def test_scan_needs_no_database(cli: Cli) -> None:
    program = "import sys; import auditor.cli.scan; print([m for m in sys.modules if m in ('sqlalchemy', 'alembic')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=cli.environment)
    assert done.stdout.strip() == b"[]"
