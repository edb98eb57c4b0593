"""Each limit of the table: settable by every way, in force wherever the work is done, and named where it is reached."""

from __future__ import annotations

import base64
import itertools
import json
import lzma
import pickle
import random
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from auditor.api.audit import Report, audit
from auditor.cli.option_types import LimitValue
from auditor.config.file import load_config
from auditor.config.resolve import resolve
from auditor.core.errors import AuditError
from auditor.core.limits import AUDITS, BY_NAME, DEFAULT, RECORDS, TABLE, limits_of
from auditor.core.options import AuditOptions
from auditor.detect.rules import Ruleset
from auditor.fleet.execution.dask_worker import RulesData, SoftwareVersions, SweepPlugin
from auditor.fleet.execution.engine import RegistryEndpoint
from auditor.registry.client import Client
from auditor.registry.repository import repositories
from tests.conftest import Cli
from tests.extract.test_hostile import packed
from tests.hostile import registries as attacks
from tests.hostile.case import Build, image_of, saved
from tests.hostile.documents import deep, nested
from tests.hostile.inside import database
from tests.hostile.layers import stored_with_diff_id
from tests.hostile.wire import RUNNING, endless, keep_logins, redirect, reply
from tests.images import file, gzipped, image, layer, step, symlink, token

NAMES = [limit.name for limit in TABLE]
SECRET = layer({"app/.env": "".join(f"TOKEN_{number}={token(number)}\n" for number in range(30))})


def zipped(members: Mapping[str, bytes]) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return out.getvalue()


def holding(path: str, data: bytes) -> Build:
    return image_of(layer({path: data}))


def stored(data: bytes) -> Build:
    """An image whose layer is compressed."""

    def build(folder: Path) -> str:
        (folder / "image.tar").write_bytes(stored_with_diff_id(data))
        return str(folder / "image.tar")

    return build


def xz(folder: Path) -> str:
    """An image that is compressed as a whole, by xz."""
    path = image(SECRET).docker_archive(folder / "image.tar", squeeze=lzma.compress)
    return str(path)


def encoded(times: int) -> bytes:
    data = b"a secret in a text that is encoded over and over"
    for _ in range(times):
        data = base64.b64encode(data)
    return b"key: " + data + b"\n"


@dataclass(frozen=True)
class Reach:
    """An input that reaches a limit when it is set to `value`, and with it `more` limits; `named` is the one named."""

    value: int
    build: Build
    more: Mapping[str, int] | None = None
    named: str = ""


_ZIP = zipped({"a.txt": b"hello\n" * 99, "b.txt": b"hello\n" * 99})
_ZIPS = image_of(layer({f"{n}.zip": zipped({"zeros": bytes(100_000)}) for n in range(99)}))
_ZEROS = stored(gzipped(layer({"zeros": bytes(1 << 20)})))
_LARGE = database("CREATE TABLE t (a)", f"INSERT INTO t VALUES ('{'x' * 9_000_000}')")
_LABELS = saved(image(SECRET, config={"Labels": {"a": "hello hello", "b": "hello hello"}}))
_STATUS = holding("var/lib/dpkg/status", b"Package: a\nVersion: 1\n" * 9)
_TEXT = b"".join(b"key%d: %s\n" % (n, base64.b64encode(b"a secret of some length, number %d" % n)) for n in range(9))

REACH = {
    "json-bytes": Reach(50, image_of(SECRET)),
    "json-total": Reach(100, image_of(SECRET)),
    "json-depth": Reach(4, saved(image(SECRET, config={"Labels": deep(3)}))),
    "json-values": Reach(5, image_of(SECRET)),
    "index-depth": Reach(1, nested(2, 1)),
    "manifests": Reach(1, nested(1, 2)),
    "layers": Reach(1, image_of(SECRET, layer({"b": "b"}))),
    "image-members": Reach(1, image_of(SECRET)),
    "texts": Reach(1, _LABELS),
    "text-bytes": Reach(5, _LABELS),
    "findings-image": Reach(1, image_of(SECRET)),
    "header-bytes": Reach(100, image_of(layer(file("a", b"a", pax={"comment": "c" * 200})))),
    "headers-bytes": Reach(1024, image_of(layer(file("a", b"a", pax={"comment": "c" * 2000})))),
    "path-length": Reach(90, image_of(layer({"n" * 99: "a"}))),
    "path-depth": Reach(3, image_of(layer({"a/b/c/d": "a"}))),
    "link-steps": Reach(1, image_of(layer(symlink("a", "b/c"), file("a/x", b"x")))),
    "entries": Reach(4, image_of(layer({str(number): b"a" for number in range(9)}))),
    "paths-bytes": Reach(1000, image_of(layer({str(number): b"a" for number in range(99)}))),
    "layer-bytes": Reach(2000, image_of(SECRET)),
    "layer-growth-free": Reach(1000, _ZEROS, {"layer-growth": 2}, "layer-growth"),
    "layer-growth": Reach(2, _ZEROS, {"layer-growth-free": 1000}),
    "layer-growth-large": Reach(2, _ZEROS, {"layer-growth-free": 1000}),
    "decoder-memory": Reach(1000, xz),
    "raw-hits": Reach(3, image_of(SECRET)),
    "findings-layer": Reach(1, image_of(SECRET)),
    "unpacked-layer-free": Reach(9, _ZIPS, {"unpacked-layer": 1}, "unpacked-layer"),
    "unpacked-layer": Reach(1, _ZIPS, {"unpacked-layer-free": 9}),
    "databases-bytes": Reach(9, _STATUS),
    "archive-bytes": Reach(9, holding("a.zip", _ZIP)),
    "indexed-bytes": Reach(1 << 20, holding("a.zip", zipped({"a": random.Random(1).randbytes(3 << 20)}))),
    "database-bytes": Reach(9, _STATUS),
    "nesting": Reach(1, holding("a.zip", zipped({"b.zip": zipped({"c.zip": _ZIP})}))),
    "members": Reach(1, holding("a.zip", _ZIP)),
    "git-objects": Reach(1, holding("a.pack", packed((3, b"", b"hello", None), (3, b"", b"world", None)))),
    "member-bytes": Reach(9, holding("a.zip", _ZIP)),
    "unpacked-bytes": Reach(9, holding("a.zip", _ZIP)),
    "growth-free": Reach(9, holding("a.zip", _ZIP), {"growth": 1}, "growth"),
    "growth": Reach(1, holding("a.zip", _ZIP), {"growth-free": 9}),
    "file-time": Reach(1, holding("a.zip", _ZIP)),
    "stretches": Reach(1, holding("app/a.yaml", _TEXT)),
    "codings": Reach(1, holding("app/a.yaml", encoded(4))),
    "notes": Reach(1, holding("a.zip", _ZIP), {"member-bytes": 9}),
    "findings-file": Reach(1, image_of(SECRET)),
    "reader-memory": Reach(1 << 20, holding("a.db", _LARGE)),
    "registry-time": Reach(1, attacks.pulled(manifest=lambda _: attacks.trickled())),
    "registry-wait": Reach(1, attacks.pulled(manifest=lambda _: reply(b"{}", "503 Busy", "Retry-After: 9999"))),
    "registry-retry": Reach(1, attacks.pulled(manifest=lambda _: reply(b"{}", "503 Busy", "Retry-After: 2"))),
    "registry-headers": Reach(2000, attacks.pulled(
        manifest=lambda _: endless(b"HTTP/1.1 100 Continue\r\n\r\n"))),
    "registry-error": Reach(20, attacks.pulled(manifest=lambda _: reply(endless(), "418 No"))),
    "registry-redirects": Reach(1, attacks.pulled(layer=lambda asked: redirect(asked.path))),
    "registry-pages": Reach(3, attacks.listed(catalog=attacks.pages)),
    "registry-names": Reach(3, attacks.listed(catalog=attacks.pages)),
}  # fmt: skip
_LISTED = ("registry-pages", "registry-names")
_SHOWN = "line-shown"


@pytest.fixture(autouse=True)
def registries_end() -> Iterator[None]:
    yield
    while RUNNING:
        RUNNING.pop().close()


@pytest.fixture
def quick_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by which each look takes two seconds: nobody waits."""
    seconds = itertools.count(step=2)
    monkeypatch.setattr("auditor.extract.budget.time", SimpleNamespace(monotonic=lambda: next(seconds)))


def lines(target: str, limits: Mapping[str, int], folder: Path, **options: Any) -> str:
    """What an audit says of what it did not read, or why it ended."""
    try:
        report = audit(target, limits=limits, cache_dir=folder, **{"cache": False, "jobs": 2, **options})
    except AuditError as exc:
        return str(exc)
    return "\n".join(item.reason for item in report.skipped)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*_LISTED, _SHOWN)])
def test_a_limit_that_is_reached_is_named(
    name: str, tmp_path: Path, cache: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    if name == "file-time":
        request.getfixturevalue("quick_clock")
    reach = REACH[name]
    target = reach.build(tmp_path)
    keep_logins(tmp_path / "docker")
    said = lines(target, {name: reach.value, **(reach.more or {})}, cache)
    assert f"(limit {reach.named or name})" in said, said


@pytest.mark.parametrize("name", _LISTED)
def test_a_limit_of_lists_is_named(name: str, tmp_path: Path) -> None:
    host = REACH[name].build(tmp_path)
    client = Client(host, limits=limits_of({name: REACH[name].value}))
    with pytest.raises(AuditError, match=re.escape(f"(limit {name})")):
        list(repositories(client))


def test_what_is_shown_of_a_line_is_marked(tmp_path: Path, cache: Path) -> None:
    built = image(SECRET, history=[step("RUN " + "x" * 500)])
    report = audit(saved(built)(tmp_path), limits={_SHOWN: 20}, cache=False, cache_dir=cache)
    assert isinstance(report, Report)
    assert "x" * 10 in report.render("table") and "x" * 20 not in report.render("table")
    assert "…" in report.render("table") and "x" * 500 in report.render("json")


def test_every_limit_is_reached_by_a_test() -> None:
    assert {*REACH, _SHOWN} == set(NAMES)


def test_an_honest_image_reaches_none(tmp_path: Path, cache: Path) -> None:
    assert lines(image_of(SECRET, layer({"a.zip": _ZIP}))(tmp_path), {}, cache) == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_is_settable_by_option_and_config_and_the_option_wins(name: str, tmp_path: Path) -> None:
    limit = BY_NAME[name]
    path = tmp_path / "config.yaml"
    path.write_text(f"limits:\n  {name}: 7\n")
    config = load_config(path)
    assert limit.value_in(resolve(AuditOptions, config).limits) == 7
    option = LimitValue().convert(f"{name}=9", None, None)
    assert limit.value_in(resolve(AuditOptions, config, {"limits": [option]}).limits) == 9
    for bad in ("0", "-1", "", "x", "1.5"):
        with pytest.raises(click.UsageError):
            LimitValue().convert(f"{name}={bad}", None, None)
    assert limit.parse(limit.shown(limit.default).removesuffix("-fold")) == limit.default


def test_commands_take_them_from_options_and_from_the_config(cli: Cli) -> None:
    target = holding("a.zip", _ZIP)(cli.folder)
    (cli.folder / ".image-audit.yaml").write_text("limits: {members: 1}\n")
    assert "(limit members)" in cli("scan", target, "--format", "json").out
    assert "(limit" not in cli("scan", target, "--format", "json", "--limit", "members=2").out
    for command in (("history", target), ("recover", target, "/a.zip", "-o", "-"), ("flatten", target, "-o", "x.tar")):
        done = cli(*command, "--limit", "image-members=1")
        assert done.status == 2 and "(limit image-members)" in done.err, done.err


def test_workers_of_a_cluster_get_those_of_the_sweep(ruleset: Ruleset, tmp_path: Path) -> None:
    limits = limits_of({"members": 5, "registry-pages": 3})
    endpoint, rules = RegistryEndpoint("127.0.0.1:1", limits=limits), RulesData.of(ruleset)
    session = pickle.loads(pickle.dumps(SweepPlugin(endpoint, rules, SoftwareVersions.of(rules))))
    session.setup(SimpleNamespace(address="tcp://worker", state=SimpleNamespace(nthreads=1), periodic_callbacks={}))
    try:
        assert session._scanner.limits == limits
        assert session._connect(None).limits == limits
    finally:
        session.teardown(SimpleNamespace())


def test_what_is_kept_is_kept_for_the_limits_it_was_read_under(tmp_path: Path, cache: Path) -> None:
    kept = tmp_path / "cache"
    kept.mkdir()
    for rules in cache.glob("rules-*"):
        (kept / rules.name).symlink_to(rules)
    target = holding("a.zip", _ZIP)(tmp_path)
    said = [lines(target, limits, kept, cache=True) for limits in ({}, {"members": 1}, {}, {"members": 1})]
    assert ["(limit members)" in text for text in said] == [False, True, False, True]
    assert lines(target, {"layer-bytes": 100}, kept, cache=True).endswith("(limit layer-bytes)")


def test_records_and_audits_are_named_by_the_limits_they_depend_on() -> None:
    assert limits_of({"members": 5, "texts": 5, "registry-pages": 5}).differences(RECORDS) == "members=5"
    assert limits_of({"members": 5, "texts": 5, "registry-pages": 5}).differences(AUDITS) == "texts=5 members=5"
    assert DEFAULT.differences() == ""


def test_a_place_in_metadata_is_said_in_bounds(tmp_path: Path, cache: Path) -> None:
    """Keys of a megabyte are not repeated for each of the texts below them."""
    built = image(SECRET, config={"Labels": {"k" * 1_000_000: {str(number): token(number) for number in range(50)}}})
    report = json.loads(audit(saved(built)(tmp_path), cache=False, cache_dir=cache).to_json())
    places = [finding["where"] for finding in report["findings"] if finding["where"]]
    assert len(places) == 50 and max(map(len, places)) <= 1024
