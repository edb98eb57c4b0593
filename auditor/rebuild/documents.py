"""The documents of a written archive: manifests, indexes, and manifest.json for `docker load`.

Sources: OCI image spec, image-layout.md, manifest.md and image-index.md; Docker image spec v1.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from auditor.images.manifest import REF_NAME
from auditor.model import Digest, Platform
from auditor.rebuild.output import Archive, Blob, encoded

OCI = "application/vnd.oci.image."
_INDEX = OCI + "index.v1+json"


@dataclass(frozen=True, slots=True)
class Made:
    """One image of the output: its config's bytes, its layers, its names and what else its manifest says."""

    config: bytes = field(repr=False)
    layers: tuple[Blob, ...]
    names: tuple[str, ...]
    platform: Platform | None
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)


def manifest_of(made: Made) -> dict[str, Any]:
    """Return an image's manifest."""
    layers = [
        {
            "mediaType": OCI + "layer.v1.tar" + (f"+{blob.kind}" if blob.kind else ""),
            "digest": str(blob.digest),
            "size": blob.size,
        }
        for blob in made.layers
    ]
    digest = f"sha256:{hashlib.sha256(made.config).hexdigest()}"
    config = {"mediaType": OCI + "config.v1+json", "digest": digest, "size": len(made.config)}
    document = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config, "layers": layers}
    return {**document, "annotations": dict(made.annotations)} if made.annotations else document


def write_documents(archive: Archive, images: Sequence[Made], *, docker: bool) -> Digest:
    """Write configs, manifests and indexes over layers that are stored. Return the digest of the topmost document."""
    for made in images:
        archive.document(made.config)
        archive.document(manifest_of(made))
    index = index_of(images)
    if are_platforms(images):
        index = {"manifests": [{"mediaType": _INDEX, **archive.document(_index(index))}]}
    names = [made.names for made in images][: len(index["manifests"])]
    pairs = zip(index["manifests"], names, strict=True)
    listed = [{**root, **named} for root, own in pairs for named in _references(own)]
    archive.member("index.json", encoded(_index({"manifests": listed})))
    archive.member("oci-layout", encoded({"imageLayoutVersion": "1.0.0"}))
    if docker:
        archive.member("manifest.json", encoded([_docker_entry(made) for made in images]))
    archive.end()
    return Digest(index["manifests"][0]["digest"])


def index_of(images: Sequence[Made]) -> dict[str, Any]:
    """Return the `manifests` of an index of some images, with their platforms."""
    roots = []
    for made in images:
        data = encoded(manifest_of(made))
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        root = {"mediaType": OCI + "manifest.v1+json", "digest": digest, "size": len(data)}
        roots.append({**root, **_platform(made.platform)})
    return {"manifests": roots}


def _index(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": _INDEX, **value}


def _docker_entry(made: Made) -> dict[str, Any]:
    config = f"sha256:{hashlib.sha256(made.config).hexdigest()}"
    layers = [_place(blob.digest) for blob in made.layers]
    # A layout may name an image by its tag alone, which Podman refuses here.
    tags = [name for name in made.names if ":" in name]
    return {"Config": _place(config), "RepoTags": tags, "Layers": layers}


def are_platforms(images: Sequence[Made]) -> bool:
    """Whether these are one image for several platforms, and not several images."""
    one_name = len({made.names for made in images}) == 1
    return len(images) > 1 and one_name and len({made.platform for made in images}) == len(images)


def _references(names: Sequence[str]) -> list[dict[str, Any]]:
    tags = [(name, name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else name) for name in names]
    return [{"annotations": {"io.containerd.image.name": name, REF_NAME: tag}} for name, tag in tags] or [{}]


def _platform(platform: Platform | None) -> dict[str, Any]:
    if platform is None:
        return {}
    value = {"architecture": platform.architecture, "os": platform.os}
    return {"platform": {**value, "variant": platform.variant} if platform.variant else value}


def _place(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
