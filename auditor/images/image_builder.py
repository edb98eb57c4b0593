"""One image from its manifest, its config and its entries in indexes.

Docker and Podman recognise an image by the content of its config more than by media types, and so does this module.
Sources: OCI image spec v1.1 (manifest.md, config.md), Docker image manifest v2 schema 2, and tests with Docker 26 and
Podman 5.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from auditor.codec.descriptors import MANIFESTS, Descriptor, parse_config, parse_descriptor, strings
from auditor.codec.json_documents import (
    DocumentBudget,
    JsonDocuments,
    canonical_keys,
    parse_json_or_none,
    parse_object,
)
from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID
from auditor.core.errors import Damaged, ImageError
from auditor.core.image_config import ImageConfig, Platform
from auditor.core.limits import Limits, limit_note
from auditor.images.index import CACHE_CONFIG, MANIFEST_KEYS, BlobStore, ListedManifest, RootAnnotations
from auditor.images.source import Image, IndexEntry, Layer

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
_TITLE = "org.opencontainers.image.title"
_IMAGE_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")


@dataclass(frozen=True, slots=True)
class ImageBuilder:
    """Builds the images of one target. `documents` limits the JSON of all of them."""

    store: BlobStore
    target: str
    transport: str
    documents: DocumentBudget
    annotations: RootAnnotations
    limits: Limits

    def image(self, listed: ListedManifest) -> Image:
        """Return the image, or the artifact, of a manifest. Raises ImageError."""
        descriptor = listed.descriptor
        what = f"{self.target}: manifest {descriptor.digest}"
        manifest = canonical_keys(parse_object(self.store.document(descriptor), what, self.limits), MANIFEST_KEYS, what)
        if manifest.get("schemaVersion") == 1 and "layers" not in manifest:
            raise ImageError(f"{what}: Docker's schema 1, obsolete since 2017; pull and push it with a current engine")
        layers, config = layers_and_config(manifest, what)
        is_cache = config is not None and config.media_type == CACHE_CONFIG
        if descriptor.media_type in MANIFESTS and manifest.get("manifests") and not is_cache:
            # containerd and Podman refuse it too: CVE-2021-41190.
            raise Damaged(f"{what}: lists manifests, as an index does, but has the media type of one image")
        if len(layers) > self.limits.layers:
            raise Damaged(f"{what}: {len(layers)} layers {limit_note('layers')}")
        document = self.documents.add(self.store.document(config), parsed=True) if config else b"{}"
        value = parse_json_or_none(document, self.limits)
        entries = listed.index_entries(self.annotations)
        own = strings(manifest.get("annotations"))
        annotations = {**descriptor.annotations, **own}
        documents = _index_documents(entries, layers, annotations)
        if other := {key: text for key, text in descriptor.annotations.items() if own.get(key, text) != text}:
            documents["descriptor"] = json.dumps({"annotations": other}).encode()
        if config and _is_image_config(config, value, len(layers)):
            image = self._image(descriptor, config, document, layers, what)
        else:
            if value is not None and document != b"{}":
                documents = {"config": document, **documents}
            image = self._artifact(descriptor, config, layers, is_json=value is not None)
        return replace(
            image,
            names=_names(entries),
            annotations=annotations,
            manifest={key: item for key, item in manifest.items() if key not in ("config", "layers")},
            index_entries=entries,
            documents=JsonDocuments(documents, self.limits),
        )

    def _image(
        self, descriptor: Descriptor, config: Descriptor, document: bytes, layers: Sequence[Descriptor], what: str
    ) -> Image:
        parsed = parse_config(document, f"{self.target}: config {config.digest}", self.limits)
        diff_ids: Sequence[DiffID | None] = parsed.diff_ids or [None] * len(layers)  # Podman requires none
        if len(diff_ids) != len(layers):
            raise Damaged(f"{what}: {len(layers)} layers, but the config names {len(diff_ids)}")
        contents = tuple(
            Layer(self.store.content(layer), diff_id, layer.digest, layer.size, annotations=layer.annotations)
            for layer, diff_id in zip(layers, diff_ids, strict=True)
        )
        parsed = replace(parsed, platform=_platform(parsed.platform, descriptor.platform))
        return Image(self.target, self.transport, config.digest, descriptor.digest, parsed, contents)

    def _artifact(
        self, descriptor: Descriptor, config: Descriptor | None, layers: Sequence[Descriptor], *, is_json: bool
    ) -> Image:
        """Return an artifact, with its blobs as layers. A config that is not JSON is searched as a file."""
        plain = [self._artifact_layer(config)] if config and not is_json else []
        return Image(
            self.target,
            self.transport,
            config.digest if config else None,
            descriptor.digest,
            ImageConfig(descriptor.platform, (), (), {}),
            (*(self._artifact_layer(layer) for layer in layers), *plain),
            stacked=False,
        )

    def _artifact_layer(self, layer: Descriptor) -> Layer:
        """Return an artifact's blob: its diff_id is unknown, and its title is the name of a plain file."""
        title = layer.annotations.get(_TITLE) or layer.digest.hex
        return Layer(self.store.content(layer), None, layer.digest, layer.size, title)


def layers_and_config(manifest: dict[str, Any], what: str) -> tuple[list[Descriptor], Descriptor | None]:
    """Return a manifest's layers and config; BuildKit's cache index has both among its `manifests`."""
    listed: Any = next((manifest[key] for key in ("layers", "manifests", "blobs") if manifest.get(key) is not None), [])
    if not isinstance(listed, list):
        raise Damaged(f"{what}: layers must be a list")
    layers = [parse_descriptor(item, what) for item in listed]
    config = parse_descriptor(manifest["config"], what) if manifest.get("config") else None
    if config is None:
        config = next((item for item in layers if item.media_type == CACHE_CONFIG), None)
        layers = [item for item in layers if item is not config]
    return layers, config


def _names(entries: Sequence[IndexEntry]) -> tuple[str, ...]:
    """Return the names of an image in index.json, or else in an index."""
    found: dict[str, None] = {}
    for item in entries:
        own = strings(item.entry.get("annotations"))
        named_roots = [root for root in item.roots if root.keys() & {CONTAINERD_NAME, REF_NAME}]
        for texts in named_roots or [own]:
            found.update((texts[key], None) for key in (CONTAINERD_NAME, REF_NAME) if key in texts)
    return tuple(found)


def _platform(own: Platform | None, listed: Platform | None) -> Platform | None:
    """Return the config's platform, completed by the index: most configs lack the variant of ARM."""
    if listed is None or listed.os == "unknown":
        return own
    if own is None:
        return listed
    same = (own.os, own.architecture) == (listed.os, listed.architecture)
    return listed if same and listed.variant else own


def _index_documents(
    entries: Sequence[IndexEntry], layers: Sequence[Descriptor], known: Mapping[str, str]
) -> dict[str, bytes]:
    """Return annotations of indexes and layers, as JSON documents by their names in reports.

    `known` are the annotations of the manifest and of its descriptor, which are searched anyway.
    """
    further = [strings(item.entry.get("annotations")) for item in entries[1:]]
    roots = [dict(root) for item in entries if item.index is not None for root in item.roots]
    outer = [
        annotations for annotations in (*further, *roots) if annotations and not annotations.items() <= known.items()
    ]
    above = {
        key: value for item in entries for key, value in {**item.layout, **item.above.get("annotations", {})}.items()
    }
    index = {**({"annotations": above} if above else {}), **({"manifests": outer} if outer else {})}
    of_layers = [layer.annotations for layer in layers]
    found = {"index": index} if index else {}
    if any(of_layers):
        found["manifest"] = {"layers": of_layers}
    return {name: json.dumps(value).encode() for name, value in found.items()}


def _is_image_config(config: Descriptor, value: object, layers: int) -> bool:
    """Whether a manifest with this config is an image.

    The config needs a `rootfs`; under a media type other than that of image configs, `rootfs` must list as many layers
    as the manifest: Docker pulls `application/octet-stream`, `text/html` and many more, Podman any Docker manifest.
    """
    if not isinstance(value, dict):
        return False
    rootfs = next((item for key, item in value.items() if key.casefold() == "rootfs"), None)
    if not isinstance(rootfs, dict):
        return False
    if config.media_type in _IMAGE_CONFIGS:
        return True
    diff_ids = next((item for key, item in rootfs.items() if key.casefold() == "diff_ids"), None)
    return isinstance(diff_ids, list) and len(diff_ids) == layers
