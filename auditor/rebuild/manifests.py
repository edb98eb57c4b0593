"""JSON documents of a written archive: manifests, indexes, and manifest.json for `docker load`.

Images of one index are in one index again, each with its platform and annotations.
Sources: OCI image spec, image-layout.md, manifest.md and image-index.md; Docker image spec v1.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.image_config import Platform
from auditor.images.image_builder import CONTAINERD_NAME, REF_NAME
from auditor.images.source import IndexEntry
from auditor.rebuild.archive_writer import ArchiveWriter, LayerBlob, encoded
from auditor.rebuild.manifest_metadata import NAMES, ManifestMetadata

OCI = "application/vnd.oci.image."
_INDEX = OCI + "index.v1+json"
_UNLISTED = IndexEntry({}, (), None, {}, {})


@dataclass(frozen=True, slots=True)
class RewrittenImage:
    """One image of the output: bytes of its config, layers, names and other metadata.

    `renamed` replaces the names of index.json by `names`.
    """

    config: bytes = field(repr=False)
    layers: tuple[LayerBlob, ...]
    names: tuple[str, ...]
    platform: Platform | None
    metadata: ManifestMetadata = field(default_factory=ManifestMetadata)
    renamed: bool = False

    @property
    def index_entries(self) -> tuple[IndexEntry, ...]:
        """Entries of the image in indexes, at least one."""
        return self.metadata.index_entries or (_UNLISTED,)


@dataclass(slots=True)
class _Root:
    """Descriptor of index.json, repeated for each item of `annotations`; `index` is the nested index it points to."""

    descriptor: dict[str, Any]
    annotations: list[dict[str, str]]
    index: dict[str, Any] | None = None


def manifest_of(image: RewrittenImage) -> dict[str, Any]:
    """Return an image's manifest."""
    annotations = image.metadata.layers or ({},) * len(image.layers)
    layers = [
        {
            "mediaType": OCI + "layer.v1.tar" + (f"+{blob.compression}" if blob.compression else ""),
            "digest": str(blob.digest),
            "size": blob.size,
            **({"annotations": dict(own)} if own else {}),
        }
        for blob, own in zip(image.layers, annotations, strict=True)
    ]
    digest = f"sha256:{hashlib.sha256(image.config).hexdigest()}"
    config = {"mediaType": OCI + "config.v1+json", "digest": digest, "size": len(image.config)}
    kind = {key: value for key, value in image.metadata.manifest.items() if key == "artifactType"}
    more = {key: value for key, value in image.metadata.manifest.items() if key != "artifactType"}
    return {
        "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", **kind, "config": config, "layers": layers, **more,
    }  # fmt: skip


def write_documents(archive: ArchiveWriter, images: Sequence[RewrittenImage], *, docker: bool) -> None:
    """Write configs, manifests and indexes for stored layers."""
    for image in images:
        archive.document(image.config)
        archive.document(manifest_of(image))
    listed = []
    for root in _roots(images):
        if root.index is not None:
            archive.document(root.index)
        listed += [{**root.descriptor, **({"annotations": own} if own else {})} for own in root.annotations]
    layout = {key: value for image in images for item in image.index_entries for key, value in item.layout.items()}
    more = {"annotations": layout} if layout else {}
    archive.member("index.json", encoded(_index({"manifests": listed, **more})))
    archive.member("oci-layout", encoded({"imageLayoutVersion": "1.0.0"}))
    if docker:
        archive.member("manifest.json", encoded([_docker_entry(image) for image in images]))
    archive.end()


def is_multi_platform(images: Sequence[RewrittenImage]) -> bool:
    """Whether a name stands for images of several platforms, which a docker-archive cannot hold."""
    return any(len((root.index or {}).get("manifests", ())) > 1 for root in _roots(images))


def index_of(images: Sequence[RewrittenImage]) -> dict[str, Any] | None:
    """Return the index to push the images with; None for a single image without one."""
    roots = _roots(images)
    if len(roots) == 1:
        return roots[0].index
    entries = [root.index["manifests"] if root.index is not None else [root.descriptor] for root in roots]
    return _index({"manifests": [entry for some in entries for entry in some]})


def _roots(images: Sequence[RewrittenImage]) -> list[_Root]:
    """Return the descriptors of index.json, in the order of the images."""
    roots: dict[str, _Root] = {}
    merged = are_platforms(images)
    for image in images:
        for item in image.index_entries:
            descriptor = _descriptor(image, item)
            if item.index is None and not merged:
                key = str(descriptor["digest"])
                roots.setdefault(key, _Root(descriptor, _root_annotations(image, item)))
                continue
            key = str(item.index)
            if key not in roots:
                roots[key] = _Root({}, _root_annotations(image, item), _index({"manifests": [], **item.above}))
            if item.entry.get("annotations") and item.index is not None:
                descriptor["annotations"] = item.entry["annotations"]
            index = roots[key].index
            if index is not None and descriptor not in index["manifests"]:
                index["manifests"].append(descriptor)
    for root in roots.values():
        if root.index is not None:
            root.descriptor = _pointer(encoded(root.index), _INDEX)
    return list(roots.values())


def _descriptor(image: RewrittenImage, item: IndexEntry) -> dict[str, Any]:
    """Return the descriptor of an image's manifest, with the platform of its index, else that of its config."""
    descriptor = _pointer(encoded(manifest_of(image)), OCI + "manifest.v1+json")
    platform = item.entry.get("platform") or _platform(image.platform)
    kind = item.entry.get("artifactType")
    return {
        **descriptor,
        **({"artifactType": kind} if kind else {}),
        **({"platform": platform} if platform else {}),
    }


def _pointer(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def _root_annotations(image: RewrittenImage, item: IndexEntry) -> list[dict[str, str]]:
    """Return the annotations of the image's descriptors in index.json: the old ones, with new names if renamed."""
    old = [dict(annotations) for annotations in item.roots] or [{}]
    if not image.renamed and any(annotations.keys() & set(NAMES) for annotations in old):
        return [_completed(annotations, image.names) for annotations in old]
    rest = {key: value for key, value in old[0].items() if key not in NAMES}
    return [{**rest, CONTAINERD_NAME: name, REF_NAME: _tag(name)} for name in image.names] or [rest]


def _completed(annotations: dict[str, str], names: Sequence[str]) -> dict[str, str]:
    """Add the full name of manifest.json where index.json has the tag alone: Podman reads index.json."""
    full = next((name for name in names if ":" in name and _tag(name) == annotations.get(REF_NAME)), None)
    return annotations if full is None or CONTAINERD_NAME in annotations else {CONTAINERD_NAME: full, **annotations}


def _tag(name: str) -> str:
    return name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else name


def _index(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": _INDEX, **value}


def _docker_entry(image: RewrittenImage) -> dict[str, Any]:
    config = f"sha256:{hashlib.sha256(image.config).hexdigest()}"
    layers = [_place(blob.digest) for blob in image.layers]
    # A layout may name an image by its tag alone, which Podman refuses in manifest.json.
    tags = [name for name in image.names if ":" in name]
    return {"Config": _place(config), "RepoTags": tags, "Layers": layers}


def are_platforms(images: Sequence[RewrittenImage]) -> bool:
    """Whether images without an index are platforms of one image, not several images."""
    if any(item.index is not None for image in images for item in image.index_entries):
        return False
    one_name = len({image.names for image in images}) == 1
    return len(images) > 1 and one_name and len({image.platform for image in images}) == len(images)


def _platform(platform: Platform | None) -> dict[str, Any]:
    if platform is None:
        return {}
    value = {"architecture": platform.architecture, "os": platform.os}
    return {**value, "variant": platform.variant} if platform.variant else value


def _place(digest: str | Digest) -> str:
    return "blobs/" + digest.replace(":", "/")
