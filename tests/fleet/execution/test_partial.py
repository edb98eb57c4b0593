"""Sweeps of images that can't be read in full: no output says clean without that, and `--strict` fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from auditor.report.schema import json_schema
from tests.conftest import Cli
from tests.fleet.planted import Remote, application
from tests.images import image, layer, token

pytestmark = pytest.mark.registry
SCAN = ("registry", "scan", "--store", "sqlite:///store.sqlite")
DAMAGED = image(layer({"app/lib.zip": b"PK\x03\x04" + bytes(60), "app/broken.tar.gz": b"\x1f\x8b\x08" + bytes(40)}))


@pytest.fixture(autouse=True)
def images(address: str) -> None:
    remote = Remote(address)
    remote.push("team/damaged", "1", DAMAGED)
    remote.push("team/clean", "1", application(0, "clean", None))


def test_they_are_counted_in_json_table_and_dashboard(cli: Cli, address: str) -> None:
    done = cli(*SCAN, address, "--format", "json", "--report", "site")
    Draft202012Validator(json_schema("image-audit-sweep-1")).validate(done.json)
    assert {item["repository"]: item["skipped"] for item in done.json["images"]} == {"team/clean": 0, "team/damaged": 2}
    assert done.status == 0 and done.err.splitlines()[-1].startswith("image-audit: 1 image was not read in full")
    table = cli("registry", "report", "--store", "sqlite:///store.sqlite").out
    assert "team/damaged:1: 2 items skipped" in table and "no secrets found in what was read" in table
    site = cli.folder / "site"
    index = (site / "index.html").read_text()
    assert 'href="#partial">1 image</a>' in index and "No secrets found in what was read" in index
    assert 'class="card verdict fine"' not in index
    header, *rows = (Path(site) / "csv/images.csv").read_text().splitlines()
    column = header.split(",").index("skipped")
    assert [row.split(",")[column] for row in rows] == ["0", "2"]


@pytest.mark.parametrize("store", [("--store", "sqlite:///store.sqlite"), ()], ids=["again", "new"])
def test_under_strict_they_fail_the_sweep_each_time(cli: Cli, address: str, store: tuple[str, ...]) -> None:
    for _ in range(2):
        done = cli("registry", "scan", *store, address, "--strict", "-q")
        assert (done.status, done.err.count("\n")) == (2, 1)
    assert cli("registry", "scan", *store, f"{address}/team/clean", "--strict", "-q").status == 0


def test_a_found_secret_does_not_hide_that_a_part_was_not_read(cli: Cli, address: str) -> None:
    Remote(address).push("team/leaking", "1", application(0, "leaking", token(1)))
    assert cli(*SCAN, address, "-q").status == 1
    assert cli(*SCAN, address, "-q", "--strict").status == 2
    assert "; 1 image not read in full" in cli(*SCAN, address).out


def test_one_without_a_tag_counts_until_it_is_deleted(cli: Cli, address: str) -> None:
    remote, digest = Remote(address), DAMAGED.blobs("gzip")[1]["digest"]
    assert cli(*SCAN, address, "-q", "--strict").status == 2
    remote.push("team/damaged", "1", application(0, "other", None))
    for _ in range(2):
        done = cli(*SCAN, address, "--strict", "--format", "json", "--report", "site")
        Draft202012Validator(json_schema("image-audit-sweep-1")).validate(done.json)
        assert done.status == 2 and [item["skipped"] for item in done.json["withdrawn"]] == [2]
        assert "No secrets found in what was read" in (cli.folder / "site/index.html").read_text()
    assert f"team/damaged@{digest[:19]}: 2 items skipped" in cli(*SCAN, address).out
    remote.delete("team/damaged", digest)
    assert [cli(*SCAN, address, "-q", "--strict").status for _ in range(2)] == [0, 0]
