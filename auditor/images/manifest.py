"""Manifests and indexes to images. An index is walked to every platform; one code serves folders, archives, registries.

What an engine pulls is an image: Docker and Podman go by a config's content more than by its media type, and so does
this module. Sources: OCI image spec v1.1 (manifest.md, image-index.md), Docker image manifest v2 schema 2, BuildKit's
attestation-storage.md, and what Docker 26 and Podman 5 were seen to pull.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from auditor.codec.descriptors import (
    Descriptor,
    parse_config,
    parse_descriptor,
    platform_matches,
    strings,
)
from auditor.codec.json_documents import (
    DocumentBudget,
    JsonDocuments,
    canonical_keys,
    parse_json,
    parse_json_or_none,
    parse_object,
)
from auditor.core.digests import DiffID
from auditor.core.entries import Skipped
from auditor.core.errors import Damaged, ImageError, NotFound, Unreachable
from auditor.core.image_config import ImageConfig, Platform
from auditor.core.limits import Limits, named
from auditor.images.index import CACHE_CONFIG, MANIFEST_KEYS, Found, Store, Top, gathered
from auditor.images.source import Image, Layer, Listed

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
_TITLE = "org.opencontainers.image.title"
_IMAGE_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")


Failed = Callable[[str, Exception], None]
"""Told which image of several, by its platform or name, can't be opened, and why."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What all images of one target share. Without `failed` one that can't be opened fails them all."""

    target: str
    transport: str
    platform: str | None
    limits: Limits
    failed: Failed | None = None

    def tell(self, failures: Sequence[tuple[str, Exception]], *, alone: bool) -> None:
        """Tell of images that can't be opened. Raises the first error where nobody is told, or no image is left."""
        for name, error in failures:
            if self.failed is None or alone:
                raise error
            self.failed(name, error)


def images(
    store: Store,
    roots: Sequence[Descriptor],
    origin: Origin,
    layout: Mapping[str, str] | None = None,
    skipped: Sequence[Skipped] = (),
) -> tuple[Image, ...]:
    """Follow descriptors down to every image of the wanted platform, attestations joined to what they attest.

    `layout` are the annotations of index.json, `skipped` what of it can't be used. Raises NotFound where no platform
    matches, Damaged on broken documents.
    """
    opened = _Opened(list(skipped))
    attestations: dict[str, list[bytes]] = {}
    platforms: list[str] = []
    tally, top = DocumentBudget(origin.target, origin.limits), Top.of(roots, layout or {})
    leaves = gathered(store, roots, origin.target, origin.limits, opened.missing)
    for leaf in leaves:
        descriptor = leaf.descriptor
        if descriptor.is_attestation:
            statements = _statements(store, descriptor, tally, origin.limits)
            if statements is not None:
                subject = descriptor.annotations.get("vnd.docker.reference.digest", "")
                attestations.setdefault(subject, []).extend(statements)
                continue
        platforms += [str(own.platform) for own, _ in leaf.ways if own.platform is not None]
        if leaf.wanted(origin.platform):
            opened.add(descriptor, partial(_image, store, leaf, origin, tally, top), only=len(leaves) == 1)
    origin.tell(opened.failures, alone=not opened.images)
    wanted = [image for image in opened.images if _is_for(image, origin.platform) or not image.stacked]
    if not wanted:
        platforms += [str(image.config.platform) for image in opened.images]
        have = ", ".join(dict.fromkeys(platforms)) or "none"
        lacks = opened.missing[0].reason if opened.missing and not opened.images else ""
        reason = lacks or f"no platform {origin.platform}; it has {have}"
        raise NotFound(f"{origin.target}: {reason}")
    return tuple(
        replace(
            image,
            documents=image.documents.joined(_numbered(attestations.get(image.digest or "", []))),
            skipped=(*image.skipped, *opened.missing),
        )
        for image in wanted
    )


@dataclass(slots=True)
class _Opened:
    """Images of a target so far, what of it is not there, and what can't be opened, by platform or digest."""

    missing: list[Skipped]
    images: list[Image] = field(default_factory=list)
    failures: list[tuple[str, Exception]] = field(default_factory=list)

    def add(self, descriptor: Descriptor, read: Callable[[], Image], *, only: bool) -> None:
        """Read an image. Raises NotFound where the `only` one, of which no index tells a platform, is not there."""
        try:
            self.images.append(read())
        except (ImageError, Unreachable) as exc:
            if not isinstance(exc, NotFound):
                self.failures.append((str(descriptor.platform or descriptor.digest), exc))
            elif descriptor.platform is None and only:
                raise
            else:
                self.missing.append(Skipped(None, None, f"platform {descriptor.platform or 'unknown'}: {exc}"))


def _is_for(image: Image, platform: str | None) -> bool:
    """Whether an image is for a platform: an index's word counts, for engines pull by it; else the config's."""
    return any(item.entry.get("platform") for item in image.listed) or platform_matches(platform, image.config.platform)


def _numbered(statements: list[bytes]) -> dict[str, bytes]:
    return {f"attestation[{index}]": statement for index, statement in enumerate(statements)}


def _names(listed: Sequence[Listed]) -> tuple[str, ...]:
    """Return the names that index.json, or else an index, gives an image."""
    found: dict[str, None] = {}
    for item in listed:
        own = strings(item.entry.get("annotations"))
        named_roots = [root for root in item.roots if root.keys() & {CONTAINERD_NAME, REF_NAME}]
        for notes in named_roots or [own]:
            found.update((notes[key], None) for key in (CONTAINERD_NAME, REF_NAME) if key in notes)
    return tuple(found)


def _image(store: Store, leaf: Found, origin: Origin, tally: DocumentBudget, top: Top) -> Image:
    descriptor, limits = leaf.descriptor, origin.limits
    what = f"{origin.target}: manifest {descriptor.digest}"
    manifest = canonical_keys(parse_object(store.document(descriptor), what, limits), MANIFEST_KEYS, what)
    if manifest.get("schemaVersion") == 1 and "layers" not in manifest:
        raise ImageError(f"{what}: Docker's schema 1, obsolete since 2017; pull and push it with a current engine")
    layers, config = _children(manifest, what)
    if len(layers) > limits.layers:
        raise Damaged(f"{what}: {len(layers)} layers {named('layers')}")
    own = strings(manifest.get("annotations"))
    annotations = {**descriptor.annotations, **own}
    listed = leaf.listed(top)
    common: dict[str, Any] = {
        "names": _names(listed),
        "annotations": annotations,
        "manifest": {key: value for key, value in manifest.items() if key not in ("config", "layers")},
        "listed": listed,
    }
    around = _around(listed, layers, annotations)
    if other := {key: text for key, text in descriptor.annotations.items() if own.get(key, text) != text}:
        around["descriptor"] = json.dumps({"annotations": other}).encode()
    document = tally.take(store.document(config), parsed=True) if config else b"{}"
    if config and _is_image_config(config, parse_json_or_none(document, limits), len(layers)):
        parsed = parse_config(document, f"{origin.target}: config {config.digest}", limits)
        diff_ids: Sequence[DiffID | None] = parsed.diff_ids or [None] * len(layers)  # Podman asks for none
        if len(diff_ids) != len(layers):
            raise Damaged(f"{what}: {len(layers)} layers, but the config names {len(diff_ids)}")
        made = tuple(
            Layer(store.content(layer), diff_id, layer.digest, layer.size, annotations=layer.annotations)
            for layer, diff_id in zip(layers, diff_ids, strict=True)
        )
        parsed = replace(parsed, platform=_told(parsed.platform, descriptor.platform))
        return Image(
            origin.target, origin.transport, config.digest, descriptor.digest, parsed, made,
            documents=JsonDocuments(around, limits), **common,
        )  # fmt: skip
    is_json = parse_json_or_none(document, limits) is not None
    plain = [_blob(store, config)] if config and not is_json else []  # a config that is no JSON is searched as a file
    return Image(
        origin.target,
        origin.transport,
        config.digest if config else None,
        descriptor.digest,
        ImageConfig(descriptor.platform, (), (), {}),
        (*(_blob(store, layer) for layer in layers), *plain),
        documents=JsonDocuments({**({"config": document} if is_json and document != b"{}" else {}), **around}, limits),
        stacked=False,
        **common,
    )


def _told(own: Platform | None, listed: Platform | None) -> Platform | None:
    """Return an image's platform: the config's, completed by the index, which alone tells ARM's variants in most."""
    if listed is None or listed.os == "unknown":
        return own
    if own is None:
        return listed
    same = (own.os, own.architecture) == (listed.os, listed.architecture)
    return listed if same and listed.variant else own


def _around(listed: Sequence[Listed], layers: Sequence[Descriptor], known: Mapping[str, str]) -> dict[str, bytes]:
    """Return the texts around an image that are in neither its manifest nor its config, by the names reports use."""
    entries = [strings(item.entry.get("annotations")) for item in listed[1:]]
    roots = [dict(root) for item in listed if item.index is not None for root in item.roots]
    outer = [note for note in (*entries, *roots) if note and not note.items() <= known.items()]
    above = {
        key: value for item in listed for key, value in {**item.layout, **item.above.get("annotations", {})}.items()
    }
    index = {**({"annotations": above} if above else {}), **({"manifests": outer} if outer else {})}
    notes = [layer.annotations for layer in layers]
    found = {"index": index} if index else {}
    if any(notes):
        found["manifest"] = {"layers": notes}
    return {name: json.dumps(value).encode() for name, value in found.items()}


def _blob(store: Store, layer: Descriptor) -> Layer:
    """Return an artifact's blob: no config tells its uncompressed digest; its title names a plain file."""
    title = layer.annotations.get(_TITLE) or layer.digest.hex
    return Layer(store.content(layer), None, layer.digest, layer.size, title)


def _children(manifest: dict[str, Any], what: str) -> tuple[list[Descriptor], Descriptor | None]:
    """Return a manifest's layers and config; BuildKit's cache index keeps both among its `manifests`."""
    listed: Any = next((manifest[key] for key in ("layers", "manifests", "blobs") if manifest.get(key) is not None), [])
    if not isinstance(listed, list):
        raise Damaged(f"{what}: layers must be a list")
    layers = [parse_descriptor(item, what) for item in listed]
    config = parse_descriptor(manifest["config"], what) if manifest.get("config") else None
    if config is None:
        config = next((item for item in layers if item.media_type == CACHE_CONFIG), None)
        layers = [item for item in layers if item is not config]
    return layers, config


def _is_image_config(config: Descriptor, value: object, layers: int) -> bool:
    """Whether a config makes its manifest an image: where the media type says so, it needs layers to name.

    Under any other media type it needs as many as the manifest has: Docker pulls `application/octet-stream`,
    `text/html` and many more, Podman any of Docker's manifest.
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


def _statements(store: Store, descriptor: Descriptor, tally: DocumentBudget, limits: Limits) -> list[bytes] | None:
    """Return the in-toto statements of an attestation manifest; None where its layers are no JSON, but an image's."""
    what = f"attestation {descriptor.digest}"
    document = canonical_keys(parse_object(store.document(descriptor), what, limits), MANIFEST_KEYS, what)
    layers, _ = _children(document, what)
    if len(layers) > limits.layers:
        raise Damaged(f"{what}: {len(layers)} layers {named('layers')}")
    statements = []
    for layer in layers:
        try:
            data = store.document(layer)
        except Damaged:
            return None
        if data.lstrip()[:1] not in (b"{", b"["):
            return None
        statements.append(tally.take(data))
        parse_json(data, f"attestation {layer.digest}", limits)
    return statements
