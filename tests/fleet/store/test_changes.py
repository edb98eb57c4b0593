"""New and gone findings: sweeps with filters, with failures, and unfinished ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditor.fleet.store import ledger, queries
from auditor.scan import Scanner
from tests.fleet.alerted import told_alerts
from tests.fleet.conftest import Sweeps
from tests.fleet.planted import Remote, application, base
from tests.fleet.proxy import Proxy
from tests.images import OCI, descriptor, image, layer, token

pytestmark = pytest.mark.registry


def changes(sweeps: Sweeps) -> tuple[int, int]:
    """How many findings were new and gone in the last sweep: as counted, and as told."""
    row = queries.sweeps(sweeps.store)[-1]
    told = len(queries.new_findings(sweeps.store, row.id)), len(queries.gone_findings(sweeps.store, row.id))
    assert told == (row.counts["new"], row.counts["gone"])
    return told


@pytest.fixture
def remote(address: str) -> Remote:
    """Two repositories; two tags of the first hold a secret each, one of the other does."""
    made = Remote(address)
    made.push("team/app", "1", application(0, "one", token(1)))
    made.push("team/app", "2", application(0, "two", token(2)))
    made.push("team/web", "1", application(0, "web", token(3)))
    return made


class TestParts:
    @pytest.mark.parametrize(
        "part", [{"tags": ("2",)}, {"newest": 1}, {"repos": ("team/web",)}, {"platform": "linux/arm64"}],
        ids=["tags", "newest", "repos", "platform"],
    )  # fmt: skip
    def test_findings_excluded_by_a_filter_are_neither_gone_nor_new_later(
        self, sweeps_in: Sweeps, address: str, remote: Remote, part: dict[str, Any]
    ) -> None:
        whole = sweeps_in(address)
        assert changes(sweeps_in) == (3, 0)
        fewer = sweeps_in(address, **part)
        assert len(fewer["images"]) < len(whole["images"]) and changes(sweeps_in) == (0, 0)
        again = sweeps_in(address)
        assert len(again["images"]) == 3 and changes(sweeps_in) == (0, 0)
        assert not any(image["gone"] + image["new"] for image in again["images"])

    def test_a_deleted_finding_is_gone_in_the_first_sweep_that_looks_for_it(
        self, sweeps_in: Sweeps, address: str, remote: Remote
    ) -> None:
        root = remote.push("team/app", "1", application(0, "one", token(1)))
        sweeps_in(address)
        remote.delete("team/app", root["digest"])
        sweeps_in(address, repos=("team/web",))
        assert changes(sweeps_in) == (0, 0)
        sweeps_in(address, tags=("2",))  # the list of tags tells it, whichever are wanted
        assert changes(sweeps_in) == (0, 1)
        sweeps_in(address)
        assert changes(sweeps_in) == (0, 0)

    def test_a_moved_tag_is_resolved_by_the_sweep_that_selects_it(
        self, sweeps_in: Sweeps, address: str, remote: Remote
    ) -> None:
        sweeps_in(address)
        before = remote.push("team/app", "1", application(0, "one", token(1)))
        remote.push("team/app", "1", application(0, "other", token(9)))
        assert sweeps_in(address, tags=("2",))["withdrawn"] == [] and changes(sweeps_in) == (0, 0)
        assert len(sweeps_in(address, tags=("1",))["withdrawn"]) == 1 and changes(sweeps_in) == (1, 0)
        remote.delete("team/app", before["digest"])
        assert len(sweeps_in(address, tags=("1",))["withdrawn"]) == 1 and changes(sweeps_in) == (0, 1)
        assert sweeps_in(address)["withdrawn"] == [] and changes(sweeps_in) == (0, 0)

    def test_an_image_that_is_no_longer_among_the_newest_keeps_its_findings(self, sweeps: Sweeps, address: str) -> None:
        remote = Remote(address)
        for tag, year in (("1", 2024), ("2", 2025)):
            built = application(0, tag, token(int(tag)))
            built.config["created"] = f"{year}-01-01T00:00:00Z"
            remote.push("team/app", tag, built)
            assert [item["tags"] for item in sweeps(address, newest=1)["images"]] == [[tag]]
            assert changes(sweeps) == (1, 0)

    def test_each_finding_is_new_in_one_sweep_only(self, sweeps: Sweeps, address: str, remote: Remote) -> None:
        told = []
        for part in ({"tags": ("1",)}, {}, {"repos": ("team/web",)}, {"tags": ("2",)}, {}):
            sweeps(address, **part)  # type: ignore[arg-type]
            told += [one.image for one in told_alerts(sweeps.store)]
        assert sorted(told) == ["team/app:1", "team/app:2", "team/web:1"]

    def test_an_image_listed_by_digest_stays_without_a_tag(
        self, sweeps: Sweeps, address: str, remote: Remote, tmp_path: Path
    ) -> None:
        root = remote.push("team/app", "old", application(0, "old", token(7)))
        (tmp_path / "list").write_text(f"team/app@{root['digest']}\n")
        assert len(sweeps(address, tmp_path / "list")["images"]) == 1
        remote.push("team/app", "old", application(0, "clean", None))
        sweeps(address)
        assert changes(sweeps) == (3, 0)
        found = sweeps(address, tmp_path / "list")
        assert [item["tags"] for item in found["images"]] == [[]] and changes(sweeps) == (0, 0)


class TestFailures:
    def test_no_finding_is_gone_from_a_repository_with_failures(
        self, sweeps_in: Sweeps, address: str, remote: Remote
    ) -> None:
        sweeps_in(address)
        config = application(0, "bad", None).config_bytes
        broken = b"no layer at all, by its type a gzip" * 10
        for data in (broken, config):
            remote.blob("team/app", data)
        document = {
            "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
            "config": descriptor(config, OCI + "config.v1+json"),
            "layers": [descriptor(broken, OCI + "layer.v1.tar+gzip")] * 2,
        }  # fmt: skip
        remote.manifest("team/app", "1", document)
        found = sweeps_in(address)
        assert [item["reference"] for item in found["failed"]] == ["team/app:1"] and changes(sweeps_in) == (0, 0)
        remote.push("team/app", "1", application(0, "fixed", None))
        sweeps_in(address)
        assert changes(sweeps_in) == (0, 0)
        before = remote.push("team/app", "old", application(0, "one", token(1)))
        remote.delete("team/app", before["digest"])
        sweeps_in(address)
        assert changes(sweeps_in) == (0, 1)

    def test_a_repository_missing_from_the_catalog_is_still_surveyed(
        self, sweeps: Sweeps, address: str, remote: Remote, proxy_to: Callable[[str], Proxy]
    ) -> None:
        proxy = proxy_to(address)
        sweeps(proxy.address)
        proxy.replaced["/v2/_catalog"] = b'{"repositories": ["team/app"]}'
        assert len(sweeps(proxy.address)["images"]) == 3 and changes(sweeps) == (0, 0)
        root = remote.push("team/web", "1", application(0, "web", token(3)))
        remote.delete("team/web", root["digest"])
        assert len(sweeps(proxy.address)["images"]) == 2 and changes(sweeps) == (0, 1)
        proxy.reset()
        sweeps(proxy.address)
        assert ("GET", "/v2/team/web/tags/list") not in proxy.asked

    def test_findings_of_an_unfinished_sweep_are_new_in_the_next_one(
        self, sweeps_in: Sweeps, address: str, remote: Remote, scanner: Scanner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def die(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(ledger, "finish_sweep", die)
            with pytest.raises(KeyboardInterrupt):
                sweeps_in(address, tags=("1",))
        sweeps_in(address)
        assert changes(sweeps_in) == (3, 0)
        sweeps_in(address)
        assert changes(sweeps_in) == (0, 0)


def test_a_returning_finding_is_new_again_and_keeps_first_seen(sweeps_in: Sweeps, address: str, remote: Remote) -> None:
    sweeps_in(address)
    before = remote.push("team/web", "1", application(0, "web", token(3)))
    remote.push("team/web", "1", application(0, "clean", None))
    remote.delete("team/web", before["digest"])
    sweeps_in(address)
    assert changes(sweeps_in) == (0, 1)
    remote.push("team/web", "1", application(0, "web", token(3)))
    sweeps_in(address)
    assert changes(sweeps_in) == (1, 0)
    (row,) = [row for row in queries.findings(sweeps_in.store, 3) if row.repository == "team/web"]
    assert row.first_seen < row.last_seen


def test_a_finding_that_moves_to_another_image_is_neither_new_nor_gone(sweeps: Sweeps, address: str) -> None:
    remote = Remote(address)
    leak = layer({"app/.env": f"GITHUB_TOKEN={token(4)}\n"})
    for change in ("a", "b"):
        remote.push("team/app", "latest", image(base(0), leak, layer({change: b"x"})))
        sweeps(address)
    assert changes(sweeps) == (0, 0)
