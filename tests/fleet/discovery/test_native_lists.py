"""Sweeps of registries without a catalog: their lists lead to audited images."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.fleet.conftest import Sweeps
from tests.images import image, layer, token
from tests.registry.double import PASSWORD, USER, Double
from tests.registry.doubles import ArtifactoryDouble, GitlabDouble, HarborDouble, NexusDouble


class _Gitlab(GitlabDouble):
    scopes: frozenset[str] | None = None  # pulls are granted
    projects: Mapping[str, str] = {"7": "team/app"}
    images: Mapping[str, Sequence[str]] = {"team/app": ("1",), "team/app/worker": ("1", "2")}


class _Harbor(HarborDouble):
    scopes: frozenset[str] | None = None
    images: Mapping[str, Sequence[str]] = {"team/app": ("1",), "team/web": ("2",)}


@pytest.fixture(params=[_Gitlab, _Harbor, ArtifactoryDouble, NexusDouble])
def double(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    """A registry whose images have one secret; the login is stored."""
    built = image(layer({"app/.env": f"GITHUB_TOKEN={token(7)}\n"}))
    server: Double = request.param()
    blobs, root = built.blobs()
    server.blobs, server.root = blobs, root["digest"]
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {server.address: {"auth": login}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    yield server
    server.close()


def test_the_images_of_a_list_are_audited(sweeps: Sweeps, double: Double) -> None:
    found = sweeps(double.address, repos=("*/app", "*/worker", "*/web"))
    assert found["failed"] == []
    assert {item["repository"] for item in found["images"]} == {*double.images} - {"docker-remote/busybox"}
    assert all(item["by_severity"] == {"critical": 1} for item in found["images"])
    assert found["layers"]["read"] == 1
