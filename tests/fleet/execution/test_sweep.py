"""Sweeps of a real registry: every planted secret is found, nothing is requested twice."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from auditor.fleet.dashboard.sweep_table import render
from auditor.fleet.store import queries
from auditor.report.schema import json_schema
from tests.fleet.conftest import Sweeps
from tests.fleet.planted import Content, Remote, application, base
from tests.fleet.proxy import Proxy
from tests.fleet.stored import POLICY
from tests.images import OCI, descriptor, digest, gzipped, image, layer, step, token, whiteout

pytestmark = pytest.mark.registry
Filled = tuple[str, Content]


def test_a_sweep_finds_all_planted_secrets_and_reads_each_layer_once(
    sweeps_in: Sweeps, filled: Filled, proxy_to: Callable[[str], Proxy]
) -> None:
    address, content = filled
    proxy = proxy_to(address)
    found = sweeps_in(proxy.address)
    Draft202012Validator(json_schema("image-audit-sweep-1")).validate(found)
    assert {(item["repository"], item["digest"]) for item in found["images"]} == content.images
    secrets = {row.masked[-4:] for row in queries.findings(sweeps_in.store, 1)}
    assert secrets == {secret[-4:] for secret in content.all_secrets}
    assert found["failed"] == []
    assert found["layers"] == {
        "unique": len(content.layers), "read": len(content.layers), "cached": 0,
        "bytes_read": sum(content.layers.values()),
    }  # fmt: skip
    assert all(proxy.blobs[name] == 1 for name in content.layers)
    assert max(proxy.blobs.values()) == 1 and max(proxy.manifests.values(), default=0) <= 1


def test_a_second_sweep_asks_for_tags_alone(
    sweeps_in: Sweeps, filled: Filled, proxy_to: Callable[[str], Proxy]
) -> None:
    proxy = proxy_to(filled[0])
    first = sweeps_in(proxy.address)
    proxy.reset()
    second = sweeps_in(proxy.address)
    assert not proxy.blobs and not proxy.manifests
    assert {method for method, path in proxy.asked if "/manifests/" in path} == {"HEAD"}
    assert second["layers"] == {**first["layers"], "read": 0, "cached": first["layers"]["unique"], "bytes_read": 0}
    assert [(item["digest"], item["by_severity"]) for item in second["images"]] == [
        (item["digest"], item["by_severity"]) for item in first["images"]
    ]
    assert sum(item["new"] for item in first["images"]) == 20
    assert sum(item["new"] + item["gone"] for item in second["images"]) == 0


def test_a_secret_in_several_images_is_one_shared_secret(sweeps: Sweeps, filled: Filled) -> None:
    found = sweeps(filled[0])
    (shared,) = found["shared_secrets"]
    assert shared["rule"] == "github-pat" and len(shared["images"]) == 10
    assert {name.partition("@")[0] for name in shared["images"]} == {name for name, _ in filled[1].images}


def test_the_store_holds_no_secret(sweeps: Sweeps, filled: Filled, tmp_path: Path) -> None:
    sweeps(filled[0])
    sweeps.store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("sweeps.sqlite*"))
    assert not [secret for secret in filled[1].all_secrets if secret.encode() in kept or secret[4:30].encode() in kept]
    with closing(sqlite3.connect(tmp_path / "sweeps.sqlite")) as database:
        rows = database.execute("SELECT data FROM report").fetchall()
    import zlib

    reports = b"".join(zlib.decompress(row[0]) for row in rows)
    assert not [secret for secret in filled[1].all_secrets if secret.encode() in reports]


def test_new_and_gone_findings_are_reported_once(sweeps: Sweeps, address: str) -> None:
    remote = Remote(address)
    remote.push("team/app", "1", application(0, "app", token(1)))
    remote.push("team/app", "latest", application(0, "app", token(1)))
    assert [item["new"] for item in sweeps(address)["images"]] == [1]
    leaking = remote.push("team/app", "latest", application(0, "app2", token(2)))
    second = {item["tags"][0]: item for item in sweeps(address)["images"]}
    assert (second["1"]["new"], second["latest"]["new"], second["latest"]["gone"]) == (0, 1, 0)
    assert [row.masked for row in queries.new_findings(sweeps.store, 2)] == [f"ghp_****{token(2)[-4:]}"]
    remote.push("team/app", "latest", application(0, "app3", None))
    remote.delete("team/app", leaking["digest"])
    third = {item["tags"][0]: item for item in sweeps(address)["images"]}
    assert (third["latest"]["new"], third["latest"]["gone"]) == (0, 1)
    fourth = sweeps(address)
    assert sum(item["new"] + item["gone"] for item in fourth["images"]) == 0
    remote.push("team/app", "latest", application(0, "app2", token(2)))
    fifth = {item["tags"][0]: item for item in sweeps(address)["images"]}
    assert fifth["latest"]["new"] == 1
    (row,) = [row for row in queries.findings(sweeps.store, 5) if row.masked.endswith(token(2)[-4:])]
    assert row.first_seen < row.last_seen


class TestRepeatedCounts:
    """A sweep that found no changes has the counts of the one before; they must be those of the tables."""

    @pytest.fixture
    def counted(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The sweeps whose counts were not repeated."""
        numbers, count = list[int](), queries.counts
        monkeypatch.setattr(queries, "counts", lambda store, number: numbers.append(number) or count(store, number))  # type: ignore[func-returns-value]
        return numbers

    @pytest.fixture
    def swept(self, sweeps_in: Sweeps, address: str) -> Callable[..., dict[str, int]]:
        count = queries.counts

        def sweep(**more: Any) -> dict[str, int]:
            sweeps_in(address, **more)
            row = queries.sweeps(sweeps_in.store)[-1]
            assert row.counts == count(sweeps_in.store, row.id)
            return row.counts

        return sweep

    def test_without_changes_they_are_repeated(
        self, swept: Callable[..., dict[str, int]], counted: list[int], address: str, sweeps_in: Sweeps
    ) -> None:
        remote = Remote(address)
        leaking = remote.push("team/app", "1", application(0, "app", token(1)))
        remote.push("team/other", "1", application(0, "other", None))
        first = swept()
        assert (first["images"], first["critical"], first["new"], counted) == (2, 1, 1, [1])
        second = swept()
        assert (second["images"], second["critical"], second["new"], counted) == (2, 1, 0, [1])
        assert swept(tags=("1",)) == {**second, "new": 0}, "another kind of sweep has nothing to repeat"
        remote.push("team/app", "1", application(0, "app2", None))
        moved = swept()
        assert (moved["critical"], moved["withdrawn"], counted) == (1, 1, [1, 3, 4])
        assert swept()["withdrawn"] == 1 and counted[-1] == 5, "an image without a tag may be deleted"
        remote.delete("team/app", leaking["digest"])
        assert swept()["gone"] == 1
        assert [swept()["gone"] for _ in range(3)] == [0, 0, 0]
        assert counted[-1] < queries.sweeps(sweeps_in.store)[-1].id

    def test_an_image_without_a_tag_is_counted_though_a_filter_leaves_it_out(
        self, swept: Callable[..., dict[str, int]], counted: list[int], address: str
    ) -> None:
        remote = Remote(address)
        leaking = remote.push("team/app", "1", application(0, "app", token(1)))
        remote.push("team/app", "2", application(0, "other", None))
        swept()
        remote.push("team/app", "1", application(0, "app2", None))
        swept()
        assert [swept(tags=("2",))["withdrawn"] for _ in range(2)] == [0, 0] and len(counted) == 4
        remote.delete("team/app", leaking["digest"])
        deleted = swept(tags=("2",))
        assert deleted["gone"] == 1 and len(counted) == 5
        assert [swept(tags=("2",))["gone"] for _ in range(2)] == [0, 0]

    def test_changes_that_a_killed_sweep_found_are_counted_by_the_one_that_continues_it(
        self, swept: Callable[..., dict[str, int]], address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        remote = Remote(address)
        remote.push("team/app", "1", application(0, "app", token(1)))
        assert swept()["new"] == 1 and swept()["new"] == 0
        remote.push("team/app", "1", application(0, "app2", token(2)))
        with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
            killed.setattr(queries, "counts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            swept()
        continued = swept()
        assert (continued["new"], continued["withdrawn"]) == (1, 1)


def test_a_tag_that_is_deleted_takes_its_findings_along(sweeps: Sweeps, address: str) -> None:
    remote = Remote(address)
    remote.push("team/app", "1", application(0, "clean", None))
    root = remote.push("team/app", "2", application(0, "app", token(3)))
    sweeps(address)
    remote.delete("team/app", root["digest"])
    found = sweeps(address)
    assert [item["tags"] for item in found["images"]] == [["1"]] and found["failed"] == []
    assert [row.rule for row in queries.gone_findings(sweeps.store, 2)] == ["github-pat"]


def test_a_repository_without_tags_is_no_error(sweeps: Sweeps, address: str) -> None:
    remote = Remote(address)
    root = remote.push("team/app", "1", application(0, "app", None))
    remote.delete("team/app", root["digest"])
    found = sweeps(address)
    assert found["images"] == [] and found["failed"] == []


def test_the_layer_that_leaks_is_named_with_every_tag_that_holds_it(sweeps: Sweeps, address: str) -> None:
    remote = Remote(address)
    leaking = layer({"app/.env": f"GITHUB_TOKEN={token(4)}\n"})
    for tag in ("1", "2"):
        remote.push("team/app", tag, image(base(0), leaking, layer({f"v{tag}": b"x"})))
    sweeps(address)
    (found,) = queries.leaking_layers(sweeps.store, 1, queries.findings(sweeps.store, 1))
    assert found.digest == digest(gzipped(leaking)) and found.tags == ("team/app:1", "team/app:2")
    assert len(found.images) == 2 and found.severity == "critical"


def test_indexes_are_swept_by_platform_with_their_attestations(sweeps: Sweeps, address: str) -> None:
    remote = Remote(address)
    arm = image(base(1), layer({"app/.env": f"GITHUB_TOKEN={token(6)}\n"}), architecture="arm64")
    amd = application(0, "amd", None)
    roots = []
    for built, architecture in ((amd, "amd64"), (arm, "arm64")):
        root = remote.push("team/app", f"only-{architecture}", built)
        roots.append({**root, "platform": {"os": "linux", "architecture": architecture}})
    statement = json.dumps({"predicate": {"buildArgs": {"GITHUB_TOKEN": token(5)}}}).encode()
    remote.blob("team/app", statement)
    remote.blob("team/app", b"{}")
    attestation = json.dumps(
        {
            "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
            "config": descriptor(b"{}", OCI + "config.v1+json"),
            "layers": [descriptor(statement, "application/vnd.in-toto+json")],
        }
    ).encode()  # fmt: skip
    remote.manifest("team/app", digest(attestation), attestation)
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": roots[0]["digest"]
    }  # fmt: skip
    unknown = {"platform": {"os": "unknown", "architecture": "unknown"}, "annotations": annotations}
    remote.index("team/app", "multi", [*roots, descriptor(attestation, OCI + "manifest.v1+json", **unknown)])
    found = sweeps(address)
    assert [(item["platform"], item["tags"], item["by_state"]) for item in found["images"]] == [
        ("linux/amd64", ["multi", "only-amd64"], {"metadata": 1}),
        ("linux/arm64", ["multi", "only-arm64"], {"present": 1}),
    ]
    again = sweeps(address)
    assert again["layers"]["read"] == 0 and len(again["images"]) == 2
    assert [item["platform"] for item in sweeps(address, platform="linux/arm64")["images"]] == ["linux/arm64"]


def test_build_caches_and_artifacts_are_swept(sweeps: Sweeps, address: str) -> None:
    remote = Remote(address)
    cached = gzipped(layer({"root/.netrc": f"machine github.com login x password {token(8)}\n"}))
    config = json.dumps({"layers": [{"blob": digest(cached)}]}).encode()
    chart = f"token: {token(9)}\n".encode()
    for data in (cached, config, chart, b"{}"):
        remote.blob("team/extra", data)
    remote.index(
        "team/extra", "cache",
        [
            descriptor(cached, OCI + "layer.v1.tar+gzip"),
            descriptor(config, "application/vnd.buildkit.cacheconfig.v0"),
        ],
    )  # fmt: skip
    titled = descriptor(
        chart, "application/octet-stream", annotations={"org.opencontainers.image.title": "values.yaml"}
    )
    remote.manifest(
        "team/extra", "files",
        {
            "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
            "config": descriptor(b"{}", "application/vnd.oci.empty.v1+json"), "layers": [titled],
        },
    )  # fmt: skip
    found = sweeps(address)
    assert found["failed"] == []
    assert {item["tags"][0]: sum(item["by_severity"].values()) for item in found["images"]} == {"cache": 1, "files": 1}


def test_what_several_tags_and_repositories_share_is_fetched_once(
    sweeps: Sweeps, address: str, proxy_to: Callable[[str], Proxy]
) -> None:
    remote, proxy = Remote(address), proxy_to(address)
    proxy.delay_s = 0.02
    for repository in ("team/a", "team/b", "team/c"):
        children = of_two_platforms(remote, repository)
        for tag in ("1", "1.0", "latest"):
            remote.index(repository, tag, children)
    assert len(sweeps(proxy.address)["images"]) == 6
    assert max(proxy.manifests.values()) == max(proxy.blobs.values()) == 1


def test_of_a_new_tag_of_what_is_known_only_its_manifest_is_fetched(
    sweeps: Sweeps, address: str, proxy_to: Callable[[str], Proxy]
) -> None:
    remote, proxy = Remote(address), proxy_to(address)
    children = of_two_platforms(remote, "team/app")
    remote.index("team/app", "1", children)
    sweeps(proxy.address)
    remote.index("team/app", "2", children)  # the same index
    remote.index("team/app", "3", children[::-1])  # another, of the same images
    remote.index("team/app", "4", children[1:])
    proxy.reset()
    found = sweeps(proxy.address)
    assert {tag for item in found["images"] for tag in item["tags"]} >= {"1", "2", "3", "4"}
    assert not proxy.manifests and not proxy.blobs


def of_two_platforms(remote: Remote, repository: str) -> list[dict[str, Any]]:
    """Push an image for two platforms; return what an index lists. The second has no tag of its own."""
    children = []
    for architecture in ("amd64", "arm64"):
        built = image(base(0), layer({"app/.env": f"GITHUB_TOKEN={token(1)}\n"}), architecture=architecture)
        version = "only-amd64" if architecture == "amd64" else built.blobs("gzip")[1]["digest"]
        root = remote.push(repository, version, built)
        children.append({**root, "platform": {"os": "linux", "architecture": architecture}})
    return children


def test_the_table_is_as_wide_as_the_terminal(sweeps: Sweeps, filled: Filled) -> None:
    sweeps(filled[0])
    row = queries.last_sweep(sweeps.store)
    assert row is not None
    text = render(sweeps.store, row, POLICY, width=80)
    assert max(map(len, text.splitlines())) <= 80
    unwrapped = " ".join(text.split())
    assert "40 images, 10 repositories" in unwrapped
    assert "; 20 new, 0 gone since the last sweep" in unwrapped
    assert not [secret for secret in filled[1].all_secrets if secret in text]


def test_a_hidden_secret_stands_with_its_state(sweeps: Sweeps, address: str) -> None:
    built = image(
        base(0), layer({"app/.env": f"GITHUB_TOKEN={token(1)}\n"}), layer(whiteout("app/.env")),
        history=[step("a"), step("b"), step("c")],
    )  # fmt: skip
    Remote(address).push("team/app", "1", built)
    assert sweeps(address)["images"][0]["by_state"] == {"deleted": 1}
    (row,) = queries.findings(sweeps.store, 1)
    assert (row.added_in, row.hidden_in, row.path, row.repository) == (1, 2, "/app/.env", "team/app")
    assert queries.report(sweeps.store, row.image)["findings"][0]["id"] == row.id


def test_registries_that_share_a_store_have_their_own_news(
    sweeps_in: Sweeps, start_registry: Callable[[], str]
) -> None:
    for address in (start_registry(), start_registry()):
        Remote(address).push("team/app", "1", application(0, "app", token(1)))
        assert [item["new"] for item in sweeps_in(address)["images"]] == [1]
