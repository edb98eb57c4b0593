"""The documents of a written archive: manifests, indexes, and manifest.json for `docker load`.

Images that one index listed are listed by one again, each with the platform and the annotations that it had there.
Sources: OCI image spec, image-layout.md, manifest.md and image-index.md; Docker image spec v1.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from auditor.core.digests import Digest
from auditor.core.image_config import Platform
from auditor.images.manifest import CONTAINERD_NAME, REF_NAME
from auditor.images.source import Listed
from auditor.rebuild.archive_writer import ArchiveWriter, LayerBlob, encoded
from auditor.rebuild.manifest_metadata import NAMES, ManifestMetadata

OCI = "application/vnd.oci.image."
_INDEX = OCI + "index.v1+json"
_UNLISTED = Listed({}, (), None, {}, {})


@dataclass(frozen=True, slots=True)
class RewrittenImage:
    """One image of the output: its config's bytes, its layers, its names and what else is said of it.

    With `renamed` the names replace those that index.json gave it.
    """

    config: bytes = field(repr=False)
    layers: tuple[LayerBlob, ...]
    names: tuple[str, ...]
    platform: Platform | None
    metadata: ManifestMetadata = field(default_factory=ManifestMetadata)
    renamed: bool = False

    @property
    def listed(self) -> tuple[Listed, ...]:
        """How indexes list the image: at least once."""
        return self.metadata.listed or (_UNLISTED,)


@dataclass(slots=True)
class _Root:
    """A descriptor of index.json, as often as it has annotations, and the index that it names, if it names one."""

    descriptor: dict[str, Any]
    notes: list[dict[str, str]]
    index: dict[str, Any] | None = None


def manifest_of(made: RewrittenImage) -> dict[str, Any]:
    """Return an image's manifest."""
    notes = made.metadata.layers or ({},) * len(made.layers)
    layers = [
        {
            "mediaType": OCI + "layer.v1.tar" + (f"+{blob.kind}" if blob.kind else ""),
            "digest": str(blob.digest),
            "size": blob.size,
            **({"annotations": dict(own)} if own else {}),
        }
        for blob, own in zip(made.layers, notes, strict=True)
    ]
    digest = f"sha256:{hashlib.sha256(made.config).hexdigest()}"
    config = {"mediaType": OCI + "config.v1+json", "digest": digest, "size": len(made.config)}
    kind = {key: value for key, value in made.metadata.manifest.items() if key == "artifactType"}
    more = {key: value for key, value in made.metadata.manifest.items() if key != "artifactType"}
    return {
        "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", **kind, "config": config, "layers": layers, **more,
    }  # fmt: skip


def write_documents(archive: ArchiveWriter, images: Sequence[RewrittenImage], *, docker: bool) -> None:
    """Write configs, manifests and indexes over layers that are stored."""
    for made in images:
        archive.document(made.config)
        archive.document(manifest_of(made))
    listed = []
    for root in _roots(images):
        if root.index is not None:
            archive.document(root.index)
        listed += [{**root.descriptor, **({"annotations": notes} if notes else {})} for notes in root.notes]
    layout = {key: value for made in images for item in made.listed for key, value in item.layout.items()}
    more = {"annotations": layout} if layout else {}
    archive.member("index.json", encoded(_index({"manifests": listed, **more})))
    archive.member("oci-layout", encoded({"imageLayoutVersion": "1.0.0"}))
    if docker:
        archive.member("manifest.json", encoded([_docker_entry(made) for made in images]))
    archive.end()


def is_multi_platform(images: Sequence[RewrittenImage]) -> bool:
    """Whether some name stands for images of several platforms, which no docker-archive can hold."""
    return any(len((root.index or {}).get("manifests", ())) > 1 for root in _roots(images))


def index_of(images: Sequence[RewrittenImage]) -> dict[str, Any] | None:
    """Return the index under which images are pushed; None for an image that no index listed."""
    roots = _roots(images)
    if len(roots) == 1:
        return roots[0].index
    entries = [root.index["manifests"] if root.index is not None else [root.descriptor] for root in roots]
    return _index({"manifests": [entry for some in entries for entry in some]})


def _roots(images: Sequence[RewrittenImage]) -> list[_Root]:
    """Return what index.json lists, in the order of the images."""
    roots: dict[str, _Root] = {}
    merged = are_platforms(images)
    for made in images:
        for item in made.listed:
            descriptor = _descriptor(made, item)
            if item.index is None and not merged:
                key = str(descriptor["digest"])
                roots.setdefault(key, _Root(descriptor, _notes(made, item)))
                continue
            key = str(item.index)
            if key not in roots:
                roots[key] = _Root({}, _notes(made, item), _index({"manifests": [], **item.above}))
            if item.entry.get("annotations") and item.index is not None:
                descriptor["annotations"] = item.entry["annotations"]
            index = roots[key].index
            if index is not None and descriptor not in index["manifests"]:
                index["manifests"].append(descriptor)
    for root in roots.values():
        if root.index is not None:
            root.descriptor = _pointer(encoded(root.index), _INDEX)
    return list(roots.values())


def _descriptor(made: RewrittenImage, item: Listed) -> dict[str, Any]:
    """Return the descriptor of an image's manifest, with the platform that an index told, else its config's."""
    descriptor = _pointer(encoded(manifest_of(made)), OCI + "manifest.v1+json")
    platform = item.entry.get("platform") or _platform(made.platform)
    kind = item.entry.get("artifactType")
    return {
        **descriptor,
        **({"artifactType": kind} if kind else {}),
        **({"platform": platform} if platform else {}),
    }


def _pointer(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def _notes(made: RewrittenImage, item: Listed) -> list[dict[str, str]]:
    """Return the annotations of the root's descriptors: those it had, or with the names that it is to have."""
    had = [dict(notes) for notes in item.roots] or [{}]
    if not made.renamed and any(notes.keys() & set(NAMES) for notes in had):
        return [_completed(notes, made.names) for notes in had]
    rest = {key: value for key, value in had[0].items() if key not in NAMES}
    return [{**rest, CONTAINERD_NAME: name, REF_NAME: _tag(name)} for name in made.names] or [rest]


def _completed(notes: dict[str, str], names: Sequence[str]) -> dict[str, str]:
    """Add the name that manifest.json gave, where index.json has its tag alone: Podman goes by the latter."""
    full = next((name for name in names if ":" in name and _tag(name) == notes.get(REF_NAME)), None)
    return notes if full is None or CONTAINERD_NAME in notes else {CONTAINERD_NAME: full, **notes}


def _tag(name: str) -> str:
    return name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else name


def _index(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": _INDEX, **value}


def _docker_entry(made: RewrittenImage) -> dict[str, Any]:
    config = f"sha256:{hashlib.sha256(made.config).hexdigest()}"
    layers = [_place(blob.digest) for blob in made.layers]
    # A layout may name an image by its tag alone, which Podman refuses here.
    tags = [name for name in made.names if ":" in name]
    return {"Config": _place(config), "RepoTags": tags, "Layers": layers}


def are_platforms(images: Sequence[RewrittenImage]) -> bool:
    """Whether images that no index lists are one image for several platforms, and not several images."""
    if any(item.index is not None for made in images for item in made.listed):
        return False
    one_name = len({made.names for made in images}) == 1
    return len(images) > 1 and one_name and len({made.platform for made in images}) == len(images)


def _platform(platform: Platform | None) -> dict[str, Any]:
    if platform is None:
        return {}
    value = {"architecture": platform.architecture, "os": platform.os}
    return {**value, "variant": platform.variant} if platform.variant else value


def _place(digest: str | Digest) -> str:
    return "blobs/" + digest.replace(":", "/")
