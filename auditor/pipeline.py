"""The pipeline: a target to its images, their layers to records, records to fates, matches and fates to findings.

    open_target ─► Records ─► check ─► Trace ─► collect ─► Audit
                   (costly, pure, cached)  (cheap)

Read this file first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from auditor.advice.flatten import FlattenAdvice, flatten_advice
from auditor.advice.remedy import advice, recover_command
from auditor.detect.rules import Ruleset
from auditor.errors import Damaged
from auditor.findings import Stack, collect
from auditor.images.base import Base, found_base, named_base
from auditor.images.resolve import open_target
from auditor.images.source import Image, Layer, Passed
from auditor.layers.history import layers_of_steps, step_of_layer
from auditor.layers.index import LayerIndex
from auditor.layers.listing import plain_file
from auditor.layers.stats import HiddenFiles, LayerStats, hidden_files, layer_stats
from auditor.layers.trace import Trace
from auditor.model import Finding, Skipped, State, Step, Version
from auditor.provenance import Packages
from auditor.records import Records
from auditor.scan import LayerRecord, Scanner
from auditor.selection import Ignored, Selection


@dataclass(frozen=True, slots=True)
class Request:
    """What to audit of a target, and what to leave out of the report."""

    platform: str | None = None
    base: str | None = None
    insecure: bool = False
    selection: Selection = field(default_factory=Selection)


@dataclass(frozen=True, slots=True)
class BaselineUse:
    """What became of a baseline in a run: the ids that have expired, and those whose findings are no more."""

    file: str
    expired: tuple[str, ...]
    vanished: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """All that the audit of one image found. Secrets in texts are masked.

    Items of `records`, `stats` and the trace belong to the layers of the image, index 0 the base; `step_layers` gives
    each step of `history` its layer. `ids` are those of all findings, shown or not; `baseline` is of the whole run.
    `transient` tells that something was skipped which another run may read: the audit is used, and not kept.
    """

    image: Image
    ruleset: Ruleset
    base: Base | None
    records: Sequence[LayerRecord]
    trace: Trace
    stats: tuple[LayerStats, ...]
    history: tuple[Step, ...]
    step_layers: tuple[int | None, ...]
    findings: tuple[Finding, ...]
    hidden: HiddenFiles
    flatten: FlattenAdvice
    skipped: tuple[Skipped, ...]
    ignored: tuple[Ignored, ...] = ()
    ids: frozenset[str] = frozenset()
    baseline: BaselineUse | None = None
    transient: bool = False

    def step_of(self, layer: int) -> Step | None:
        """Return the step that made a layer, None where that is not known."""
        step = step_of_layer(self.step_layers, layer)
        return None if step is None else self.history[step]


def audit(target: str, scanner: Scanner, request: Request, records: Records | None = None) -> list[Audit]:
    """Audit every image that a target names. Raises AuditError where one can't be read in full.

    `records` may serve several targets: a layer that they share is read once.
    """
    source = records or Records(scanner)
    images = open_target(target, platform=request.platform, visit=source.visit, insecure=request.insecure)
    unread = {id(layer): layer.size or 0 for i in images for layer in i.layers if not isinstance(layer.content, Passed)}
    scanner.progress.expect(sum(unread.values()))
    return [audit_image(image, scanner, request, source) for image in images]


def audit_image(image: Image, scanner: Scanner, request: Request, source: Records) -> Audit:
    """Audit one image; `source` gives its layers' records."""
    source.fetch(image)
    records = [_record(image, number, source) for number in range(len(image.layers))]
    trace = Trace([record.listing for record in records], stacked=image.stacked)
    base = named_base(request.base, image) if request.base else found_base(image)
    steps = layers_of_steps(image.config.history, len(records))
    packages = Packages(records)
    stack = Stack(image, records, packages, trace, steps, base.layers if base else 0)
    collected = collect(stack, scanner, source.seal)
    shown, ignored = request.selection.apply(collected.findings, image)
    nth = _nth_entries(stack, shown)
    findings = tuple(_advised(stack, finding, nth) for finding in shown)
    hidden = hidden_files(trace)
    return Audit(
        image=image,
        ruleset=scanner.ruleset,
        base=base,
        records=records,
        trace=trace,
        stats=layer_stats(trace),
        history=collected.history,
        step_layers=steps,
        findings=findings,
        hidden=hidden,
        flatten=_flatten(stack, findings, hidden, collected.config),
        skipped=(*image.skipped, *_skipped(records), *packages.skipped, *collected.skipped),
        ignored=ignored,
        ids=frozenset(finding.id for finding in collected.findings),
        transient=packages.transient or any(record.transient for record in records),
    )


def _record(image: Image, number: int, source: Records) -> LayerRecord:
    """Return what a layer holds; its digests hold."""
    layer = image.layers[number]
    what = f"{image.target}: layer {number}"
    record = source.of(layer, what)
    check(layer, record, what)
    if not record.is_tar:
        record = replace(record, listing=plain_file(layer.title or f"layer-{number}", record.uncompressed))
    return record


def check(layer: Layer, record: LayerRecord | LayerIndex, what: str) -> None:
    """Raise Damaged where a layer's bytes are not what its manifest and config say."""
    for name, got, want in (
        ("size", record.size, layer.size),
        ("digest", record.digest, layer.digest),
        ("diff_id", record.diff_id, layer.diff_id),
    ):
        if want is not None and got != want:
            raise Damaged(f"{what}: {name} is {got}, want {want}; the image is damaged or was tampered with")


def _skipped(records: Sequence[LayerRecord]) -> list[Skipped]:
    return [Skipped(path, layer, why) for layer, record in enumerate(records) for path, why in record.skipped]


def _advised(stack: Stack, finding: Finding, nth: Mapping[str, int]) -> Finding:
    target = stack.image.target
    recover = recover_command(target, finding, nth.get(finding.id))
    return replace(finding, recover=recover, advice=advice(target, finding))


def _nth_entries(stack: Stack, findings: Sequence[Finding]) -> dict[str, int]:
    """Return which of several entries of one path in a layer holds a finding that a later one of them overwrites.

    By the finding's id. Each layer is counted once for all of its findings.
    """
    hidden = [f for f in findings if f.hidden_in is not None and f.hidden_in == f.added_in]
    entries: dict[int, set[int]] = {}
    for finding in hidden:
        entries.setdefault(finding.held_by[0].layer, set()).add(finding.held_by[0].entry)
    nth: dict[Version, int] = {}
    for layer, wanted in entries.items():
        paths = stack.records[layer].listing.paths
        counts = dict.fromkeys((paths[entry] for entry in wanted), 0)
        for entry in range(max(wanted) + 1):
            if paths[entry] in counts:
                counts[paths[entry]] += 1
            if entry in wanted:
                nth[Version(layer, entry)] = counts[paths[entry]]
    return {finding.id: nth[finding.held_by[0]] for finding in hidden}


def _flatten(
    stack: Stack, findings: Sequence[Finding], hidden: HiddenFiles, config: Mapping[str, Any]
) -> FlattenAdvice:
    gone = {version for f in findings if f.state in (State.DELETED, State.OVERWRITTEN) for version in f.held_by}
    image = stack.image
    return flatten_advice(
        image,
        stack.trace,
        [record.uncompressed for record in stack.records],
        findings,
        sorted(gone),
        hidden,
        config,
    )
