"""What only indexes and descriptors say of an image stays with it, and what is no more true is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from auditor.core.digests import Digest
from auditor.registry.client import Client
from auditor.registry.repository import Repository
from tests.conftest import Cli, docker, require
from tests.images import (
    OCI,
    descriptor,
    digest,
    file,
    gzipped,
    image,
    layer,
    layout_files,
    token,
    whiteout,
    write_files,
)
from tests.transports.oddities import Pusher

SECRET = token(61)
INDEX, MANIFEST = OCI + "index.v1+json", OCI + "manifest.v1+json"
NAME = "docker.io/library/x:1"
TOC = {"containerd.io/snapshot/stargz/toc.digest": "sha256:" + "7" * 64, "com.example.note": "n"}
VARIANTS = ("v6", "v7")
PLATFORMS: list[dict[str, Any]] = [
    *({"architecture": "arm", "os": "linux", "variant": variant} for variant in VARIANTS),
    {"architecture": "amd64", "os": "windows", "os.version": "10.0.17763.1", "os.features": ["win32k"]},
    {"architecture": "amd64", "os": "windows", "os.version": "10.0.20348.1"},
]
Files = dict[str, bytes]


def entry(number: int, platform: dict[str, Any], blobs: Files, **more: Any) -> dict[str, Any]:
    """An image of three layers, whose config knows neither variant nor version; and its descriptor in an index."""
    parts = (
        layer(file("base", "base")),
        layer(file("own", f"{number}"), file("secret", SECRET)),
        layer(whiteout("secret")),
    )
    built = image(*parts, architecture=platform["architecture"])
    built.config["os"] = platform["os"]
    layers = [gzipped(data) for data in parts]
    manifest = {
        "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(built.config_bytes, OCI + "config.v1+json"),
        "layers": [descriptor(data, OCI + "layer.v1.tar+gzip", annotations=TOC) for data in layers],
        "annotations": {"org.opencontainers.image.base.digest": "sha256:" + "1" * 64, "com.example.own": f"{number}"},
        **more,
    }  # fmt: skip
    data = json.dumps(manifest).encode()
    blobs |= {digest(item): item for item in (*layers, built.config_bytes, data)}
    return descriptor(data, MANIFEST, platform=platform, annotations={"com.example.entry": f"{number}"})


def indexed(platforms: list[dict[str, Any]]) -> tuple[Files, dict[str, Any], bytes]:
    """The blobs of an index of images, the index's descriptor, and its bytes."""
    blobs: Files = {}
    entries = [entry(number, platform, blobs) for number, platform in enumerate(platforms)]
    index = {
        "schemaVersion": 2, "mediaType": INDEX, "manifests": entries,
        "annotations": {"com.example.index": "i", "com.example.old": f"see {entries[0]['digest']}"},
    }  # fmt: skip
    data = json.dumps(index).encode()
    notes = {"org.opencontainers.image.ref.name": NAME, "com.example.root": "r"}
    return {**blobs, digest(data): data}, descriptor(data, INDEX, annotations=notes), data


def layout(path: Path, platforms: list[dict[str, Any]]) -> Path:
    blobs, root, _ = indexed(platforms)
    return write_files(path, layout_files(blobs, [root]))


def read(path: Path) -> Files:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def blob(files: Files, pointer: dict[str, Any]) -> Any:
    return json.loads(files["blobs/" + pointer["digest"].replace(":", "/")])


@pytest.mark.parametrize("way", [(), ("--excise",), ("--minimal",)], ids=" ".join)
def test_an_index_says_the_same_afterwards(way: tuple[str, ...], cli: Cli, tmp_path: Path) -> None:
    output = tmp_path / "out.oci"
    done = cli("flatten", layout(tmp_path / "in", PLATFORMS), "-o", output, *way)
    assert done.status == 0, done.err
    files = read(output)
    (root,) = json.loads(files["index.json"])["manifests"]
    assert root["annotations"] == {"org.opencontainers.image.ref.name": NAME, "com.example.root": "r"}
    index = blob(files, root)
    assert index["annotations"] == {"com.example.index": "i"}
    assert [item["platform"] for item in index["manifests"]] == PLATFORMS
    assert [item["annotations"] for item in index["manifests"]] == [
        {"com.example.entry": str(number)} for number in range(len(PLATFORMS))
    ]
    manifests = [blob(files, item) for item in index["manifests"]]
    assert [item["annotations"] for item in manifests] == [
        {"com.example.own": f"{number}"} for number in range(len(PLATFORMS))
    ]
    kept = {(): [None], ("--excise",): [TOC, None, TOC], ("--minimal",): [TOC, None]}[way]
    assert [[item.get("annotations") for item in one["layers"]] for one in manifests] == [kept] * len(PLATFORMS)
    for said in (
        "com.example.old of the index", "stargz/toc.digest of layer 1, which was rewritten", "image.base.digest of the",
    ):  # fmt: skip
        assert said in done.out, done.out
    assert ("toc.digest of layer 0" in done.out) == (not way)


def test_a_chosen_variant_is_audited_and_flattened_alone(cli: Cli, tmp_path: Path) -> None:
    source = layout(tmp_path / "in", PLATFORMS)
    reports = cli("scan", source, "--format", "json").json["reports"]
    assert [one["image"]["platform"] for one in reports] == ["linux/arm/v6", "linux/arm/v7"] + ["windows/amd64"] * 2
    (finding,) = cli("scan", source, "--platform", "linux/arm/v7", "--format", "json").json["findings"]
    assert finding["path"] == "/secret"
    output = tmp_path / "out.tar"
    done = cli("flatten", source, "-o", output, "--platform", "linux/arm/v7")
    assert done.status == 0, done.err
    files = read(output)
    (root,) = json.loads(files["index.json"])["manifests"]
    assert [item["platform"] for item in blob(files, root)["manifests"]] == [PLATFORMS[1]]
    assert json.loads(files["manifest.json"])[0]["RepoTags"] == ["x:1"]


@pytest.mark.tools
def test_podman_and_skopeo_read_an_archive_with_an_index_of_one(cli: Cli, tmp_path: Path) -> None:
    require(shutil.which("skopeo") is not None and shutil.which("podman") is not None, "skopeo or podman")
    policy, output = tmp_path / "policy.json", tmp_path / "out.tar"
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    source = layout(tmp_path / "in", PLATFORMS)
    assert cli("flatten", source, "-o", output, "--platform", "linux/arm/v7").status == 0
    podman = ("podman", "--root", tmp_path / "r", "--runroot", tmp_path / "rr", "--storage-driver", "vfs")
    commands: tuple[tuple[object, ...], ...] = (
        (*podman, "load", "-q", "-i", output),
        ("skopeo", "--policy", policy, "copy", f"docker-archive:{output}", f"dir:{tmp_path / 'a'}"),
        ("skopeo", "--policy", policy, "--override-arch", "arm", "--override-variant", "v7", "--tmpdir", tmp_path,
         "copy", f"oci-archive:{output}:{NAME}", f"dir:{tmp_path / 'b'}"),
    )  # fmt: skip
    for command in commands:
        done = subprocess.run([str(word) for word in command], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def pushed(registry: str) -> Iterator[tuple[str, str]]:
    """An index of two ARM variants in a real registry: its address, and its digest."""
    repository = f"flatten/arm-{os.getpid()}"
    blobs, root, data = indexed(PLATFORMS[:2])
    pusher = Pusher(registry, repository)
    for content in blobs.values():
        if b"schemaVersion" not in content:
            pusher.blob(content)
    for pointer in json.loads(data)["manifests"]:
        pusher.manifest(blobs[pointer["digest"]], MANIFEST, pointer["digest"])
    pusher.manifest(data, INDEX, "1")
    yield f"{registry}/{repository}", root["digest"]


@pytest.mark.registry
@pytest.mark.engine
@pytest.mark.tools
@pytest.mark.xdist_group("engine")
def test_a_pull_gets_the_variant_that_it_got_before(
    cli: Cli, engine: str, pushed: tuple[str, str], tmp_path: Path
) -> None:
    require(shutil.which("skopeo") is not None, "skopeo")
    address, _ = pushed
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    done = cli("flatten", f"docker://{address}:1", "--push", f"{address}:clean", "--force")
    assert done.status == 0, done.err
    for number, variant in enumerate(VARIANTS):
        folder = tmp_path / variant
        subprocess.run(
            ["skopeo", "--policy", policy, "--override-arch", "arm", "--override-variant", variant, "copy",
             "--src-tls-verify=false", f"docker://{address}:clean", f"dir:{folder}"],
            capture_output=True, check=True,
        )  # fmt: skip
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["annotations"] == {"com.example.own": f"{number}"}
        docker("-H", engine, "pull", "-q", "--platform", f"linux/arm/{variant}", f"{address}:clean")
        shown = docker("-H", engine, "image", "inspect", "-f", "{{.Id}}", f"{address}:clean")
        docker("-H", engine, "rmi", "-f", f"{address}:clean")
        assert shown == manifest["config"]["digest"]


@pytest.mark.registry
def test_signatures_of_the_old_digest_are_named(cli: Cli, pushed: tuple[str, str]) -> None:
    address, root = pushed
    registry, _, repository = address.partition("/")
    pusher = Pusher(registry, repository)
    config = json.dumps(image(layer()).config).encode()
    pusher.blob(config)
    data = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(config, OCI + "config.v1+json"), "layers": [],
    }).encode()  # fmt: skip
    tags = [root.replace(":", "-") + ending for ending in (".sig", ".att", ".sbom", "")]
    for tag in (*tags, "sha256-" + "0" * 64 + ".sig"):
        pusher.manifest(data, MANIFEST, tag)
    done = cli("flatten", f"docker://{address}:1", "--push", f"{address}:signed")
    assert done.status == 0, done.err
    for tag in tags:
        assert f"{address}: {tag} refers to the old digest {root}, not to the result" in done.out
    assert "sha256-" + "0" * 64 not in done.out


def test_the_referrers_of_a_digest_are_asked_for() -> None:
    own, other = "sha256:" + "a" * 64, "sha256:" + "b" * 64

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            there = self.path == f"/v2/x/referrers/{own}"
            entries = [{"mediaType": MANIFEST, "digest": other, "size": 1, "artifactType": "application/vnd.sig"}]
            body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries if there else []}).encode()
            self.send_response(200 if there or self.path == "/v2/" else 404)
            self.send_header("Content-Type", INDEX)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        repository = Repository(Client(f"127.0.0.1:{server.server_port}"), "x")
        found = [(str(item.digest), item.kind) for item in repository.referrers(Digest(own))]
        none = repository.referrers(Digest(other))
        server.shutdown()
    assert found == [(other, "application/vnd.sig")] and none == []


@pytest.mark.parametrize("tagged", [True, False], ids=["by its tag", "by its subject"])
def test_a_signature_beside_the_image_is_left_out_and_named(tagged: bool, cli: Cli, tmp_path: Path) -> None:
    """As `cosign save` writes them: its config is that of an image, its one layer is JSON."""
    blobs: Files = {}
    pointer = entry(0, PLATFORMS[0], blobs)
    claim = b'{"critical": {}}'
    config = (json.dumps(image(claim).config) if tagged else "{}").encode()
    kind = OCI + "config.v1+json" if tagged else "application/vnd.oci.empty.v1+json"
    signature = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(config, kind),
        "layers": [descriptor(claim, "application/vnd.dev.cosign.simplesigning.v1+json")],
        **({} if tagged else {"artifactType": "application/vnd.sig", "subject": pointer}),
    }).encode()  # fmt: skip
    blobs |= {digest(data): data for data in (claim, config, signature)}
    name = pointer["digest"].replace(":", "-") + ".sig"
    notes = {"org.opencontainers.image.ref.name": name} if tagged else {}
    roots = [pointer, descriptor(signature, MANIFEST, **({"annotations": notes} if notes else {}))]
    source, output = write_files(tmp_path / "in", layout_files(blobs, roots)), tmp_path / "out.oci"
    done = cli("flatten", source, "-o", output)
    assert done.status == 0, done.err
    said = name if tagged else f"{digest(signature)} (application/vnd.sig)"
    assert f"dropped: {said}, an artifact of the old digests" in done.out
    assert len(json.loads(read(output)["index.json"])["manifests"]) == 1


def test_two_names_and_two_platforms_of_one_manifest_stay(cli: Cli, tmp_path: Path) -> None:
    blobs: Files = {}
    pointer = entry(0, PLATFORMS[0], blobs)
    entries = [pointer, {**pointer, "platform": PLATFORMS[1]}]
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
    blobs[digest(index)] = index
    names = [{"org.opencontainers.image.ref.name": name} for name in ("one", "two")]
    roots = [descriptor(index, INDEX, annotations=notes) for notes in names]
    source, output = write_files(tmp_path / "in", layout_files(blobs, roots)), tmp_path / "out.oci"
    done = cli("flatten", source, "-o", output)
    assert done.status == 0, done.err
    files = read(output)
    written = json.loads(files["index.json"])["manifests"]
    assert [root["annotations"] for root in written] == names
    assert [item["platform"] for item in blob(files, written[0])["manifests"]] == PLATFORMS[:2]


def test_a_secret_in_an_annotation_of_an_index_or_a_layer_is_found(cli: Cli, tmp_path: Path) -> None:
    """They stay in a flattened image, so they are searched."""
    blobs: Files = {}
    pointer = entry(0, PLATFORMS[0], blobs)
    manifest = json.loads(blobs.pop(pointer["digest"]))
    manifest["layers"][0]["annotations"] = {"layer": token(62)}
    data = json.dumps(manifest).encode()
    index = json.dumps({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [{**pointer, **descriptor(data, MANIFEST)}],
        "annotations": {"index": token(63)},
    }).encode()  # fmt: skip
    root = descriptor(index, INDEX, annotations={"root": token(64)})
    files = layout_files({**blobs, digest(data): data, digest(index): index}, [root])
    listing = json.loads(files["index.json"])
    files["index.json"] = json.dumps({**listing, "annotations": {"layout": token(65)}}).encode()
    source, output = write_files(tmp_path / "in", files), tmp_path / "out.oci"
    done = cli("flatten", source, "-o", output, "--excise")
    assert done.status == 1 and done.out.startswith("NOT CLEAN: 4 secrets remain in visible files or metadata\n")
    report = cli("scan", output, "--format", "json").json
    assert {finding["where"] for finding in report["findings"]} == {
        "index.annotations.index", "index.annotations.layout", "index.manifests[0].root",
        "manifest.layers[0].layer",
    }  # fmt: skip
