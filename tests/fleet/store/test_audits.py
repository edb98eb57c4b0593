"""Audits that are stored together leave the rows of audits that are stored one by one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from auditor.codec.descriptors import Descriptor
from auditor.core.digests import Digest
from auditor.core.limits import DEFAULT
from auditor.fleet.store import ledger
from auditor.fleet.store import schema as t
from auditor.fleet.store.audits import ImageRows, save_images
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.layer_records import StoredRecords
from auditor.fleet.store.observations import stored_repositories
from auditor.fleet.store.presence import Sweep
from auditor.images.resolve import open_target
from auditor.pipeline import Request, audit_image
from auditor.scan import Scanner
from auditor.store.records import Records
from tests.images import OCI, Built, image, layer, step, token

_HOST = "registry.example.com"
_TABLES = (t.manifest, t.leaf, t.layer, t.image, t.report, t.finding)


def built(*numbers: int) -> Built:
    """An image with a shared layer, and one with these secrets."""
    own = {f"app/{number}.env": f"TOKEN={token(number)}\n" for number in numbers} or {"app/readme": "text\n"}
    return image(layer({"etc/base": "base\n"}), layer(own), history=[step("COPY base"), step("COPY app")])


_IMAGES = (built(1), built(2, 3), built(), built(4))


@pytest.fixture
def stores(tmp_path: Path, template: Path) -> Iterator[tuple[SweepStore, SweepStore]]:
    """Two stores with the same key."""
    paths = [shutil.copy(template, tmp_path / "one.sqlite"), tmp_path / "other.sqlite"]
    SweepStore(f"sqlite:///{paths[0]}").close()  # makes the key
    shutil.copy(*paths)
    with closing(SweepStore(f"sqlite:///{paths[0]}")) as one, closing(SweepStore(f"sqlite:///{paths[1]}")) as other:
        yield one, other


def begin(store: SweepStore, day: int) -> tuple[Sweep, list[int]]:
    """Begin a sweep; return it with the ids of two repositories."""
    sweep = ledger.begin_sweep(store, _HOST, "0" * 64, "rules", f"2026-11-{day}T05:00:00Z")
    return sweep, [found.id for found in stored_repositories(store, _HOST, ["team/app", "team/web"])]


def audited(store: SweepStore, scanner: Scanner, folder: Path, number: int) -> tuple[Descriptor, Any]:
    """Audit one of the images."""
    folder = folder / f"image{number}"
    if not folder.exists():
        _IMAGES[number].oci_folder(folder)
    opened = open_target(str(folder), DEFAULT)[0]
    named = replace(opened, target=f"docker://{_HOST}/app:{number}", names=(f"{_HOST}/app:{number}",))
    audit = audit_image(named, scanner, Request(), Records(scanner, StoredRecords(store)))
    return Descriptor(OCI + "manifest.v1+json", Digest(str(opened.digest)), 1, {}, None), audit


def rows_of(
    store: SweepStore, scanner: Scanner, folder: Path, sweep: Sweep, repositories: Sequence[int], numbers: Sequence[int]
) -> list[ImageRows]:
    """Return what is stored of some images, in each of the repositories."""
    audits = [audited(store, scanner, folder, number) for number in numbers]
    return [ImageRows.of(audit, leaf, own, "key", sweep) for leaf, audit in audits for own in repositories]


def content(store: SweepStore) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of the tables of images, with the digests of layers instead of their ids."""
    layers = {row.id: row.digest for row in store.read(lambda c: c.execute(select(t.layer)).all())}
    found = dict[str, list[tuple[Any, ...]]]()
    for table in _TABLES:
        rows = store.read(lambda c, own=table: c.execute(select(own)).mappings().all())  # type: ignore[misc]
        if table is t.layer:
            rows = [{**row, "id": None} for row in rows]
        elif table is t.image:
            rows = [{**row, "layers": [layers[number] for number in row["layers"]]} for row in rows]
        found[table.name] = sorted((tuple(row.values()) for row in rows), key=repr)
    return found


def test_the_rows_are_those_of_images_that_are_stored_one_by_one(
    stores: tuple[SweepStore, SweepStore], scanner: Scanner, tmp_path: Path
) -> None:
    for store, is_together in zip(stores, (True, False), strict=True):
        for day, numbers in ((24, (0, 2)), (25, (0, 1, 2, 3))):  # the second sweep updates, and adds
            sweep, repositories = begin(store, day)
            rows = rows_of(store, scanner, tmp_path, sweep, repositories, numbers)
            for group in [rows] if is_together else [[row] for row in rows]:
                store.write(lambda c, own=group: save_images(c, sweep, own))  # type: ignore[misc]  # noqa: B023
    assert content(stores[0]) == content(stores[1])
    assert {name: len(rows) for name, rows in content(stores[0]).items()} == {
        "manifest": 4, "leaf": 4, "layer": 5, "image": 8, "report": 6, "finding": 8,
    }  # fmt: skip


def test_a_repeated_transaction_changes_nothing(
    stores: tuple[SweepStore, SweepStore], scanner: Scanner, tmp_path: Path
) -> None:
    store = stores[0]
    sweep, repositories = begin(store, 24)
    rows = rows_of(store, scanner, tmp_path, sweep, repositories, range(4))
    store.write(lambda c: save_images(c, sweep, rows))
    before = content(store)
    store.write(lambda c: save_images(c, sweep, rows))
    assert content(store) == before


def test_each_image_keeps_what_its_own_audit_does_not_report(
    stores: tuple[SweepStore, SweepStore], scanner: Scanner, tmp_path: Path
) -> None:
    store = stores[0]
    sweep, repositories = begin(store, 24)
    rows = rows_of(store, scanner, tmp_path, sweep, repositories[:1], range(4))
    store.write(lambda c: save_images(c, sweep, rows))
    one, two, clean, last = rows
    changed = [
        replace(one, findings={}, report=None),
        replace(two, findings=dict([*two.findings.items()][:1])),
        clean,
        replace(last, findings={}, transient=True),
    ]
    store.write(lambda c: save_images(c, sweep, changed))
    found = store.read(lambda c: c.execute(select(t.finding.c.finding, t.finding.c.reported)).all())
    hidden = {row.finding for row in found if not row.reported}
    assert hidden == {*one.findings, *[*two.findings][1:]}
    assert len(content(store)["report"]) == 2


def test_many_images_take_a_statement_for_each_table(
    stores: tuple[SweepStore, SweepStore], scanner: Scanner, tmp_path: Path
) -> None:
    counts = []
    for store, numbers in zip(stores, ((1,), range(4)), strict=True):
        sweep, repositories = begin(store, 24)
        rows = rows_of(store, scanner, tmp_path, sweep, repositories, numbers)
        statements = list[str]()
        event.listen(store._engine, "before_cursor_execute", lambda *given, own=statements: own.append(given[2]))
        store.write(lambda c, own=rows: save_images(c, sweep, own))  # type: ignore[misc]  # noqa: B023
        counts.append(len(statements))
    assert counts[0] == counts[1] < 20
