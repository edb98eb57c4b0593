"""What is said of an image around its config: in its manifest, on its layers, in indexes. What stays true is kept.

A kept layer keeps its annotations, and so the table of contents of eStargz and zstd:chunked. A rewritten one loses
them, for they tell of other bytes. Annotations that name a digest which is no more go too, each by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from auditor.codec.descriptors import strings
from auditor.core.digests import Digest
from auditor.images.manifest import CONTAINERD_NAME, REF_NAME
from auditor.images.source import Image, Layer, Listed
from auditor.pipeline import Audit
from auditor.rebuild.image_config import touches_base
from auditor.rebuild.operations import ExciseLayer, KeepLayer, LayerPlan, MergeLayers

NAMES = (REF_NAME, CONTAINERD_NAME)
_OF_A_NAME = (*NAMES, "vnd.docker.reference.", "containerd.io/distribution.source.")
_OF_THE_BASE = "org.opencontainers.image.base."


@dataclass(frozen=True, slots=True)
class ManifestMetadata:
    """What a rewritten image's manifest, layers and indexes say; `dropped` names what is not true any more.

    `manifest` holds annotations, artifactType and subject; `layers` the annotations of each layer's descriptor.
    """

    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    layers: tuple[Mapping[str, str], ...] = field(default=(), repr=False)
    listed: tuple[Listed, ...] = field(default=(), repr=False)
    dropped: tuple[str, ...] = ()


class _Filter:
    """Keeps the annotations that stay true, and notes the names of the others."""

    def __init__(self, digests: Collection[str], *, base: bool) -> None:
        self._digests, self._base = digests, base
        self.dropped: dict[str, None] = {}

    def annotations(self, value: Mapping[str, str], place: str, *, names: bool = False) -> dict[str, str]:
        """Return what stays of annotations; with `names`, the image's name too, which elsewhere goes unsaid."""
        kept = {}
        for key, text in value.items():
            if key.startswith(_OF_A_NAME) and not (names and key in NAMES):
                continue
            if (self._base and key.startswith(_OF_THE_BASE)) or any(digest in text for digest in self._digests):
                self.dropped[f"the annotation {key} of {place}"] = None
            else:
                kept[key] = text
        return kept

    def listed(self, item: Listed) -> Listed:
        """Return what stays of what indexes say."""
        entry, above = dict(item.entry), dict(item.above)
        for value, place in ((entry, "the image in its index"), (above, "the index")):
            if "annotations" in value:
                value["annotations"] = self.annotations(strings(value["annotations"]), place)
        roots = tuple(self.annotations(root, "index.json", names=True) for root in item.roots)
        return replace(item, entry=entry, above=above, roots=roots, layout=self.annotations(item.layout, "index.json"))


def rewritten_metadata(audit: Audit, outputs: Sequence[LayerPlan], image_id: Digest) -> ManifestMetadata:
    """Return what is said around the image whose new config has the digest `image_id`."""
    image = audit.image
    old = _old_digests(image, outputs, image_id)
    keep = _Filter(old, base=touches_base(audit, outputs))
    manifest: dict[str, Any] = {}
    annotations = keep.annotations(strings(image.manifest.get("annotations")), "the manifest")
    if annotations:
        manifest["annotations"] = annotations
    if isinstance(image.manifest.get("artifactType"), str):
        manifest["artifactType"] = image.manifest["artifactType"]
    subject = image.manifest.get("subject")
    if isinstance(subject, dict):
        if subject.get("digest") in old:
            keep.dropped["the manifest's subject, a digest that is no more"] = None
        else:
            manifest["subject"] = subject
    listed = tuple(keep.listed(item) for item in image.listed)
    dropped = [*keep.dropped, *_of_layers(image.layers, outputs)]
    return ManifestMetadata(
        manifest, tuple(_layer_annotations(image, output) for output in outputs), listed, tuple(dropped)
    )


def _old_digests(image: Image, outputs: Sequence[LayerPlan], image_id: Digest) -> set[str]:
    """Return the digests of the input that the output has not."""
    old: set[str | None] = {image.digest, *(item.index for item in image.listed)}
    if image.id != image_id:
        old.add(image.id)
    kept = {output.number for output in outputs if isinstance(output, KeepLayer)}
    for number, layer in enumerate(image.layers):
        if number not in kept:
            old |= {layer.digest, layer.diff_id}
    return {digest for digest in old if digest}


def _layer_annotations(image: Image, output: LayerPlan) -> Mapping[str, str]:
    return image.layers[output.number].annotations if isinstance(output, KeepLayer) else {}


def _of_layers(layers: Sequence[Layer], outputs: Sequence[LayerPlan]) -> Iterator[str]:
    """Name the annotations that rewritten layers had."""
    for output in outputs:
        match output:
            case ExciseLayer(number):
                rewritten = range(number, number + 1)
            case MergeLayers(lowest):
                rewritten = range(lowest, len(layers))
            case KeepLayer():
                continue
        for number in rewritten:
            for key in layers[number].annotations:
                yield f"the annotation {key} of layer {number}, which was rewritten"
