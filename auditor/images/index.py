"""Manifests that the indexes of a target list. Sources: OCI image spec v1.1, image-index.md; BuildKit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Protocol

from auditor.codec.descriptors import INDEXES, MANIFESTS, Descriptor, parse_descriptors, platform_matches, strings
from auditor.codec.file_slices import Content
from auditor.codec.json_documents import canonical_keys, key_names, parse_object
from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.entries import Skipped
from auditor.core.errors import Damaged, NotFound
from auditor.core.limits import Limits, limit_note
from auditor.images.source import IndexEntry

CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
MANIFEST_KEYS = key_names(
    "schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "blobs", "fsLayers", "annotations",
    "subject",
)  # fmt: skip
_LISTED_KEYS = ("annotations", "platform", "artifactType")


class BlobStore(Protocol):
    """Blobs by digest: a folder, an archive, a repository."""

    def document(self, descriptor: Descriptor) -> bytes:
        """Return a JSON blob, verified. Raises NotFound, Damaged."""
        ...

    def content(self, descriptor: Descriptor) -> Content:
        """Return a layer's content. Raises NotFound if the store knows without a read that it lacks the blob."""
        ...


@dataclass(frozen=True, slots=True)
class IndexPath:
    """Path from a root to a manifest: the root's descriptor, the outermost index, metadata of the indexes between."""

    root: Descriptor
    index: Digest | None = None
    above: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def through(self, digest: Digest, document: Mapping[str, Any]) -> IndexPath:
        """Return the path extended by an index; the metadata of inner indexes win."""
        annotations = {**self.above.get("annotations", {}), **strings(document.get("annotations"))}
        more = {"annotations": annotations} if annotations else {}
        kind = document.get("artifactType")
        kept = {"artifactType": kind} if isinstance(kind, str) else {}
        return IndexPath(self.root, self.index or digest, {**self.above, **kept, **more})


@dataclass(frozen=True, slots=True)
class RootAnnotations:
    """Annotations of index.json, and those of its descriptors by digest."""

    layout: Mapping[str, str]
    roots: Mapping[Digest, tuple[Mapping[str, str], ...]]

    @classmethod
    def of(cls, roots: Sequence[Descriptor], layout: Mapping[str, str]) -> RootAnnotations:
        """Collect the annotations of descriptors: one image may have several names."""
        found: dict[Digest, list[Mapping[str, str]]] = {}
        for root in roots:
            found.setdefault(root.digest, []).append(root.annotations)
        return cls(layout, {digest: tuple(annotations) for digest, annotations in found.items()})


@dataclass(slots=True)
class ListedManifest:
    """A manifest, with each descriptor that lists it and the path to that descriptor."""

    descriptor: Descriptor
    listings: list[tuple[Descriptor, IndexPath]]

    def may_be_for(self, platform: str | None) -> bool:
        """Whether an index lists it for the platform, or without a platform."""
        return any(own.platform is None or platform_matches(platform, own.platform) for own, _ in self.listings)

    def index_entries(self, annotations: RootAnnotations) -> tuple[IndexEntry, ...]:
        """Return its entries in indexes; several entries of index.json for one manifest count once."""
        found: dict[tuple[object, ...], IndexEntry] = {}
        for own, path in self.listings:
            roots = annotations.roots.get(path.root.digest, ())
            entry = {key: own.raw[key] for key in _LISTED_KEYS if own.raw.get(key)}
            key = (path.root.digest, str(entry) if path.index else "")
            found.setdefault(key, IndexEntry(entry, roots, path.index, path.above, annotations.layout))
        return tuple(found.values())


def listed_manifests(
    store: BlobStore, roots: Sequence[Descriptor], what: str, limits: Limits, skipped: list[Skipped]
) -> list[ListedManifest]:
    """Return each manifest once, with all paths to it. Raises Damaged above the limit."""
    found: dict[Digest, ListedManifest] = {}
    for descriptor, path in walk_indexes(store, roots, limits, skipped=skipped):
        found.setdefault(descriptor.digest, ListedManifest(descriptor, [])).listings.append((descriptor, path))
        if len(found) > limits.manifests:
            raise Damaged(f"{what}: more than {limits.manifests} manifests {limit_note('manifests')}")
    return list(found.values())


def walk_indexes(
    store: BlobStore,
    roots: Sequence[Descriptor],
    limits: Limits,
    depth: int = 0,
    path: IndexPath | None = None,
    visited: set[Digest] | None = None,
    skipped: list[Skipped] | None = None,
) -> Iterator[tuple[Descriptor, IndexPath]]:
    """Yield the manifests that indexes list, in order, each with its path.

    An index is entered once (`visited` has the digests): four levels of a thousand entries each would never end.
    Malformed entries are added to `skipped`, or raise Damaged if that is None.
    """
    visited = set() if visited is None else visited
    for descriptor in roots:
        own = path or IndexPath(descriptor)
        what = f"index {descriptor.digest}"
        if descriptor.media_type in MANIFESTS:
            yield descriptor, own
            continue
        if descriptor.digest in visited:
            continue
        try:
            document = canonical_keys(
                parse_object(_listed_document(store, descriptor, path), what, limits), MANIFEST_KEYS, what
            )
        except NotFound:
            yield descriptor, own  # the caller reads it again, and can tell whether other images remain
            continue
        children = document.get("manifests")
        layers = document.get("layers")
        if not isinstance(children, list) or layers is not None:
            yield descriptor, own
        if not isinstance(children, list) or (not children and layers is not None):
            continue
        if depth >= limits.index_depth:
            raise Damaged(f"{what}: more than {depth} indexes nested {limit_note('index-depth')}")
        if len(children) > limits.manifests:
            raise Damaged(f"{what}: lists {len(children)} manifests {limit_note('manifests')}")
        visited.add(descriptor.digest)
        parsed = parse_descriptors(children, what, skipped)
        if _is_cache(parsed):
            yield descriptor, own  # a cache, whose "manifests" are layers
        else:
            inner = own.through(descriptor.digest, document)
            yield from walk_indexes(store, parsed, limits, depth + 1, inner, visited, skipped)


def _listed_document(store: BlobStore, descriptor: Descriptor, path: IndexPath | None) -> bytes:
    """Return the document of a descriptor.

    A registry may serve a blob as a manifest although the index lists another media type: Docker and Podman pull it.
    """
    if path is not None and descriptor.media_type not in (*INDEXES, *MANIFESTS):
        try:
            return store.document(replace(descriptor, media_type=MANIFESTS[0]))
        except NotFound:
            pass
    return store.document(descriptor)


def _is_cache(children: Sequence[Descriptor]) -> bool:
    """Whether an index is a BuildKit cache: it lists layers and their config, and no manifest."""
    types = {child.media_type for child in children}
    return CACHE_CONFIG in types and types.isdisjoint((*INDEXES, *MANIFESTS))
