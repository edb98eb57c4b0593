"""Manifests, indexes and configs: JSON documents to images.

Sources: OCI image spec v1.1 (manifest.md, image-index.md, config.md), Docker image manifest v2 schema 2, BuildKit's
attestation-storage.md. An index is walked to every platform; one code serves folders, archives and registries.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from auditor.errors import Damaged, ImageError, NotFound, Unreachable
from auditor.images.documents import Documents, Tally, parse_json, parse_object, quiet_json
from auditor.images.source import Content, Image, Layer, Passed
from auditor.limits import current, named
from auditor.model import Config, DiffID, Digest, Platform, Skipped, Step

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPT = ", ".join(_INDEXES + _MANIFESTS)
REF_NAME = "org.opencontainers.image.ref.name"
_TITLE = "org.opencontainers.image.title"
_CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to a blob: what it is, its digest and its size in bytes."""

    media_type: str
    digest: Digest
    size: int | None
    annotations: Mapping[str, str]
    platform: Platform | None

    @property
    def is_attestation(self) -> bool:
        """Whether BuildKit hung an attestation manifest here."""
        return self.annotations.get("vnd.docker.reference.type") == "attestation-manifest"


class Store(Protocol):
    """Where blobs lie by their digest: a folder, an archive, a repository."""

    def document(self, descriptor: Descriptor) -> bytes:
        """Return a JSON blob, verified. Raises NotFound, Damaged."""
        ...

    def content(self, descriptor: Descriptor) -> Content | Passed:
        """Return a layer's bytes. Raises NotFound where that is known without a read."""
        ...


def parse_descriptor(value: Any, what: str) -> Descriptor:
    """Parse a descriptor. Raises Damaged where its digest or size is malformed."""
    if not isinstance(value, dict):
        raise Damaged(f"{what}: a descriptor is no JSON object")
    size = value.get("size")
    if size is not None and (not isinstance(size, int) or size < 0):
        raise Damaged(f"{what}: a descriptor's size is {size!r:.40}")
    try:
        digest = Digest(value.get("digest", ""))
    except ImageError as exc:
        raise Damaged(f"{what}: {exc}") from None
    return Descriptor(
        str(value.get("mediaType", "")),
        digest,
        size,
        _strings(value.get("annotations")),
        _platform(value.get("platform")),
    )


def parse_config(data: bytes, what: str) -> Config:
    """Parse an image config. Raises Damaged where its layers or history are malformed."""
    raw = parse_object(data, what)
    rootfs = raw.get("rootfs") or {}
    diff_ids = rootfs.get("diff_ids") or [] if isinstance(rootfs, dict) else []
    history = raw.get("history") or []
    if not isinstance(diff_ids, list) or not isinstance(history, list):
        raise Damaged(f"{what}: rootfs.diff_ids and history must be lists")
    try:
        parsed = tuple(DiffID(item) for item in diff_ids)
    except ImageError as exc:
        raise Damaged(f"{what}: rootfs.diff_ids: {exc}") from None
    return Config(_platform(raw), parsed, tuple(_step(item) for item in history if isinstance(item, dict)), raw)


def _step(item: dict[str, Any]) -> Step:
    return Step(
        _optional(item.get("created")),
        _optional(item.get("created_by")),
        str(item.get("comment") or ""),
        bool(item.get("empty_layer", False)),
    )


def _optional(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _strings(value: Any) -> dict[str, str]:
    return {str(k): v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}


def _platform(value: Any) -> Platform | None:
    if not isinstance(value, dict) or not isinstance(value.get("os"), str) or not value["os"]:
        return None
    return Platform(value["os"], str(value.get("architecture") or ""), str(value.get("variant") or ""))


def platform_matches(wanted: str | None, have: Platform | None) -> bool:
    """Tell whether `linux/arm64` or `linux/arm/v7` names this platform; a wanted part left out matches any."""
    if wanted is None:
        return True
    if have is None:
        return False
    parts = wanted.split("/")
    return list((have.os, have.architecture, have.variant)[: len(parts)]) == parts


Failed = Callable[[str, Exception], None]
"""Told which image of several, by its platform or name, can't be opened, and why."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What all images of one target share. Without `failed` one that can't be opened fails them all."""

    target: str
    transport: str
    platform: str | None
    failed: Failed | None = None

    def tell(self, failures: Sequence[tuple[str, Exception]], *, alone: bool) -> None:
        """Tell of images that can't be opened. Raises the first error where nobody is told, or no image is left."""
        for name, error in failures:
            if self.failed is None or alone:
                raise error
            self.failed(name, error)


def images(store: Store, roots: Sequence[Descriptor], origin: Origin) -> tuple[Image, ...]:
    """Follow descriptors down to every image of the wanted platform, attestations joined to what they attest.

    Raises NotFound where no platform matches, Damaged on broken documents.
    """
    found: list[Image] = []
    attestations: dict[str, list[bytes]] = {}
    missing: list[Skipped] = []
    failures: list[tuple[str, Exception]] = []
    platforms: list[str] = []
    seen, most, tally = set[Digest](), current().manifests, Tally(origin.target)
    store = noted = _Noted(store)
    for descriptor, names in leaves(store, roots):
        if descriptor.digest in seen:
            continue
        seen.add(descriptor.digest)
        if len(seen) > most:
            raise Damaged(f"{origin.target}: more than {most} manifests {named('manifests')}")
        if descriptor.is_attestation:
            subject = descriptor.annotations.get("vnd.docker.reference.digest", "")
            attestations.setdefault(subject, []).extend(_statements(store, descriptor, tally))
            continue
        if descriptor.platform is not None:
            platforms.append(str(descriptor.platform))
        if descriptor.platform is None or platform_matches(origin.platform, descriptor.platform):
            try:
                found.append(_image(store, descriptor, names, origin, tally))
            except (ImageError, Unreachable) as exc:
                if isinstance(exc, NotFound) and descriptor.platform is not None:
                    missing.append(Skipped(None, None, f"platform {descriptor.platform}: {exc}"))
                else:
                    failures.append((str(descriptor.platform or descriptor.digest), exc))
    origin.tell(failures, alone=not found)
    wanted = [image for image in found if platform_matches(origin.platform, image.config.platform) or not image.stacked]
    if not wanted:
        platforms += [str(image.config.platform) for image in found]
        have = ", ".join(dict.fromkeys(platforms)) or "none"
        reason = missing[0].reason if missing and not found else f"no platform {origin.platform}; it has {have}"
        raise NotFound(f"{origin.target}: {reason}")
    return tuple(
        replace(
            image,
            documents=image.documents.joined(
                {**_numbered(attestations.get(image.digest or "", [])), **noted.annotations()}
            ),
            skipped=(*image.skipped, *missing),
        )
        for image in wanted
    )


class _Noted:
    """A store that notes the indexes that are read: their annotations are texts of each image below."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._documents: dict[Digest, bytes] = {}

    def document(self, descriptor: Descriptor) -> bytes:
        data = self._store.document(descriptor)
        if b'"annotations"' in data and b'"manifests"' in data:
            self._documents[descriptor.digest] = data
        return data

    def content(self, descriptor: Descriptor) -> Content | Passed:
        return self._store.content(descriptor)

    def annotations(self) -> dict[str, bytes]:
        """Return the annotations of indexes as documents."""
        parsed = [quiet_json(data) for data in self._documents.values()]
        found = [one["annotations"] for one in parsed if isinstance(one, dict) and _is_index(one)]
        return {f"index[{at}]": json.dumps({"annotations": one}).encode() for at, one in enumerate(found)}


def _is_index(document: dict[str, Any]) -> bool:
    return isinstance(document.get("manifests"), list) and isinstance(document.get("annotations"), dict)


def _numbered(statements: list[bytes]) -> dict[str, bytes]:
    return {f"attestation[{index}]": statement for index, statement in enumerate(statements)}


def leaves(
    store: Store,
    roots: Sequence[Descriptor],
    depth: int = 0,
    names: tuple[str, ...] = (),
    seen: set[Digest] | None = None,
) -> Iterator[tuple[Descriptor, tuple[str, ...]]]:
    """Walk indexes to manifests, in order; yield each with the names that index.json gives it.

    An index that was `seen` is not entered again: four levels of a thousand entries would have no end.
    """
    seen = set() if seen is None else seen
    for descriptor in roots:
        own = names or tuple(
            descriptor.annotations[key]
            for key in ("io.containerd.image.name", REF_NAME)
            if key in descriptor.annotations
        )
        what = f"index {descriptor.digest}"
        if descriptor.media_type in _MANIFESTS:
            yield descriptor, own
            continue
        if descriptor.digest in seen:
            continue
        document = parse_object(store.document(descriptor), what)
        children = document.get("manifests")
        if not isinstance(children, list) or "layers" in document:
            yield descriptor, own
            continue
        if depth >= current().index_depth:
            raise Damaged(f"{what}: more than {depth} indexes within one another {named('index-depth')}")
        if len(children) > current().manifests:
            raise Damaged(f"{what}: lists {len(children)} manifests {named('manifests')}")
        seen.add(descriptor.digest)
        parsed = [parse_descriptor(child, what) for child in children]
        if any(child.media_type == _CACHE_CONFIG for child in parsed):
            yield descriptor, own  # BuildKit's cache: an index whose "manifests" are layers
        else:
            yield from leaves(store, parsed, depth + 1, own, seen)


def _image(store: Store, descriptor: Descriptor, names: tuple[str, ...], origin: Origin, tally: Tally) -> Image:
    what = f"{origin.target}: manifest {descriptor.digest}"
    manifest = parse_object(store.document(descriptor), what)
    if manifest.get("schemaVersion") == 1:
        raise ImageError(f"{what}: Docker's schema 1, obsolete since 2017; pull and push it with a current engine")
    layers, config = _children(manifest, what)
    if len(layers) > current().layers:
        raise Damaged(f"{what}: {len(layers)} layers {named('layers')}")
    own = _strings(manifest.get("annotations"))
    annotations = {**descriptor.annotations, **own}
    other = {key: text for key, text in descriptor.annotations.items() if own.get(key, text) != text}
    documents = {"descriptor": json.dumps({"annotations": other}).encode()} if other else {}
    document = tally.take(store.document(config), parsed=True) if config and config.size != 0 else b"{}"
    if config and _is_image_config(config, document):
        parsed = parse_config(document, f"{origin.target}: config {config.digest}")
        if len(parsed.diff_ids) != len(layers):
            raise Damaged(f"{what}: {len(layers)} layers, but the config names {len(parsed.diff_ids)}")
        made = tuple(
            Layer(store.content(layer), diff_id, layer.digest, layer.size)
            for layer, diff_id in zip(layers, parsed.diff_ids, strict=True)
        )
        return Image(
            origin.target,
            origin.transport,
            config.digest,
            descriptor.digest,
            parsed,
            made,
            names,
            annotations,
            Documents(documents),
        )
    return Image(
        origin.target,
        origin.transport,
        config.digest if config else None,
        descriptor.digest,
        Config(descriptor.platform, (), (), {}),
        tuple(_blob(store, layer) for layer in layers),
        names,
        annotations,
        Documents({**documents, **({"config": document} if quiet_json(document) else {})}),
        stacked=False,
    )


def _blob(store: Store, layer: Descriptor) -> Layer:
    """Return an artifact's blob: no config tells its uncompressed digest; its title names a plain file."""
    title = layer.annotations.get(_TITLE) or layer.digest.hex
    return Layer(store.content(layer), None, layer.digest, layer.size, title)


def _children(manifest: dict[str, Any], what: str) -> tuple[list[Descriptor], Descriptor | None]:
    """Return a manifest's layers and config; BuildKit's cache index keeps both among its `manifests`."""
    listed = manifest.get("layers", manifest.get("manifests", manifest.get("blobs", [])))
    if not isinstance(listed, list):
        raise Damaged(f"{what}: layers must be a list")
    layers = [parse_descriptor(item, what) for item in listed]
    config = parse_descriptor(manifest["config"], what) if manifest.get("config") else None
    if config is None:
        config = next((item for item in layers if item.media_type == _CACHE_CONFIG), None)
        layers = [item for item in layers if item is not config]
    return layers, config


def _is_image_config(config: Descriptor, document: bytes) -> bool:
    """The media type says so, or the content does: some tools write `application/json`."""
    if config.media_type in (
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    ):
        value = quiet_json(document)
        return isinstance(value, dict) and isinstance(value.get("rootfs"), dict)
    value = quiet_json(document) if config.media_type in ("", "application/json") else None
    return isinstance(value, dict) and isinstance(value.get("rootfs"), dict)


def _statements(store: Store, descriptor: Descriptor, tally: Tally) -> list[bytes]:
    """Return the in-toto statements of an attestation manifest. Raises Damaged where one is no JSON."""
    what = f"attestation {descriptor.digest}"
    layers, _ = _children(parse_object(store.document(descriptor), what), what)
    if len(layers) > current().layers:
        raise Damaged(f"{what}: {len(layers)} layers {named('layers')}")
    statements = []
    for layer in layers:
        statements.append(tally.take(store.document(layer)))
        parse_json(statements[-1], f"attestation {layer.digest}")
    return statements
