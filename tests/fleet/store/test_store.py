"""The database: migrations, constraints, concurrent users."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, Connection, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from auditor.core.errors import StoreError, UsageError
from auditor.fleet.store import database, schema
from auditor.fleet.store.database import SweepStore, default_url, upsert
from auditor.fleet.store.upgrade import upgrade_tables
from tests.conftest import Cli
from tests.fleet.conftest import Sweeps


def test_the_migrations_make_the_tables_of_the_schema(empty_url: str) -> None:
    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), schema.metadata))

    def checks(connection: Connection) -> set[str]:
        seen = inspect(connection)
        return {str(c["name"]) for table in schema.metadata.tables for c in seen.get_check_constraints(table)}

    with closing(SweepStore(empty_url)) as opened:
        assert opened.read(differences) == []
        wanted = {
            str(constraint.name)
            for table in schema.metadata.tables.values()
            for constraint in table.constraints
            if isinstance(constraint, CheckConstraint)
        }
        assert opened.read(checks) == wanted


def test_the_newest_migration_is_the_one_that_the_program_knows() -> None:
    scripts = ScriptDirectory(str(Path(database.__file__).parent / "migrations"))
    assert scripts.get_current_head() == database.HEAD


@pytest.mark.parametrize("revision", ["0001", "0003"])
def test_a_store_from_before_the_first_release_is_refused_and_kept(empty_url: str, revision: str) -> None:
    engine = database._engine(database._parsed(empty_url))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text(f"INSERT INTO alembic_version VALUES ('{revision}')"))
        connection.execute(text("CREATE TABLE sweep (registry TEXT)"))
    with pytest.raises(StoreError, match=r"before the first release, and unchanged.*--store URL") as caught:
        SweepStore(empty_url)
    if empty_url.startswith("sqlite"):
        path = empty_url.removeprefix("sqlite:///")
        assert f"`mv {path} {path}.old`" in str(caught.value)
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version", "sweep"]
    engine.dispose()


def test_the_migrations_can_be_reverted(empty_url: str) -> None:
    def revert(connection: Connection) -> list[str]:
        with Operations.context(MigrationContext.configure(connection)):
            scripts = ScriptDirectory(str(Path(database.__file__).parent / "migrations"))
            for revision in scripts.walk_revisions():
                revision.module.downgrade()
        return inspect(connection).get_table_names()

    with closing(SweepStore(empty_url)) as opened:
        assert opened.write(revert) == ["alembic_version"]


FORMER = (
    "INSERT INTO repository (host, name) VALUES ('registry.example.com', 'team/app')",
    "INSERT INTO sweep (registry, scope, started, ruleset) VALUES ('r', 's', '2026-11-24T05:00:00Z', 'x')",
    f"INSERT INTO manifest VALUES ('sha256:{'a' * 64}', '2026'), ('sha512:{'b' * 128}', NULL)",
    f"INSERT INTO leaf VALUES ('sha256:{'a' * 64}', 0, 'sha512:{'b' * 128}', 'm', 1, NULL, NULL)",
    "INSERT INTO tag (repository, name, manifest, first_seen, present_since, last_seen) "
    f"VALUES (1, '1.0', 'sha256:{'a' * 64}', '2026-11-24T05:00:00Z', 1, 1)",
    "INSERT INTO image (repository, digest, audit_key, first_seen, present_since, last_seen) "
    f"VALUES (1, 'sha512:{'b' * 128}', 'k', '2026-11-24T05:00:00Z', 1, 1)",
    f"INSERT INTO layer VALUES ('sha256:{'c' * 64}', 'sha256:{'d' * 64}', 7, 1)",
    f"INSERT INTO image_layer VALUES (1, 0, 'sha256:{'c' * 64}'), (1, 1, 'sha256:{'c' * 64}')",
    "INSERT INTO seen_image VALUES (1, 1)",
    "INSERT INTO seen_tag VALUES (1, 1)",
)
"""Rows of the revision 0001_sweeps."""


def contents(connection: Connection) -> list[Any]:
    """The rows of FORMER, as the schema of today has them."""
    joined = select(
        schema.tag.c.name, schema.tag.c.manifest, schema.leaf.c.digest, schema.image.c.digest, schema.image.c.layers
    ).where(
        schema.leaf.c.manifest == schema.tag.c.manifest, schema.leaf.c.digest == schema.image.c.digest,
        schema.seen.c.sweep == 1, schema.observed_image.c.observation == schema.seen.c.observation,
        schema.observed_image.c.image == schema.image.c.id,
        schema.observed_tag.c.observation == schema.seen.c.observation,
        schema.observed_tag.c.tag == schema.tag.c.id,
    )  # fmt: skip
    layers = select(schema.layer.c.id, schema.layer.c.digest, schema.layer.c.diff_id)
    return [tuple(row) for query in (joined, layers) for row in connection.execute(query)]


def test_a_store_of_the_former_version_keeps_its_rows(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = database._engine(database._parsed(empty_url))
    with engine.begin() as connection:
        upgrade_tables(connection, "0001_sweeps")
        assert not inspect(connection).has_table("acknowledgement")
        for statement in FORMER:
            connection.execute(text(statement))
        connection.execute(insert(schema.secret_key).values(one=1, bytes=bytes(32)))
    engine.dispose()
    digests = (f"sha256:{'a' * 64}", *2 * (f"sha512:{'b' * 128}",))
    layer = (1, f"sha256:{'c' * 64}", f"sha256:{'d' * 64}")
    for _ in range(2):
        with closing(SweepStore(empty_url)) as opened:
            assert opened.key == bytes(32)
            assert opened.read(contents) == [("1.0", *digests, (1, 1)), layer]
            started = opened.read(lambda c: c.execute(select(schema.sweep.c.started)).scalars().all())
            assert started == ["2026-11-24T05:00:00Z"]
            assert opened.read(lambda c: c.execute(select(schema.acknowledgement)).all()) == []
    with closing(SweepStore(empty_url)) as opened:
        values = {"repository": 1, "name": "2.0", "manifest": digests[0]}
        added = insert(schema.tag).values(**values, present_since=1, last_seen=1)  # the database continues its numbers
        assert opened.write(lambda c: c.execute(added).inserted_primary_key) == (2,)
        opened.write(lambda c: migrate_down(c, "0002_remediation"))
        old = "SELECT layer FROM image_layer JOIN layer ON layer.digest = image_layer.layer ORDER BY position"
        assert opened.read(lambda c: c.execute(text(old)).scalars().all()) == 2 * [f"sha256:{'c' * 64}"]
        for name in ("seen_image", "seen_tag"):
            assert opened.read(lambda c, own=name: c.execute(text(f"SELECT * FROM {own}")).all()) == [(1, 1)]  # type: ignore[misc]


ATTACHED = f"sha256-{'a' * 64}.sig"
"""A tag of a signature, which 0001_sweeps took for an image."""


def test_an_upgrade_deletes_signatures_that_were_taken_for_images(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = {"1.0": f"sha256:{'b' * 64}", ATTACHED: f"sha256:{'c' * 64}", "both": f"sha256:{'d' * 64}"}
    interval = "'2026-11-24T05:00:00Z', 1, 1"
    engine = database._engine(database._parsed(empty_url))
    with engine.begin() as connection:
        upgrade_tables(connection, "0001_sweeps")
        for statement in FORMER[:2]:
            connection.execute(text(statement))
        for digest in manifests.values():
            connection.execute(text(f"INSERT INTO manifest VALUES ('{digest}', NULL)"))
            connection.execute(text(f"INSERT INTO leaf VALUES ('{digest}', 0, '{digest}', 'm', 1, NULL, NULL)"))
            columns = "repository, digest, audit_key, first_seen, present_since, last_seen"
            connection.execute(text(f"INSERT INTO image ({columns}) VALUES (1, '{digest}', 'k', {interval})"))
        for name, digest in [*manifests.items(), (f"sha256-{'e' * 64}", manifests["both"])]:
            columns = "repository, name, manifest, first_seen, present_since, last_seen"
            connection.execute(text(f"INSERT INTO tag ({columns}) VALUES (1, '{name}', '{digest}', {interval})"))
    engine.dispose()
    with closing(SweepStore(empty_url)) as opened:
        images = opened.read(lambda c: c.execute(select(schema.image.c.digest)).scalars().all())
        leaves = opened.read(lambda c: c.execute(select(schema.leaf.c.digest)).scalars().all())
    assert (set(images), leaves) == ({manifests["1.0"], manifests["both"]}, [manifests["1.0"]])


def migrate_down(connection: Connection, revision: str) -> None:
    """Revert the migrations after a revision."""
    scripts = ScriptDirectory(str(Path(database.__file__).parent / "migrations"))
    with Operations.context(MigrationContext.configure(connection)):
        for script in scripts.iterate_revisions("head", revision):
            script.module.downgrade()


def test_every_column_has_a_comment() -> None:
    columns = [column for table in schema.metadata.tables.values() for column in table.columns]
    assert columns and not [str(column) for column in columns if not column.comment]


def test_a_store_keeps_its_key(url: str) -> None:
    keys = set()
    for _ in range(2):
        with closing(SweepStore(url)) as opened:
            keys.add(opened.key)
    assert len(keys) == 1 and len(keys.pop()) == 32


def test_several_may_open_a_new_store_at_once(empty_url: str) -> None:
    program = f"from auditor.fleet.store.database import SweepStore; print(SweepStore({empty_url!r}).key.hex())"
    command = [sys.executable, "-c", program]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: subprocess.run(command, capture_output=True, check=False), range(4)))
    assert [item.returncode for item in done] == [0] * 4, done[0].stderr
    assert len({item.stdout for item in done}) == 1


def test_a_second_store_in_a_process_keeps_the_locks_of_the_first(tmp_path: Path) -> None:
    """Or another process would take away the log that the first still writes."""
    url = f"sqlite:///{tmp_path}/s.sqlite"
    with closing(SweepStore(url, retry_s=0)) as first:
        SweepStore(url).close()
        program = f"from auditor.fleet.store.database import SweepStore; SweepStore({url!r}).close()"
        subprocess.run([sys.executable, "-c", program], check=True)
        key = {"host": "h", "name": "n"}
        first.write(lambda c: upsert(c, schema.repository, key, {}))
        with closing(SweepStore(url)) as other:
            assert len(other.read(lambda c: c.execute(select(schema.repository)).all())) == 1


def test_a_transaction_that_reads_sees_no_later_commit(url: str) -> None:
    row = {"holder": "h", "machine": "m", "process": "p", "acquired": "2026-11-24T05:00:00Z", "expires": 1}
    with closing(SweepStore(url)) as store, closing(SweepStore(url)) as other:

        def work(connection: Connection) -> list[int]:
            before = len(connection.execute(select(schema.lease)).all())
            other.write(lambda c: c.execute(insert(schema.lease).values(name="a", token="t", **row)))
            return [before, len(connection.execute(select(schema.lease)).all())]

        assert store.read(work) == [0, 0]
        assert len(store.read(lambda c: c.execute(select(schema.lease)).all())) == 1


def test_a_read_within_a_read_sees_its_snapshot(url: str) -> None:
    row = {"holder": "h", "machine": "m", "process": "p", "acquired": "2026-11-24T05:00:00Z", "expires": 1}
    with closing(SweepStore(url)) as store, closing(SweepStore(url)) as other:

        def leases() -> int:
            return len(store.read(lambda c: c.execute(select(schema.lease)).all()))

        def work(_: Connection) -> list[int]:
            before = leases()
            other.write(lambda c: c.execute(insert(schema.lease).values(name="a", token="t", **row)))
            store.write(lambda c: c.execute(insert(schema.lease).values(name="b", token="t", **row)))
            return [before, leases()]

        assert store.read(work) == [0, 0]
        assert leases() == 2


def test_a_write_within_a_write_is_committed_or_undone_with_it(url: str) -> None:
    with closing(SweepStore(url)) as store:

        def row(key: str) -> None:
            store.write(lambda c: c.execute(insert(schema.record).values(key=key, data=b"", size=0, used=0)))

        def two(name: str) -> None:
            row(f"{name} 1")
            row(f"{name} 2")

        def failing(_: Connection) -> None:
            two("undone")
            raise StoreError("no")

        with pytest.raises(StoreError, match="no"):
            store.write(failing)
        store.write(lambda _: two("committed"))
        row("later")
        keys = store.read(lambda c: sorted(c.execute(select(schema.record.c.key)).scalars()))
    assert keys == ["committed 1", "committed 2", "later"]


def test_several_may_write_one_row_at_once(url: str) -> None:
    with closing(SweepStore(url)) as opened:
        key = {"host": "h", "name": "n"}
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: opened.write(lambda c: upsert(c, schema.repository, key, {})), range(16)))
        assert len(opened.read(lambda c: c.execute(select(schema.repository)).all())) == 1


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("secret_key", {"one": 2, "bytes": bytes(32)}),
        ("layer", {"digest": "sha256:00", "diff_id": "sha256:11", "size": -1}),
        ("record", {"key": "a", "data": b"abc", "size": 2, "used": 1}),
        ("acknowledgement", {"secret": b"short", "reason": "r", "author": "a", "created": "2026"}),
        ("alert", {"receiver": bytes(16), "secret": bytes(16), "repository": 1, "event": "other"}),
        ("sweep", {"registry": "r", "scope": "s", "ruleset": "x", "started": "2026-02", "finished": "2026-01"}),
    ],
)
def test_constraints_refuse_invalid_rows(url: str, table: str, values: dict[str, Any]) -> None:
    with closing(SweepStore(url)) as opened:
        with pytest.raises(StoreError) as caught:
            opened.write(lambda c: c.execute(insert(schema.metadata.tables[table]).values(**values)))
        assert isinstance(caught.value.__cause__, IntegrityError)


def test_the_time_of_the_attempts_counts_while_a_database_is_unavailable(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that drops all packets lets each attempt take a minute."""
    now, attempts = 1000.0, 0

    def pause(seconds: float) -> None:
        nonlocal now
        now += seconds

    def work(_: Connection) -> None:
        nonlocal attempts
        attempts += 1
        pause(60)
        raise OperationalError("SELECT 1", {}, Exception("no answer within 60 s"))

    monkeypatch.setattr(sweeps.store, "_retry_s", 300)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "sleep", pause)
    with pytest.raises(StoreError, match="no answer within 60 s"):
        sweeps.store.read(work)
    assert attempts > 3 and now <= 1000 + 60 + 300 + 75


def test_a_store_of_a_newer_program_is_refused(url: str) -> None:
    with closing(SweepStore(url)) as opened:
        opened.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999_later'")))
    with pytest.raises(StoreError, match="Upgrade image-audit"):
        SweepStore(url)


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    with closing(SweepStore(f"sqlite:///{tmp_path}/deep/er/s.sqlite")):
        assert stat.S_IMODE((tmp_path / "deep/er/s.sqlite").stat().st_mode) == 0o600


def test_the_default_lies_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_url() == "sqlite:////data/image-audit/registry.sqlite"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_url() == "sqlite:////home/me/.local/share/image-audit/registry.sqlite"


@pytest.mark.parametrize("url", ["nonsense", "nosuch://host/db", "postgresql://u:pw@127.0.0.1:x/db"])
def test_an_invalid_url_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="--store"):
        SweepStore(url)


def test_a_password_in_the_url_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        SweepStore("postgresql://me:open-sesame@127.0.0.1:1/db", retry_s=0)
    assert "open-sesame" not in str(caught.value) and "***" in str(caught.value)


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        SweepStore(f"sqlite:///{tmp_path}/s", retry_s=0)


def test_without_the_extra_the_command_says_what_to_install(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "hide").mkdir()
    (tmp_path / "hide/sitecustomize.py").write_text(
        "import importlib.util as u, sys\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'sqlalchemy' else find(name, *a)\n"
    )
    paths = os.pathsep.join([str(tmp_path / "hide"), *sys.path])
    done = cli("registry", "scan", "127.0.0.1:1", PYTHONPATH=paths)
    assert done.status == 2 and "pip install '.[fleet]'" in done.err and len(done.err.splitlines()) == 1
    assert cli("scan", "--help", PYTHONPATH=paths).status == 0


def test_scan_needs_no_database(cli: Cli) -> None:
    program = "import sys; import auditor.cli.scan; print([m for m in sys.modules if m in ('sqlalchemy', 'alembic')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=cli.environment)
    assert done.stdout.strip() == b"[]"
