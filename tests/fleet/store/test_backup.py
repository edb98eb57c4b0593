"""Backup and restore as docs/registry.md describes them: nothing that people decided is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from auditor.fleet.remediation.locations import locate, locations_json
from auditor.fleet.service.alerts import Event
from auditor.fleet.store import database, image_list, queries
from auditor.fleet.store.acknowledgements import acknowledgements, delete_acknowledgement, save_acknowledgement
from auditor.fleet.store.database import SweepStore
from auditor.scan import Scanner
from tests.fleet.alerted import told_alerts
from tests.fleet.store.test_upgrade import RELEASED, write_store
from tests.fleet.stored import OWNED, POLICY, Stored, service
from tests.images import token

NOW = "2026-11-24T07:00:00Z"


def contents(store: SweepStore) -> Mapping[str, Any]:
    """All that a user sees of a store, and the key that its ids depend on."""
    sweep = queries.sweeps(store)[-1]
    secrets = sorted({row.secret for row in queries.findings(store, sweep.id)})
    return {
        "key": store.key,
        "sweeps": queries.sweeps(store),
        "findings": queries.findings(store, sweep.id),
        "images": image_list.images(store, sweep),
        "reports": [queries.report(store, image.id) for image in image_list.images(store, sweep)],
        "withdrawn": image_list.withdrawn(store, sweep.id),
        "acknowledged": acknowledgements(store),
        "locations": [locations_json(locate(store, secret, POLICY)) for secret in secrets],
    }


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def back_up(url: str, file: Path) -> None:
    if url.startswith("sqlite"):
        run("sqlite3", url.removeprefix("sqlite:///"), f"VACUUM INTO '{file}'")
    else:
        run("pg_dump", "--format=custom", f"--file={file}", url)


def restore(url: str, file: Path) -> None:
    if url.startswith("sqlite"):
        run("sqlite3", url.removeprefix("sqlite:///"), f".restore '{file}'")
    else:
        drop = ("--command", "DROP SCHEMA public CASCADE", "--command", "CREATE SCHEMA public")
        subprocess.run(("psql", "--quiet", url, *drop), capture_output=True, check=True)  # says what else it drops
        run("pg_restore", "--no-owner", "--single-transaction", f"--dbname={url}", str(file))


def test_a_restored_store_is_the_one_that_was_backed_up(url: str, scanner: Scanner, tmp_path: Path) -> None:
    first, second = service("a", token(1)), service("b", token(2), hidden=1)
    with closing(SweepStore(url)) as store:
        stored = Stored(store, scanner, tmp_path / "images")
        stored.sweep("2026-11-23", {"team/app": {"1": first, "2": second}})
        stored.sweep("2026-11-24", {"team/app": {"2": second}}, pullable=True)
        secret = queries.findings(store, 2)[0].secret
        save_acknowledgement(store, secret, "vendor key", "ada", NOW, None)
        assert len(told_alerts(store, OWNED)) == 1
        before = contents(store)
        assert before["withdrawn"] and before["acknowledged"]
        back_up(url, tmp_path / "backup")
        delete_acknowledgement(store, secret)
        stored.sweep("2026-11-25", {"team/app": {"2": second}}, pullable=False)
        assert contents(store) != before
    restore(url, tmp_path / "backup")
    with closing(SweepStore(url)) as store:
        assert contents(store) == before
        assert told_alerts(store, OWNED) == (), "receivers are not told again"
        Stored(store, scanner, tmp_path / "again").sweep("2026-11-26", {"team/app": {"2": second}}, pullable=False)
        assert [one.event for one in told_alerts(store, OWNED)] == [Event.GONE]


def test_a_backup_of_an_older_version_replaces_an_upgraded_store(empty_url: str, tmp_path: Path) -> None:
    write_store(empty_url, RELEASED[0])
    back_up(empty_url, tmp_path / "backup")
    with closing(SweepStore(empty_url)) as store:
        upgraded = contents(store)
    restore(empty_url, tmp_path / "backup")
    assert revision(empty_url) == RELEASED[0].name.partition(".")[0]
    with closing(SweepStore(empty_url)) as store:
        assert contents(store) == upgraded


def revision(url: str) -> str:
    engine = database._engine(database._parsed(url))
    with engine.begin() as connection:
        found = database._revision(connection)
    engine.dispose()
    return found or ""
