"""Signatures, attestations and SBOMs under tags made of a digest: no images, if their media types say so too."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.fleet.conftest import Sweeps
from tests.fleet.notes import Notes
from tests.fleet.planted import Remote, application
from tests.fleet.proxy import Proxy
from tests.images import OCI, descriptor, digest, token

pytestmark = pytest.mark.registry
COSIGN = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def attach(remote: Remote, tag: str | None, *types: str) -> dict[str, Any]:
    """Push a manifest with a layer of each media type, as cosign does; return its descriptor."""
    config, layer = b"{}", b'{"payloadType": "application/vnd.in-toto+json"}'
    for blob in (config, layer):
        remote.blob("app", blob)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI + "manifest.v1+json",
        "config": descriptor(config, OCI + "config.v1+json"),
        "layers": [descriptor(layer, kind) for kind in types],
        "annotations": {"for": str(tag)},
    }
    data = json.dumps(document).encode()
    remote.manifest("app", tag or digest(data), data)
    return descriptor(data, OCI + "manifest.v1+json")


def swept(sweeps: Sweeps, address: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Sequence[str]]:
    """Sweep a registry; return the tags of all images, and the notes."""
    progress = Notes()
    monkeypatch.setattr(sweeps.scanner, "progress", progress)
    document = sweeps(address)
    assert document["failed"] == [] and document["withdrawn"] == []
    return sorted(tag for item in document["images"] for tag in item["tags"]), progress.notes


def test_attached_artifacts_are_counted_and_not_audited(
    sweeps: Sweeps, address: str, proxy_to: Callable[[str], Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote(address)
    root = remote.push("app", "1", application(0, "app", token(31)))
    tag = root["digest"].replace(":", "-")
    attach(remote, f"{tag}.sig", COSIGN, COSIGN)
    attach(remote, f"{tag}.att", "application/vnd.dsse.envelope.v1+json")
    attach(remote, f"{tag}.sbom", "text/spdx+json")
    remote.index("app", tag, [{**attach(remote, None, BUNDLE), "artifactType": BUNDLE}])
    attach(remote, "other", BUNDLE)
    proxy = proxy_to(address)
    for _ in range(2):
        tags, notes = swept(sweeps, proxy.address, monkeypatch)
        assert tags == ["1", "other"], "by another tag it is audited"
        assert notes == [f"{proxy.address}: 4 tags of signatures, attestations and SBOMs left out: they name no image"]
    assert max(proxy.manifests.values(), default=1) == 1, "the second sweep knows them"


def test_an_image_under_such_a_tag_is_audited(sweeps: Sweeps, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Remote(address)
    tag = f"sha256-{'0' * 64}.sig"
    remote.push("app", tag, application(0, "app", token(32)))
    attach(remote, f"sha256-{'1' * 64}.att", COSIGN, "application/vnd.oci.image.layer.v1.tar")
    tags, notes = swept(sweeps, address, monkeypatch)
    assert tags == [tag, f"sha256-{'1' * 64}.att"] and notes == []
