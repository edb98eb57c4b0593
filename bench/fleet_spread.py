"""The dashboard of a registry with secrets everywhere: `python -m bench.fleet_spread`.

50,000 images in 2,000 repositories of 1,000 owners. One secret is in 20,000 images, 5,000 further images have a secret
of their own, and one has 5,000. The rows are written to a SQLite store directly, as a sweep would have left them.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from auditor.api import components, rulesets
from auditor.codec.descriptors import Descriptor
from auditor.core.command_options import SweepOptions
from auditor.core.digests import Digest
from auditor.core.limits import DEFAULT
from auditor.fleet.store import ledger, queries
from auditor.fleet.store import schema as t
from auditor.fleet.store.audits import ImageRows, save_images
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.layer_records import StoredRecords
from auditor.fleet.store.observations import ObservedState, record_observation, save_seen, stored_repositories
from auditor.fleet.store.presence import Sweep
from auditor.images.resolve import open_target
from auditor.pipeline import Request, audit_image
from auditor.scan import Scanner
from auditor.store.records import Records
from bench.fleet_pages import measured_pages
from tests.images import OCI, image, layer, token

HOST, STARTED, FINISHED = "registry.example.com", "2026-11-20T05:00:00Z", "2026-11-20T06:00:00Z"
REPOSITORIES, TAGS, OWNERS = 2_000, 25, 1_000
SHARED, SINGLE = 10, 2
"""Images of each repository with the shared secret, and with a secret of their own; every other one has one more."""
MANY = 5_000
_PER_FILE = 1_000  # a limit of scans
_FIRST = 1_000  # row id of the first tag and image
Row = dict[str, Any]


def fill(store: SweepStore, folder: Path) -> None:
    """Write one finished sweep."""
    options = SweepOptions()
    names = [f"team{number % OWNERS:03}/app{number:04}" for number in range(REPOSITORIES)]
    repositories = [row.id for row in stored_repositories(store, HOST, names)]
    with components.scanner(options, rulesets.ruleset(options)) as scanner:
        sweep = ledger.begin_sweep(store, HOST, "0" * 64, scanner.ruleset.digest, STARTED)
        one, many = (_audited(store, scanner, sweep, repositories[0], folder, count) for count in (1, MANY))

    def write(connection: Connection) -> None:
        report, finding, own_image = (
            dict(connection.execute(select(table).where(column == one)).mappings().one())
            for table, column in ((t.report, t.report.c.image), (t.finding, t.finding.c.image), (t.image, t.image.c.id))
        )
        observations = []
        for number, repository in enumerate(repositories):
            ids = range(_FIRST + number * TAGS, _FIRST + (number + 1) * TAGS)
            tags = _add_tags(connection, sweep, repository, ids)
            _add(connection, t.image, [own_image | tag for tag in tags])
            found = list(_findings(finding, ids, SINGLE + number % 2))
            _add(connection, t.finding, found)
            _add(connection, t.report, [report | {"image": row["image"]} for row in found])
            images = [*ids, many] if number == 0 else ids
            state = ObservedState(b"n" * 16, b"d" * 16)
            observations.append(record_observation(connection, repository, state, 0, ids, images))
        save_seen(connection, sweep.id, observations, resumed=False)

    store.write(write)
    ledger.finish_sweep(store, sweep, FINISHED, queries.counts(store, sweep.id))


def _audited(store: SweepStore, scanner: Scanner, sweep: Sweep, repository: int, folder: Path, count: int) -> int:
    """Audit an image with a number of secrets, and store it; return the id of its row."""
    numbers = [range(start, min(start + _PER_FILE, count)) for start in range(0, count, _PER_FILE)]
    files = {f"srv/app/{own[0]}.env": "".join(f"TOKEN_{n}={token(n)}\n" for n in own) for own in numbers}
    opened = open_target(str(image(layer(files)).oci_folder(folder / str(count))), DEFAULT)[0]
    audit = audit_image(opened, scanner, Request(), Records(scanner, StoredRecords(store)))
    assert len(audit.findings) == count
    leaf = Descriptor(OCI + "manifest.v1+json", Digest(str(opened.digest)), 1, {}, None)
    rows = ImageRows.of(audit, leaf, repository, "key", sweep)
    store.write(lambda c: save_images(c, sweep, [rows]))
    query = select(t.image.c.id).where(t.image.c.digest == str(opened.digest))
    return int(store.read(lambda c: c.execute(query).scalar_one()))


def _add_tags(connection: Connection, sweep: Sweep, repository: int, ids: range) -> list[Row]:
    """Add tags and manifests; return the values of their images that differ."""
    digests = {number: f"sha256:{number:064x}" for number in ids}
    interval = {"present_since": sweep.id, "last_seen": sweep.id}
    leaf = {"position": 0, "media_type": OCI + "manifest.v1+json", "size": 1, "platform": "linux/amd64"}
    _add(connection, t.manifest, [{"digest": digest} for digest in digests.values()])
    _add(connection, t.leaf, [{"manifest": digest, "digest": digest, **leaf} for digest in digests.values()])
    tags = [
        {"id": number, "repository": repository, "name": f"1.{number % TAGS}", "manifest": digest, **interval}
        for number, digest in digests.items()
    ]
    _add(connection, t.tag, tags)
    return [{"id": number, "repository": repository, "digest": digest} for number, digest in digests.items()]


def _findings(row: Row, images: range, single: int) -> Iterator[Row]:
    common = {key: value for key, value in row.items() if key != "id"}
    for number, image_id in enumerate(images[: SHARED + single]):
        own = {} if number < SHARED else {"secret": secrets.token_bytes(16)}
        yield {**common, "image": image_id, **own}


def _add(connection: Connection, table: Any, rows: list[Row]) -> None:
    connection.execute(insert(table), rows)


def main() -> None:
    """Fill a store, measure its dashboard, print."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/store.sqlite"
        with closing(SweepStore(url)) as store:
            fill(store, Path(folder))
        print(measured_pages(url, OWNERS))


if __name__ == "__main__":
    main()
