"""What every transport gives: an `Image`, whose layers are streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from auditor.codec.file_slices import Content
from auditor.codec.json_documents import JsonDocuments
from auditor.core.digests import DiffID, Digest
from auditor.core.entries import Skipped
from auditor.core.image_config import ImageConfig


@dataclass(frozen=True, slots=True)
class Passed:
    """A layer that could be read only once: what the visitor made of it when it passed."""

    record: Any


@dataclass(frozen=True, slots=True)
class Layer:
    """One file system layer; of an artifact, one blob.

    `digest` and `size` are of the stored bytes, `diff_id` of the uncompressed tar; None where nothing states them.
    `title` names a blob that is a plain file. `annotations` are those of the layer's descriptor.
    """

    content: Content | Passed
    diff_id: DiffID | None
    digest: Digest | None
    size: int | None
    title: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """One place in indexes that lists an image, and tells what its manifest does not.

    `entry` is its descriptor: annotations, platform, artifactType. `roots` are the annotations of the descriptors of
    index.json that lead to it. `index` is the outermost index between, None where there is none, and `above` the
    annotations and the artifactType of all such. `layout` are the annotations of index.json.
    """

    entry: Mapping[str, Any]
    roots: tuple[Mapping[str, str], ...]
    index: Digest | None
    above: Mapping[str, Any]
    layout: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one platform, or an artifact (`stacked` is false: its blobs don't lie on one another).

    `id` is the digest of the config, `digest` that of the manifest. `documents` are further JSON texts that travel
    with the image (attestations, an artifact's config) by the name that a report gives them. `annotations` are those
    of the manifest and of its descriptor, `manifest` is the manifest without config and layers.
    """

    target: str
    transport: str
    id: Digest | None
    digest: Digest | None
    config: ImageConfig = field(repr=False)  # holds texts with their secrets, as do annotations and documents
    layers: tuple[Layer, ...]
    names: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)
    documents: JsonDocuments = field(default_factory=JsonDocuments, repr=False)
    stacked: bool = True
    skipped: tuple[Skipped, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    listed: tuple[Listed, ...] = field(default=(), repr=False)
