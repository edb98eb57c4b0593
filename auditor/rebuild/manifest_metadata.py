"""Annotations, artifact type and subject of a rewritten image, in its manifest, layer descriptors and indexes.

Kept layers keep their annotations, such as the table of contents of eStargz and zstd:chunked. Annotations of rewritten
layers, and those that contain a digest the output lacks, are dropped and reported by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from auditor.codec.descriptors import strings
from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.images.image_builder import CONTAINERD_NAME, REF_NAME
from auditor.images.source import Image, IndexEntry, Layer
from auditor.pipeline import Audit
from auditor.rebuild.image_config import touches_base
from auditor.rebuild.operations import ExciseLayer, KeepLayer, LayerPlan, MergeLayers

NAMES = (REF_NAME, CONTAINERD_NAME)
_OF_A_NAME = (*NAMES, "vnd.docker.reference.", "containerd.io/distribution.source.")
_OF_THE_BASE = "org.opencontainers.image.base."


@dataclass(frozen=True, slots=True)
class ManifestMetadata:
    """Metadata of a rewritten image outside its config; `dropped` names the removed annotations.

    `manifest` has annotations, artifactType and subject; `layers` the annotations of each layer's descriptor; `listed`
    the entries of indexes.
    """

    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    layers: tuple[Mapping[str, str], ...] = field(default=(), repr=False)
    index_entries: tuple[IndexEntry, ...] = field(default=(), repr=False)
    dropped: tuple[str, ...] = ()


class _Filter:
    """Filter of annotations; `dropped` collects the names of those it removes."""

    def __init__(self, digests: Collection[str], *, base: bool) -> None:
        self._digests, self._base = digests, base
        self.dropped: dict[str, None] = {}

    def annotations(self, value: Mapping[str, str], place: str, *, names: bool = False) -> dict[str, str]:
        """Return the annotations to keep. Image names are kept only with `names`."""
        kept = {}
        for key, text in value.items():
            if key.startswith(_OF_A_NAME) and not (names and key in NAMES):
                continue
            if (self._base and key.startswith(_OF_THE_BASE)) or any(digest in text for digest in self._digests):
                self.dropped[f"the annotation {key} of {place}"] = None
            else:
                kept[key] = text
        return kept

    def index_entry(self, item: IndexEntry) -> IndexEntry:
        """Return an index entry with filtered annotations."""
        entry, above = dict(item.entry), dict(item.above)
        for value, place in ((entry, "the image in its index"), (above, "the index")):
            if "annotations" in value:
                value["annotations"] = self.annotations(strings(value["annotations"]), place)
        roots = tuple(self.annotations(root, "index.json", names=True) for root in item.roots)
        return replace(item, entry=entry, above=above, roots=roots, layout=self.annotations(item.layout, "index.json"))


def rewritten_metadata(audit: Audit, plans: Sequence[LayerPlan], image_id: Digest) -> ManifestMetadata:
    """Return the metadata of the rewritten image with the new config digest `image_id`."""
    image = audit.image
    old = _old_digests(image, plans, image_id)
    keep = _Filter(old, base=touches_base(audit, plans))
    manifest: dict[str, Any] = {}
    annotations = keep.annotations(strings(image.manifest.get("annotations")), "the manifest")
    if annotations:
        manifest["annotations"] = annotations
    if isinstance(image.manifest.get("artifactType"), str):
        manifest["artifactType"] = image.manifest["artifactType"]
    subject = image.manifest.get("subject")
    if isinstance(subject, dict):
        if subject.get("digest") in old:
            keep.dropped["the manifest's subject, an old digest"] = None
        else:
            manifest["subject"] = subject
    listed = tuple(keep.index_entry(item) for item in image.index_entries)
    dropped = [*keep.dropped, *_of_layers(image.layers, plans)]
    return ManifestMetadata(manifest, tuple(_layer_annotations(image, plan) for plan in plans), listed, tuple(dropped))


def _old_digests(image: Image, plans: Sequence[LayerPlan], image_id: Digest) -> set[str]:
    """Return the digests of the input that the output lacks."""
    old: set[str | None] = {image.digest, *(item.index for item in image.index_entries)}
    if image.id != image_id:
        old.add(image.id)
    kept = {plan.number for plan in plans if isinstance(plan, KeepLayer)}
    for number, layer in enumerate(image.layers):
        if number not in kept:
            old |= {layer.digest, layer.diff_id}
    return {digest for digest in old if digest}


def _layer_annotations(image: Image, plan: LayerPlan) -> Mapping[str, str]:
    return image.layers[plan.number].annotations if isinstance(plan, KeepLayer) else {}


def _of_layers(layers: Sequence[Layer], plans: Sequence[LayerPlan]) -> Iterator[str]:
    """Yield the names of annotations on rewritten layers."""
    for plan in plans:
        match plan:
            case ExciseLayer(number):
                rewritten = range(number, number + 1)
            case MergeLayers(lowest):
                rewritten = range(lowest, len(layers))
            case KeepLayer():
                continue
        for number in rewritten:
            for key in layers[number].annotations:
                yield f"the annotation {key} of layer {number}, which was rewritten"
