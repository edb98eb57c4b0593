"""Withdrawn images: their findings are gone once the registry has deleted the digest."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from auditor.fleet.dashboard.publish import write_site
from auditor.fleet.dashboard.sweep_table import render
from auditor.fleet.service.metrics import Metrics
from auditor.fleet.store import queries, retention
from auditor.fleet.store.rows import SweepRow
from auditor.registry.retry import Clock
from auditor.report.schema import json_schema
from tests.conftest import Cli
from tests.fleet.conftest import Sweeps
from tests.fleet.planted import Remote, application
from tests.fleet.proxy import Proxy
from tests.fleet.stored import CREATED, POLICY
from tests.images import image, layer, token
from tests.transports.clock import VirtualClock

pytestmark = pytest.mark.registry
SCAN = ("registry", "scan")
CRITICAL = {"critical": 1}


@pytest.fixture
def remote(address: str) -> Remote:
    """One repository: tag 1 leaks, tag 2 is clean."""
    made = Remote(address)
    made.push("team/app", "1", LEAKS)
    made.push("team/app", "2", application(0, "two", None))
    return made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A clock whose pauses take no time."""
    clock = VirtualClock()
    for name in ("now", "date", "sleep"):
        monkeypatch.setattr(Clock, name, staticmethod(getattr(clock, name)))
    yield


LEAKS = application(0, "one", token(1))
CLEAN = application(0, "clean", None)
DIGEST = LEAKS.blobs("gzip")[1]["digest"]


def row(sweeps: Sweeps) -> SweepRow:
    return queries.sweeps(sweeps.store)[-1]


def gone(sweeps: Sweeps) -> int:
    """The gone findings of the last sweep, as counted and as listed."""
    last = row(sweeps)
    assert last.counts["gone"] == len(queries.gone_findings(sweeps.store, last.id))
    return last.counts["gone"]


def entry(pullable: bool | None, *tags: str) -> dict[str, Any]:
    return {
        "repository": "team/app", "digest": DIGEST, "tags": list(tags), "pullable": pullable, "by_severity": CRITICAL,
        "skipped": 0,
    }  # fmt: skip


class TestMovedTag:
    def test_it_is_withdrawn_then_gone_once_then_known_to_be_deleted(
        self, sweeps_in: Sweeps, address: str, remote: Remote
    ) -> None:
        assert sweeps_in(address)["withdrawn"] == []
        remote.push("team/app", "1", CLEAN)
        for _ in range(2):
            found = sweeps_in(address)
            Draft202012Validator(json_schema("image-audit-sweep-1")).validate(found)
            assert found["withdrawn"] == [entry(True, "1")] and gone(sweeps_in) == 0
            assert not any(item["gone"] or item["by_severity"] for item in found["images"])
        remote.delete("team/app", DIGEST)
        found = sweeps_in(address)
        assert found["withdrawn"] == [entry(False, "1")] and gone(sweeps_in) == 1
        assert {item["tags"][0]: item["gone"] for item in found["images"]} == {"1": 1, "2": 0}
        found = sweeps_in(address)
        assert found["withdrawn"] == [] and gone(sweeps_in) == 0

    def test_a_tag_that_is_deleted_with_its_digest_is_gone(self, sweeps: Sweeps, address: str, remote: Remote) -> None:
        sweeps(address)
        remote.delete("team/app", DIGEST)
        assert sweeps(address)["withdrawn"] == [entry(False, "1")] and gone(sweeps) == 1

    def test_the_last_tags_are_named(self, sweeps: Sweeps, address: str, remote: Remote) -> None:
        for tag in ("a", "b"):
            remote.push("team/app", tag, LEAKS)
        sweeps(address)
        remote.push("team/app", "1", CLEAN)
        assert sweeps(address)["withdrawn"] == [], "two other tags name it"
        for tag in ("a", "b"):
            remote.push("team/app", tag, CLEAN)
        assert sweeps(address)["withdrawn"] == [entry(True, "a", "b")]

    def test_one_that_comes_back_under_another_tag_is_not_new(
        self, sweeps: Sweeps, address: str, remote: Remote
    ) -> None:
        sweeps(address)
        remote.push("team/app", "1", CLEAN)
        sweeps(address)
        remote.push("team/app", "back", LEAKS)
        found = sweeps(address)
        assert found["withdrawn"] == [] and sum(item["new"] for item in found["images"]) == 0

    def test_an_index_that_still_lists_it_leads_to_it(self, sweeps: Sweeps, address: str, remote: Remote) -> None:
        child = {**LEAKS.blobs("gzip")[1], "platform": {"os": "linux", "architecture": "amd64"}}
        remote.index("team/app", "multi", [child])
        sweeps(address)
        remote.push("team/app", "1", CLEAN)
        found = sweeps(address)
        assert found["withdrawn"] == [] and gone(sweeps) == 0
        remote.index("team/app", "multi", [{**CLEAN.blobs("gzip")[1], "platform": child["platform"]}])
        assert sweeps(address)["withdrawn"] == [entry(True, "multi")] and gone(sweeps) == 0

    def test_a_finding_that_another_withdrawn_image_holds_is_not_gone(
        self, sweeps: Sweeps, address: str, remote: Remote
    ) -> None:
        leak = layer({"app/.env": f"GITHUB_TOKEN={token(4)}\n"})
        roots = []
        for number in range(3):
            roots.append(remote.push("team/app", "3", image(leak, layer({f"f{number}": b"x"}))))
            sweeps(address)
        remote.push("team/app", "3", CLEAN)
        remote.delete("team/app", roots[0]["digest"])
        assert [one["pullable"] for one in sweeps(address)["withdrawn"]] == [True, True, False] and gone(sweeps) == 0
        for root in roots[1:]:
            remote.delete("team/app", root["digest"])
        sweeps(address)
        assert gone(sweeps) == 1

    def test_a_withdrawn_image_is_kept_while_it_can_be_pulled(
        self, sweeps_in: Sweeps, address: str, remote: Remote
    ) -> None:
        sweeps_in(address)
        remote.push("team/app", "1", CLEAN)
        sweeps_in(address)
        retention.delete_old_sweeps(sweeps_in.store, "2027-01-01T00:00:00Z")
        assert sweeps_in(address)["withdrawn"] == [entry(True, "1")]

    def test_a_repository_without_a_tag_is_still_asked(
        self, sweeps: Sweeps, address: str, remote: Remote, proxy_to: Callable[[str], Proxy]
    ) -> None:
        proxy = proxy_to(address)
        sweeps(proxy.address)
        proxy.replaced["/v2/team/app/tags/list"] = b'{"name": "team/app", "tags": null}'
        proxy.replaced["/v2/_catalog"] = b'{"repositories": []}'
        for _ in range(2):
            found = sweeps(proxy.address)
            assert entry(True, "1") in found["withdrawn"] and gone(sweeps) == 0


class TestFilters:
    @pytest.mark.parametrize(
        "part", [{"tags": ("2",)}, {"newest": 1}, {"repos": ("none/*",)}, {"platform": "linux/arm64"}],
        ids=["tags", "newest", "repos", "platform"],
    )  # fmt: skip
    def test_a_tag_that_filters_leave_out_is_not_withdrawn(
        self, sweeps: Sweeps, address: str, remote: Remote, part: dict[str, Any]
    ) -> None:
        newer = application(0, "newer", None)
        newer.config["created"] = "2026-01-01T00:00:00Z"
        remote.push("team/app", "2", newer)
        sweeps(address)
        found = sweeps(address, **part)
        assert found["withdrawn"] == [] and gone(sweeps) == 0
        assert sweeps(address)["withdrawn"] == [] and gone(sweeps) == 0

    def test_a_withdrawn_image_of_an_excluded_tag_is_not_listed(
        self, sweeps: Sweeps, address: str, remote: Remote
    ) -> None:
        sweeps(address)
        remote.push("team/app", "1", CLEAN)
        sweeps(address)
        assert sweeps(address, tags=("2",))["withdrawn"] == []
        assert sweeps(address, tags=("1",))["withdrawn"] == [entry(True, "1")]

    def test_a_list_tells_of_its_own(self, sweeps: Sweeps, address: str, remote: Remote, tmp_path: Path) -> None:
        for tag, name in (("1", "one"), ("2", "two")):
            (tmp_path / name).write_text(f"team/app:{tag}\n")
        sweeps(address)
        remote.push("team/app", "1", CLEAN)
        assert sweeps(address, tmp_path / "one")["withdrawn"] == [entry(True, "1")]
        assert sweeps(address, tmp_path / "two")["withdrawn"] == []

    def test_nothing_is_gone_if_its_tag_names_an_unaudited_image(
        self, sweeps: Sweeps, address: str, remote: Remote
    ) -> None:
        dated = []
        for name, secret, year in (("old", token(1), 2020), ("older", token(1), 2019), ("new", None, 2025)):
            dated.append(application(0, name, secret))
            dated[-1].config["created"] = f"{year}-01-01T00:00:00Z"
        root = remote.push("team/web", "1", dated[0])
        sweeps(address, newest=1, repos=("team/web",))
        remote.push("team/web", "2", dated[2])
        remote.push("team/web", "1", dated[1])
        remote.delete("team/web", root["digest"])
        sweeps(address, newest=1, repos=("team/web",))
        assert gone(sweeps) == 0
        sweeps(address, repos=("team/web",))
        assert gone(sweeps) == 0, "tag 1 holds it"

    def test_other_rules_make_nothing_gone(self, sweeps: Sweeps, address: str, remote: Remote) -> None:
        from auditor.findings.selection import Selection

        sweeps(address)
        silenced = Selection(exclude_rules=frozenset({"github-pat"}))
        assert not any(item["by_severity"] for item in sweeps(address, selection=silenced)["images"])
        assert gone(sweeps) == 0
        remote.delete("team/app", DIGEST)
        sweeps(address, selection=silenced)
        assert gone(sweeps) == 0, "it was not shown"


class TestNoAnswer:
    @pytest.mark.parametrize("way", ["busy", "slow down", "dropped"])
    def test_no_finding_is_gone_after_a_failed_request(
        self, sweeps: Sweeps, address: str, remote: Remote, proxy_to: Callable[[str], Proxy], quick: None, way: str
    ) -> None:
        proxy = proxy_to(address)
        sweeps(proxy.address)
        remote.push("team/app", "1", CLEAN)
        remote.delete("team/app", DIGEST)
        count = proxy.fault
        proxy.fault = lambda method, path: way if DIGEST in path else count(method, path)  # type: ignore[method-assign]
        assert sweeps(proxy.address)["withdrawn"] == [entry(None, "1")] and gone(sweeps) == 0
        assert row(sweeps).counts["critical"] == 1
        proxy.fault = count  # type: ignore[method-assign]
        assert sweeps(proxy.address)["withdrawn"] == [entry(False, "1")] and gone(sweeps) == 1

    def test_a_repository_that_does_not_answer_holds_what_it_held(
        self, sweeps: Sweeps, address: str, remote: Remote, proxy_to: Callable[[str], Proxy], quick: None
    ) -> None:
        proxy = proxy_to(address)
        sweeps(proxy.address)
        remote.delete("team/app", DIGEST)
        count = proxy.fault
        proxy.fault = lambda method, path: "busy" if "team/app" in path else count(method, path)  # type: ignore[method-assign]
        found = sweeps(proxy.address)
        assert found["failed"] and found["withdrawn"] == [] and gone(sweeps) == 0


class TestOutputs:
    @pytest.fixture
    def told(self, sweeps: Sweeps, address: str, remote: Remote) -> SweepRow:
        """A sweep of clean images and a withdrawn one that leaks."""
        sweeps(address)
        remote.push("team/app", "1", CLEAN)
        sweeps(address)
        return row(sweeps)

    def test_they_agree(self, sweeps: Sweeps, told: SweepRow, tmp_path: Path) -> None:
        assert (told.counts["withdrawn"], told.counts["critical"], told.counts["secrets"]) == (1, 1, 1)
        assert [one.digest for one in queries.findings(sweeps.store, told.id)] == [DIGEST]
        assert queries.new_findings(sweeps.store, told.id) == []
        text = render(sweeps.store, told, POLICY, width=200)
        assert f"team/app@{DIGEST} (was 1): 1 critical; can still be pulled" in text
        assert "LEAKS: 1 secret at 1 place; 1 hidden but recoverable, 0 visible; 0 new, 0 gone" in text
        assert "0 gone since the last sweep; 1 withdrawn image not deleted" in text
        metrics = Metrics(told.registry, lambda: 0.0)
        metrics.show(told)
        lines = metrics.text().decode()
        assert f'image_audit_findings{{registry="{told.registry}",severity="critical"}} 1.0' in lines
        assert f'image_audit_withdrawn_images{{registry="{told.registry}"}} 1.0' in lines

    def test_the_dashboard_shows_it(self, sweeps: Sweeps, told: SweepRow, tmp_path: Path) -> None:
        write_site(sweeps.store, told, tmp_path / "site", CREATED, POLICY)
        index = (tmp_path / "site/index.html").read_text()
        assert "No secrets found" not in index and 'id="withdrawn"' in index and "can still be pulled" in index
        with (tmp_path / "site/csv/withdrawn.csv").open(newline="") as file:
            (line,) = csv.DictReader(file)
        assert (line["digest"], line["tags"], line["pullable"], line["critical"]) == (DIGEST, "1", "yes", "1")
        page = (tmp_path / "site" / line["report"]).read_text()
        assert "withdrawn: no tag names this image; last tag: 1" in page

    def test_a_deleted_one_is_no_open_finding(self, sweeps: Sweeps, told: SweepRow, remote: Remote, address: str,
                                              tmp_path: Path) -> None:  # fmt: skip
        remote.delete("team/app", DIGEST)
        sweeps(address)
        last = row(sweeps)
        assert (last.counts["withdrawn"], last.counts["critical"], last.counts["gone"]) == (0, 0, 1)
        write_site(sweeps.store, last, tmp_path / "site", CREATED, POLICY)
        assert "No secrets found" in (tmp_path / "site/index.html").read_text()
        assert "1 critical; deleted" in render(sweeps.store, last, POLICY, width=200)


class TestExitCode:
    def test_what_can_be_pulled_counts(self, cli: Cli, address: str, remote: Remote) -> None:
        assert cli(*SCAN, address, "-q").status == 1
        remote.push("team/app", "1", CLEAN)
        done = cli(*SCAN, address, "--format", "json")
        assert done.status == 1 and done.json["withdrawn"] == [entry(True, "1")]
        assert cli("registry", "report", "--format", "json").json == done.json
        assert cli(*SCAN, address, "--fail-on", "never", "-q").status == 0
        remote.delete("team/app", DIGEST)
        assert cli(*SCAN, address, "-q").status == 0

    @pytest.mark.parametrize(
        ("part", "lines"),
        [
            ("/none", None), ("", ("--repos", "none/*")), ("", ("--tags", "none")), ("/team", ("--tags", "none")),
            ("/team/ap", None), ("", ("--platform", "linux/s390x")),
        ],
    )  # fmt: skip
    def test_a_filter_without_a_match_audits_nothing(
        self, cli: Cli, address: str, remote: Remote, part: str, lines: tuple[str, ...] | None
    ) -> None:
        done = cli(*SCAN, f"{address}{part}", *(lines or ()), "--format", "json")
        assert (done.status, done.err.count("\n")) == (2, 1) and done.json["images"] == []
        assert "nothing was audited" in done.err and "--from FILE" in done.err
        if lines:
            assert lines[0] in done.err

    def test_an_empty_registry(self, cli: Cli, address: str) -> None:
        done = cli(*SCAN, address)
        assert done.status == 2 and "nothing was audited" in done.err and "no findings" not in done.out
        assert cli("registry", "report").status == 2

    def test_where_every_image_fails(self, cli: Cli, address: str, remote: Remote, tmp_path: Path) -> None:
        (tmp_path / "list").write_text("team/none:1\nteam/app:9\n")
        done = cli(*SCAN, address, "--from", tmp_path / "list", "--format", "json", "--fail-on", "never")
        assert done.status == 2 and len(done.json["failed"]) == 2
        assert "because all 2 references failed" in done.err and done.err.count("\n") == 1
