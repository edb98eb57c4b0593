"""The index.json of an OCI layout, and the choice of an image by tag. Source: OCI image spec, image-layout.md."""

from __future__ import annotations

from collections.abc import Mapping

from auditor.codec.descriptors import Descriptor, parse_descriptors, strings
from auditor.codec.json_documents import canonical_keys, key_names, parse_object
from auditor.core.dataclass import dataclass
from auditor.core.entries import Skipped
from auditor.core.errors import Damaged, NotFound
from auditor.core.limits import Limits
from auditor.images.image_builder import CONTAINERD_NAME, REF_NAME

_INDEX = key_names("manifests", "annotations")


@dataclass(frozen=True, slots=True)
class LayoutIndex:
    """An index.json: the descriptors with the requested tag, its annotations, its malformed entries."""

    descriptors: list[Descriptor]
    annotations: Mapping[str, str]
    skipped: tuple[Skipped, ...]


def read_layout_index(index: bytes, what: str, limits: Limits, tag: str | None) -> LayoutIndex:
    """Parse an index.json; a tag selects descriptors. Raises NotFound, Damaged."""
    document = canonical_keys(parse_object(index, f"{what}: index.json", limits), _INDEX, what)
    entries = document.get("manifests")
    if entries is not None and not isinstance(entries, list):
        raise Damaged(f"{what}: index.json lists no manifests")
    skipped: list[Skipped] = []
    parsed = parse_descriptors(entries or (), f"{what}: index.json", skipped)
    return LayoutIndex(_tagged(parsed, what, tag), strings(document.get("annotations")), tuple(skipped))


def _tagged(parsed: list[Descriptor], what: str, tag: str | None) -> list[Descriptor]:
    if tag is None:
        return parsed
    keys = (REF_NAME, CONTAINERD_NAME)
    chosen = [d for d in parsed if any(key in d.annotations and names_match(d.annotations[key], tag) for key in keys)]
    if not chosen:
        have = sorted({d.annotations[key] for d in parsed for key in keys if key in d.annotations})
        raise NotFound(f"{what}: no image {tag!r}; it has {', '.join(have[:10]) or 'none with a name'}")
    return chosen


def names_match(name: str, requested: str) -> bool:
    """Whether the user's text names an image of an archive: in full, without `latest`, or by tag alone."""
    full = requested if ":" in requested.rpartition("/")[2] else f"{requested}:latest"
    return name in (requested, full) or name.endswith("/" + full) or name.rpartition(":")[2] == requested
