"""Indexes, walked to the manifests that they list. Sources: OCI image spec v1.1, image-index.md; BuildKit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from auditor.codec.descriptors import INDEXES, MANIFESTS, Descriptor, parse_descriptors, platform_matches, strings
from auditor.codec.file_slices import Content
from auditor.codec.json_documents import canonical_keys, key_names, parse_object
from auditor.core.digests import Digest
from auditor.core.entries import Skipped
from auditor.core.errors import Damaged, NotFound
from auditor.core.limits import Limits, named
from auditor.images.source import Listed

CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
MANIFEST_KEYS = key_names(
    "schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "blobs", "fsLayers", "annotations",
    "subject",
)  # fmt: skip
_LISTED_KEYS = ("annotations", "platform", "artifactType")


class Store(Protocol):
    """Where blobs lie by their digest: a folder, an archive, a repository."""

    def document(self, descriptor: Descriptor) -> bytes:
        """Return a JSON blob, verified. Raises NotFound, Damaged."""
        ...

    def content(self, descriptor: Descriptor) -> Content:
        """Return a layer's bytes. Raises NotFound where that is known without a read."""
        ...


@dataclass(frozen=True, slots=True)
class Trail:
    """The way from a root to a manifest: the root's descriptor, the digest of the outermost index, what indexes say."""

    root: Descriptor
    index: Digest | None = None
    above: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def below(self, digest: Digest, document: Mapping[str, Any]) -> Trail:
        """Return the way on through an index; what an inner index says wins."""
        annotations = {**self.above.get("annotations", {}), **strings(document.get("annotations"))}
        more = {"annotations": annotations} if annotations else {}
        kind = document.get("artifactType")
        kept = {"artifactType": kind} if isinstance(kind, str) else {}
        return Trail(self.root, self.index or digest, {**self.above, **kept, **more})


@dataclass(frozen=True, slots=True)
class Top:
    """What index.json says: its own annotations, and those of its descriptors, by the digest that they name."""

    annotations: Mapping[str, str]
    roots: Mapping[Digest, tuple[Mapping[str, str], ...]]

    @classmethod
    def of(cls, roots: Sequence[Descriptor], annotations: Mapping[str, str]) -> Top:
        """Collect the annotations of descriptors: one image may have several names."""
        found: dict[Digest, list[Mapping[str, str]]] = {}
        for root in roots:
            found.setdefault(root.digest, []).append(root.annotations)
        return cls(annotations, {digest: tuple(notes) for digest, notes in found.items()})


@dataclass(slots=True)
class Found:
    """A manifest, and every way that leads to it."""

    descriptor: Descriptor
    ways: list[tuple[Descriptor, Trail]]

    def wanted(self, platform: str | None) -> bool:
        """Whether some index lists it for the platform; one that no index gives a platform may be for any."""
        return any(own.platform is None or platform_matches(platform, own.platform) for own, _ in self.ways)

    def listed(self, top: Top) -> tuple[Listed, ...]:
        """Return how indexes list it; a manifest that index.json lists several times has one way from there."""
        found: dict[tuple[object, ...], Listed] = {}
        for own, trail in self.ways:
            roots = top.roots.get(trail.root.digest, ())
            entry = {key: own.raw[key] for key in _LISTED_KEYS if own.raw.get(key)}
            key = (trail.root.digest, str(entry) if trail.index else "")
            found.setdefault(key, Listed(entry, roots, trail.index, trail.above, top.annotations))
        return tuple(found.values())


def gathered(
    store: Store, roots: Sequence[Descriptor], what: str, limits: Limits, skipped: list[Skipped]
) -> list[Found]:
    """Return each manifest once, with all ways to it. Raises Damaged where there are too many."""
    found: dict[Digest, Found] = {}
    for descriptor, trail in leaves(store, roots, limits, skipped=skipped):
        found.setdefault(descriptor.digest, Found(descriptor, [])).ways.append((descriptor, trail))
        if len(found) > limits.manifests:
            raise Damaged(f"{what}: more than {limits.manifests} manifests {named('manifests')}")
    return list(found.values())


def leaves(
    store: Store,
    roots: Sequence[Descriptor],
    limits: Limits,
    depth: int = 0,
    trail: Trail | None = None,
    seen: set[Digest] | None = None,
    skipped: list[Skipped] | None = None,
) -> Iterator[tuple[Descriptor, Trail]]:
    """Walk indexes to manifests, in order; yield each with its way.

    An index that was `seen` is not entered again: four levels of a thousand entries would have no end. Malformed
    entries are added to `skipped`; where that is None they raise Damaged.
    """
    seen = set() if seen is None else seen
    for descriptor in roots:
        own = trail or Trail(descriptor)
        what = f"index {descriptor.digest}"
        if descriptor.media_type in MANIFESTS:
            yield descriptor, own
            continue
        if descriptor.digest in seen:
            continue
        try:
            document = canonical_keys(
                parse_object(_listed_document(store, descriptor, trail), what, limits), MANIFEST_KEYS, what
            )
        except NotFound:
            yield descriptor, own  # the caller finds out again, and knows what else there is
            continue
        children = document.get("manifests")
        layers = document.get("layers")
        if not isinstance(children, list) or layers is not None:
            yield descriptor, own
        if not isinstance(children, list) or (not children and layers is not None):
            continue
        if depth >= limits.index_depth:
            raise Damaged(f"{what}: more than {depth} indexes within one another {named('index-depth')}")
        if len(children) > limits.manifests:
            raise Damaged(f"{what}: lists {len(children)} manifests {named('manifests')}")
        seen.add(descriptor.digest)
        parsed = parse_descriptors(children, what, skipped)
        if _is_cache(parsed):
            yield descriptor, own  # an index whose "manifests" are layers
        else:
            below = own.below(descriptor.digest, document)
            yield from leaves(store, parsed, limits, depth + 1, below, seen, skipped)


def _listed_document(store: Store, descriptor: Descriptor, trail: Trail | None) -> bytes:
    """Return a document. What an index lists under another media type a registry may have as a manifest all the same.

    Docker and Podman pull it.
    """
    if trail is not None and descriptor.media_type not in (*INDEXES, *MANIFESTS):
        try:
            return store.document(replace(descriptor, media_type=MANIFESTS[0]))
        except NotFound:
            pass
    return store.document(descriptor)


def _is_cache(children: Sequence[Descriptor]) -> bool:
    """Whether an index is a BuildKit cache: layers and their config, and no manifest among them."""
    types = {child.media_type for child in children}
    return CACHE_CONFIG in types and types.isdisjoint((*INDEXES, *MANIFESTS))
