"""Proof that a flattened image has the same visible content and no hidden secret, from the written archive."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from auditor.codec.hashing import sha256
from auditor.core.dataclass import dataclass
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
from auditor.rebuild.derived_records import skipped_by_entry
from auditor.rebuild.extraction import overlay_root
from auditor.rebuild.image_config import DroppedSettings, stale_keys
from auditor.rebuild.manifests import RewrittenImage
from auditor.rebuild.operations import NO_VERSION, KeepLayer, LayerPlan, count_kept_layers
from auditor.rebuild.readable_layers import FileSystem, ReadableLayers
from auditor.rebuild.source_images import ALL_FINDINGS
from auditor.scan import Scanner
from auditor.store.records import Records

_REWRITTEN = ("history", "rootfs", "author", "comment", "config", "container_config")


@dataclass(frozen=True, slots=True)
class WrittenImage:
    """A written image before its proof. `copied_from` maps its layers to the results of `copy_sources`."""

    before: Audit
    plans: Sequence[LayerPlan]
    readable: ReadableLayers
    rewritten: RewrittenImage
    copied_from: Mapping[int, array[int]]


@dataclass(frozen=True, slots=True)
class Proof:
    """Results of the checks, all of which passed. Sizes are of uncompressed layers, in bytes.

    `removed` are the hidden findings of the input, `remaining` the visible findings of the output. `dropped` names
    config settings, annotations and artifacts left out. `skipped` are items of the output that no scan could read.
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
    verified: Collection[Digest],
    left_out: tuple[str, ...] = (),
) -> list[tuple[Audit, Proof]]:
    """Read an archive back and prove each of its images. Raises FlattenError with the first violation.

    `verified` are digests of blobs hashed in this very file; all others are hashed here. `left_out` are artifacts of
    the input that the output lacks.
    """
    _require_none("the archive", violations(path, scanner.limits, verified))
    images = open_target(f"oci-archive:{path}", scanner.limits)
    request = Request(selection=ALL_FINDINGS)
    afters = {image.id: audit_image(image, scanner, request, records) for image in images}
    proofs = []
    for image in written:
        after = afters.get(sha256(image.rewritten.config))
        if after is None:
            raise FlattenError(f"{image.before.image.target}: the output lacks the written image")
        proofs.append((after, _prove_image(image, after, drops, left_out)))
    return proofs


def _prove_image(written: WrittenImage, after: Audit, drops: DroppedSettings, left_out: tuple[str, ...]) -> Proof:
    before, plans = written.before, written.plans
    what = before.image.target
    _require_none(what, _layer_differences(before, plans, after))
    _require_none(what, _config_differences(before, plans, after, drops))
    _require_none(what, _index_differences(before, after))
    left = [finding for finding in after.findings if is_removable(finding)]
    _require_none(what, [f"a secret is still hidden: {found.name} in {found.path or found.where}" for found in left])
    _require_none(what, _unread_hidden(after))
    compared = _compare(written, after)
    _require_none(what, compared.differences, compared.count)
    return Proof(
        paths=compared.paths,
        bytes_compared=compared.bytes,
        layers_before=len(before.records),
        layers_after=len(after.records),
        layers_kept=count_kept_layers(plans),
        size_before=sum(record.uncompressed for record in before.records),
        size_after=sum(record.uncompressed for record in after.records),
        hidden_files_before=before.hidden.count,
        hidden_files_after=after.hidden.count,
        removed=tuple(finding for finding in before.findings if is_removable(finding)),
        remaining=after.findings,
        dropped=(*_dropped(written, drops), *left_out),
        skipped=after.skipped,
    )


_HISTORY_TEXTS = ("history", "author", "comment", "container_config", "config: ")
"""Begin of the reasons of skipped texts that flatten masks. `config:` is a limit that ends the search of all keys."""


def _unread_hidden(after: Audit) -> list[str]:
    """List the items of hidden file versions and of the history that no scan could read: they may hold secrets."""
    hint = "The default method keeps no hidden file"
    unread = []
    for layer, record in enumerate(after.records):
        for entry, items in skipped_by_entry(record).items():
            if entry == NO_VERSION:
                hidden = bool(items) and after.hidden.count > 0
            else:
                hidden = after.file_history.hidden_in(layer, entry) is not None
            if hidden:
                unread.append(f"{items[0][0] or 'content'} in layer {layer} was not read: {items[0][1]}. {hint}")
    known = {reason for record in after.records for _, reason in record.skipped}
    for item in after.skipped:
        is_history = item.layer is None and item.reason.startswith(_HISTORY_TEXTS)
        if item.path is None and item.reason not in known and (is_history or after.hidden.count):
            unread.append(item.reason if is_history else f"{item.reason}. {hint}")
    return [f"a hidden secret may be left: {text}" for text in unread]


def is_removable(finding: Finding) -> bool:
    """Whether flattening removes a finding: deleted, overwritten, or in the texts of the history."""
    where = finding.where or ""
    return finding.is_hidden or where.startswith(("history[", "author", "comment", "container_config.Cmd"))


def _require_none(what: str, wrong: Sequence[str], count: int | None = None) -> None:
    if wrong:
        more = (count or len(wrong)) - 1
        tail = f", and {more} more" if more else ""
        raise FlattenError(f"{what}: not flattened, and no output was left: {wrong[0]}{tail}")


def _compare(written: WrittenImage, after: Audit) -> Comparison:
    trim_heap()
    readable = ReadableLayers(
        after.image.target, list(after.image.layers), [record.listing for record in after.records], {}, after.limits
    )
    # --method export adds its layer to the input's, and `docker export` truncates times to seconds.
    whole_seconds = len(written.readable.layers) > len(written.before.records)
    with gc_paused():
        readable.read_headers(whole=False)
        sides = _file_system(written.readable, written.before), _file_system(readable, after)
        return compare(*sides, written.copied_from, whole_seconds=whole_seconds)


def _file_system(readable: ReadableLayers, of: Audit) -> FileSystem:
    return FileSystem(readable, overlay_root(readable.extracted), tuple(record.digest for record in of.records))


def _layer_differences(before: Audit, plans: Sequence[LayerPlan], after: Audit) -> list[str]:
    """List kept layers with another digest."""
    pairs = zip(plans, after.records, strict=True)
    return [
        f"layer {plan.number} should be kept and has another digest"
        for plan, record in pairs
        if isinstance(plan, KeepLayer) and before.records[plan.number].digest != record.digest
    ]


def _config_differences(before: Audit, plans: Sequence[LayerPlan], after: Audit, drops: DroppedSettings) -> list[str]:
    """List config keys that differ, except those that flatten rewrites and those the user drops."""
    old, new = before.image.config.raw, after.image.config.raw
    stale = stale_keys(old, plans)
    keys = [key for key in {**old, **new} if key not in (*_REWRITTEN, *stale)]
    wrong = [f"{key} of the config differs" for key in keys if old.get(key) != new.get(key)]
    had, has = old.get("config") or {}, new.get("config") or {}
    changed = [key for key in {**had, **has} if _without(had.get(key), key, drops) != has.get(key)]
    wrong += [f"{key} of the config differs" for key in changed]
    if before.step_layers and None not in _layers_of(before) and None in _layers_of(after):
        wrong.append("the history does not match the layers")
    return wrong


def _layers_of(audited: Audit) -> set[int | None]:
    """Return the layers that have a history step; None is included where some layer has none."""
    known: set[int | None] = {layer for layer in audited.step_layers if layer is not None}
    return known if len(known) == len(audited.records) else {None, *known}


def _without(value: Any, key: str, drops: DroppedSettings) -> Any:
    if key == "Env" and isinstance(value, list):
        return [item for item in value if str(item).partition("=")[0] not in drops.env]
    if key == "Labels" and isinstance(value, dict):
        return {name: text for name, text in value.items() if name not in drops.labels}
    return value


def _index_differences(before: Audit, after: Audit) -> list[str]:
    """List platforms that the index of the input has and that of the output lacks."""
    had, has = ([item.entry.get("platform") for item in audit.image.index_entries] for audit in (before, after))
    return [f"the index lost the platform {platform}" for platform in had if platform and platform not in has]


def _dropped(written: WrittenImage, drops: DroppedSettings) -> tuple[str, ...]:
    before = written.before
    attestations = [name for name in before.image.documents if name.startswith("attestation[")]
    return (
        *(f"ENV {name}" for name in drops.env),
        *(f"LABEL {name}" for name in drops.labels),
        *(f"the config's {key}" for key in stale_keys(before.image.config.raw, written.plans)),
        *written.rewritten.metadata.dropped,
        *([f"{len(attestations)} attestation(s) of the old digests"] if attestations else []),
    )
