"""Attestations in an index: nothing that is listed as one escapes a sweep or a scan."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Cli
from tests.fleet.conftest import Sweeps
from tests.fleet.planted import Remote, application
from tests.images import OCI, descriptor, gzipped, image, layer, token

pytestmark = pytest.mark.registry
STATEMENT = "application/vnd.in-toto+json"
UNKNOWN = {"os": "unknown", "architecture": "unknown"}


@pytest.fixture
def remote(address: str) -> Remote:
    return Remote(address)


@pytest.fixture
def root(remote: Remote) -> dict[str, Any]:
    """A clean image, as an index lists it."""
    pushed = remote.push("team/app", "1", application(0, "app", None))
    return {**pushed, "platform": {"os": "linux", "architecture": "amd64"}}


def listed(remote: Remote, subject: str, data: bytes, media_type: str, config: bytes = b"{}") -> dict[str, Any]:
    """Push a manifest with one layer; return its descriptor as an attestation of `subject`."""
    for blob in (data, config):
        remote.blob("team/app", blob)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI + "manifest.v1+json",
        "config": descriptor(config, OCI + "config.v1+json"),
        "layers": [descriptor(data, media_type)],
    }
    manifest = json.dumps(document).encode()
    own = descriptor(manifest, OCI + "manifest.v1+json", platform=UNKNOWN)
    remote.manifest("team/app", own["digest"], manifest)
    note = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": subject}
    return {**own, "annotations": note}


def statement(number: int) -> bytes:
    return json.dumps({"predicate": {"buildArgs": {"GITHUB_TOKEN": token(number)}}}).encode()


def test_an_image_that_is_listed_as_attestation_is_audited(
    sweeps: Sweeps, address: str, remote: Remote, root: dict[str, Any]
) -> None:
    leaking = layer({"app/.env": f"GITHUB_TOKEN={token(61)}\n"})
    config = json.dumps(image(leaking).config).encode()
    own = listed(remote, root["digest"], gzipped(leaking), OCI + "layer.v1.tar+gzip", config)
    remote.index("team/app", "2", [root, own])
    for _ in range(2):
        found = [(item["tags"], item["by_state"]) for item in sweeps(address)["images"]]
        assert sorted(found) == [(["1", "2"], {}), (["2"], {"present": 1})]


@pytest.mark.parametrize("subject", [f"sha256:{'0' * 64}", "", "x" * 1000], ids=["missing", "none", "malformed"])
def test_an_attestation_of_no_listed_image_is_audited_with_the_first_one(
    sweeps: Sweeps, cli: Cli, address: str, remote: Remote, root: dict[str, Any], subject: str
) -> None:
    remote.index("team/app", "2", [root, listed(remote, subject, statement(62), STATEMENT)])
    for _ in range(2):
        (found,) = sweeps(address)["images"]
        assert found["tags"] == ["1", "2"] and found["by_state"] == {"metadata": 1}
    assert cli("scan", f"docker://{address}/team/app:2", "-q").status == 1
    assert cli("scan", f"docker://{address}/team/app:1", "-q").status == 0


def test_an_attestation_that_names_itself_is_audited_with_the_first_image(
    cli: Cli, address: str, remote: Remote, root: dict[str, Any]
) -> None:
    own = listed(remote, "", statement(63), STATEMENT)
    own["annotations"]["vnd.docker.reference.digest"] = own["digest"]
    remote.index("team/app", "2", [root, own])
    assert cli("scan", f"docker://{address}/team/app:2", "-q").status == 1
    assert cli("registry", "scan", address, "-q").status == 1


def test_an_index_of_attestations_alone_is_a_failure(
    sweeps: Sweeps, address: str, remote: Remote, root: dict[str, Any]
) -> None:
    remote.index("team/app", "2", [listed(remote, root["digest"], statement(64), STATEMENT)])
    for _ in range(2):
        found = sweeps(address)
        assert [item["tags"] for item in found["images"]] == [["1"]]
        ((reference, reason),) = (tuple(item.values()) for item in found["failed"])
        assert reference == "team/app:2" and reason.endswith("has attestations, and no image")
