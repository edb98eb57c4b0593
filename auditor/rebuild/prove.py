"""The proof that a flattened image is the same, and holds nothing hidden: read back from what was written."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.codec.hashing import sha256
from auditor.core.digests import Digest
from auditor.core.entries import Skipped
from auditor.core.errors import FlattenError
from auditor.core.finding import Finding
from auditor.core.process import trim_heap
from auditor.images.resolve import open_target
from auditor.layers.tree import gc_paused
from auditor.pipeline import Audit, Request, audit_image
from auditor.rebuild.archive_check import violations
from auditor.rebuild.comparison import Comparison, compare
from auditor.rebuild.extraction import overlay_root
from auditor.rebuild.image_config import DroppedSettings, stale_keys
from auditor.rebuild.manifests import RewrittenImage
from auditor.rebuild.operations import KeepLayer, LayerPlan, count_kept_layers
from auditor.rebuild.readable_layers import FileSystem, ReadableLayers
from auditor.rebuild.source_images import ALL_FINDINGS
from auditor.scan import Scanner
from auditor.store.records import Records

_REWRITTEN = ("history", "rootfs", "author", "comment", "config", "container_config")


@dataclass(frozen=True, slots=True)
class WrittenImage:
    """An image that was written. By layer, `claims` says which files are copies of which of the input (`carry`)."""

    before: Audit
    outputs: Sequence[LayerPlan]
    readable: ReadableLayers
    made: RewrittenImage
    copied_from: Mapping[int, array[int]]


@dataclass(frozen=True, slots=True)
class Proof:
    """What was checked, and found to hold. Sizes are of uncompressed layers, in bytes.

    `removed` are the hidden secrets that are gone, `remaining` what is still there to be seen: visible files, ENV;
    `skipped` is what the audit of the output could not read.
    """

    paths: int
    bytes_compared: int
    layers_before: int
    layers_after: int
    layers_kept: int
    size_before: int
    size_after: int
    hidden_files_before: int
    hidden_files_after: int
    removed: tuple[Finding, ...]
    remaining: tuple[Finding, ...]
    dropped: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def prove(
    path: Path,
    scanner: Scanner,
    records: Records,
    written: Sequence[WrittenImage],
    drops: DroppedSettings,
    hashed: Collection[Digest],
    left_out: tuple[str, ...] = (),
) -> list[tuple[Audit, Proof]]:
    """Read an archive back and prove each of its images. Raises FlattenError, naming what does not hold.

    `hashed` are the digests of the layers as they stand in the file, whose `records` are held; all else is hashed here.
    `left_out` are artifacts that are not in the output.
    """
    _hold("the archive", violations(path, scanner.limits, hashed))
    images = open_target(f"oci-archive:{path}", scanner.limits)
    request = Request(selection=ALL_FINDINGS)
    afters = {image.id: audit_image(image, scanner, request, records) for image in images}
    proofs = []
    for image in written:
        after = afters.get(sha256(image.made.config))
        if after is None:
            raise FlattenError(f"{image.before.image.target}: the output lacks the image that was written")
        proofs.append((after, _prove_image(image, after, drops, left_out)))
    return proofs


def _prove_image(written: WrittenImage, after: Audit, drops: DroppedSettings, left_out: tuple[str, ...]) -> Proof:
    before, outputs = written.before, written.outputs
    what = before.image.target
    _hold(what, _layers_differ(before, outputs, after))
    _hold(what, _config_differs(before, outputs, after, drops))
    _hold(what, _listing_differs(before, after))
    left = [finding for finding in after.findings if is_hidden(finding)]
    _hold(what, [f"a secret is still hidden: {finding.name} in {finding.path or finding.where}" for finding in left])
    compared = _compare(written, after)
    _hold(what, compared.differences, compared.count)
    return Proof(
        paths=compared.paths,
        bytes_compared=compared.bytes,
        layers_before=len(before.records),
        layers_after=len(after.records),
        layers_kept=count_kept_layers(outputs),
        size_before=sum(record.uncompressed for record in before.records),
        size_after=sum(record.uncompressed for record in after.records),
        hidden_files_before=before.hidden.count,
        hidden_files_after=after.hidden.count,
        removed=tuple(finding for finding in before.findings if is_hidden(finding)),
        remaining=after.findings,
        dropped=(*_dropped(written, drops), *left_out),
        skipped=after.skipped,
    )


def is_hidden(finding: Finding) -> bool:
    """Whether a finding is one that flattening removes: deleted, overwritten, or in the history's texts."""
    where = finding.where or ""
    return finding.is_hidden or where.startswith(("history[", "author", "comment", "container_config.Cmd"))


def _hold(what: str, wrong: Sequence[str], count: int | None = None) -> None:
    if wrong:
        more = (count or len(wrong)) - 1
        tail = f", and {more} more" if more else ""
        raise FlattenError(f"{what}: not flattened, nothing was written: {wrong[0]}{tail}")


def _compare(written: WrittenImage, after: Audit) -> Comparison:
    trim_heap()
    theirs = ReadableLayers(
        after.image.target, list(after.image.layers), [record.listing for record in after.records], {}, after.limits
    )
    # An export is one layer more than the image has; `docker export` cuts times to seconds.
    whole_seconds = len(written.readable.layers) > len(written.before.records)
    with gc_paused():
        theirs.read_headers(whole=False)
        sides = _side(written.readable, written.before), _side(theirs, after)
        return compare(*sides, written.copied_from, whole_seconds=whole_seconds)


def _side(readable: ReadableLayers, of: Audit) -> FileSystem:
    return FileSystem(readable, overlay_root(readable.extracted), tuple(record.digest for record in of.records))


def _layers_differ(before: Audit, outputs: Sequence[LayerPlan], after: Audit) -> list[str]:
    """Layers that were to be kept are the same bytes."""
    pairs = zip(outputs, after.records, strict=True)
    return [
        f"layer {output.number} was to be kept and is another"
        for output, record in pairs
        if isinstance(output, KeepLayer) and before.records[output.number].digest != record.digest
    ]


def _config_differs(before: Audit, outputs: Sequence[LayerPlan], after: Audit, drops: DroppedSettings) -> list[str]:
    """All of the config stays, but for what must change and what the user dropped."""
    old, new = before.image.config.raw, after.image.config.raw
    stale = stale_keys(old, outputs)
    keys = [key for key in {**old, **new} if key not in (*_REWRITTEN, *stale)]
    wrong = [f"the config's {key} is another" for key in keys if old.get(key) != new.get(key)]
    had, has = old.get("config") or {}, new.get("config") or {}
    changed = [key for key in {**had, **has} if _without(had.get(key), key, drops) != has.get(key)]
    wrong += [f"the config's {key} is another" for key in changed]
    if before.step_layers and None not in _layers_of(before) and None in _layers_of(after):
        wrong.append("the history does not fit the layers")
    return wrong


def _layers_of(audited: Audit) -> set[int | None]:
    """Return the layers that the history accounts for; with None among them where it does not for all."""
    known: set[int | None] = {layer for layer in audited.step_layers if layer is not None}
    return known if len(known) == len(audited.records) else {None, *known}


def _without(value: Any, key: str, drops: DroppedSettings) -> Any:
    if key == "Env" and isinstance(value, list):
        return [item for item in value if str(item).partition("=")[0] not in drops.env]
    if key == "Labels" and isinstance(value, dict):
        return {name: text for name, text in value.items() if name not in drops.labels}
    return value


def _listing_differs(before: Audit, after: Audit) -> list[str]:
    """An index lists the output for the platforms for which one listed the input, each with all that it told."""
    had, has = ([item.entry.get("platform") for item in audit.image.listed] for audit in (before, after))
    return [f"the index lost the platform {platform}" for platform in had if platform and platform not in has]


def _dropped(written: WrittenImage, drops: DroppedSettings) -> tuple[str, ...]:
    before = written.before
    attestations = [name for name in before.image.documents if name.startswith("attestation[")]
    return (
        *(f"ENV {name}" for name in drops.env),
        *(f"LABEL {name}" for name in drops.labels),
        *(f"the config's {key}" for key in stale_keys(before.image.config.raw, written.outputs)),
        *written.made.metadata.dropped,
        *([f"{len(attestations)} attestation(s), which would not match any more"] if attestations else []),
    )
