"""The pipeline: a target to its images, their layers to records, records to fates, matches and fates to findings.

    open_source ─► Records ─► check ─► FileHistory ─► collect ─► Audit
                   (costly, pure, cached)  (cheap)

Read this file first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from auditor.advice.flatten_advice import FlattenAdvice, flatten_advice
from auditor.advice.remedy import advice, recover_command
from auditor.core.entries import FileVersion, Skipped
from auditor.core.errors import AuditError, Damaged, reason, without_logins
from auditor.core.finding import Finding
from auditor.core.globs import MASK, fits_masked
from auditor.core.image_config import HistoryStep, Platform
from auditor.core.limits import DEFAULT, Limits
from auditor.core.text import display_path
from auditor.detect.rules import Ruleset
from auditor.findings.baseline import BaselineUse, ImageFindings
from auditor.findings.collect import collect
from auditor.findings.image_context import ImageContext
from auditor.findings.selection import IgnoredBy, IgnoredFinding, Selection, name_without_tag
from auditor.images.base import Base, found_base, named_base
from auditor.images.resolve import open_source
from auditor.images.source import Image, ImageSource, Layer, LayerRef
from auditor.layers.build_steps import layers_of_steps, step_of_layer
from auditor.layers.file_history import FileHistory
from auditor.layers.layer_index import LayerIndex
from auditor.layers.listing import plain_file
from auditor.layers.stats import HiddenFiles, LayerStats, hidden_files, layer_stats
from auditor.provenance import Packages
from auditor.scan import LayerRecord, Scanner
from auditor.scan.masker import TextMasker
from auditor.store.records import Records

Streamed = Mapping[LayerRef, LayerRecord | Damaged]
"""Records of the layers that can be read only once, or why they can't be read."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to audit of a target, and what to leave out of the report."""

    platform: str | None = None
    base: str | None = None
    insecure: bool = False
    selection: Selection = field(default_factory=Selection)


@dataclass(frozen=True, slots=True)
class Audit:
    """All that the audit of one image found. Secrets in texts are masked.

    Items of `records`, `stats` and the trace belong to the layers of the image, index 0 the base; `step_layers` gives
    each step of `history` its layer. `hidden_paths` are those of `hidden.largest`, as they are shown. `ids` are those
    of all findings, shown or not; `baseline` is of the whole run. `transient` tells that something was skipped which
    another run may read: the audit is used, and not kept.
    """

    image: Image
    ruleset: Ruleset
    base: Base | None
    records: Sequence[LayerRecord]
    trace: FileHistory
    stats: tuple[LayerStats, ...]
    history: tuple[HistoryStep, ...]
    step_layers: tuple[int | None, ...]
    findings: tuple[Finding, ...]
    hidden: HiddenFiles
    hidden_paths: tuple[str, ...]
    flatten: FlattenAdvice
    skipped: tuple[Skipped, ...]
    ignored: tuple[IgnoredFinding, ...] = ()
    ids: frozenset[str] = frozenset()
    baseline: BaselineUse | None = None
    transient: bool = False
    limits: Limits = DEFAULT

    def for_baseline(self) -> ImageFindings:
        """Return the findings as a baseline needs them."""
        silenced = (item.finding for item in self.ignored if item.by is IgnoredBy.BASELINE)
        findings = (*self.findings, *silenced)
        return ImageFindings(name_without_tag(self.image), frozenset(self.ruleset.by_id), self.ids, findings)

    def step_of(self, layer: int) -> HistoryStep | None:
        """Return the step that made a layer, None where that is not known."""
        step = step_of_layer(self.step_layers, layer)
        return None if step is None else self.history[step]


@dataclass(frozen=True, slots=True)
class Failure:
    """A target, or one image of it, that was not audited, and why. `reason` names the platform of one of several."""

    target: str
    reason: str
    error: Exception = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.reason if self.reason.startswith(self.target) else f"{self.target}: {self.reason}"


def audit(target: str, scanner: Scanner, request: Request, records: Records | None = None) -> list[Audit]:
    """Audit every image that a target names. Raises AuditError where one can't be read in full.

    `records` may serve several targets: a layer that they share is read once.
    """
    audits = []
    for result in audit_each(target, scanner, request, records or Records(scanner)):
        if isinstance(result, Failure):
            raise result.error
        audits.append(result)
    return audits


def audit_each(target: str, scanner: Scanner, request: Request, records: Records) -> Iterator[Audit | Failure]:
    """Audit the images that a target names. One that fails, while it is opened or read, holds up no other."""
    failures, shown = list[Failure](), TextMasker(scanner.searcher)

    def note(name: str, error: Exception) -> None:
        if os.environ.get("IMAGE_AUDIT_DEBUG") and not isinstance(error, AuditError):
            raise error
        told = f"{name}: {reason(error)}" if name else reason(error)
        failures.append(Failure(shown(without_logins(target)), shown(told), error))

    streamed: Streamed = {}
    images: tuple[Image, ...] = ()
    try:
        source = open_source(target, scanner.limits, platform=request.platform, insecure=request.insecure, failed=note)
        streamed = _scan_streams(source, records)
        images = source.images()
    except Exception as exc:
        note("", exc)
    unread = {
        id(layer): layer.size or 0 for i in images for layer in i.layers if not isinstance(layer.content, LayerRef)
    }
    scanner.progress.expect(sum(unread.values()))
    for image in images:
        try:
            yield audit_image(image, scanner, request, records, streamed)
        except Exception as exc:
            note(_name(image) if len(images) > 1 else "", exc)
    yield from failures


def _name(image: Image) -> str:
    """Tell an image from the others of its target."""
    return str(image.config.platform or next(iter(image.names), image.id))


def _scan_streams(source: ImageSource, records: Records) -> Streamed:
    """Scan the layers that can be read only once. A damaged one fails the images that consist of it, and no other."""
    streamed: dict[LayerRef, LayerRecord | Damaged] = {}
    for layer, stream in source.streams():
        try:
            streamed[layer] = records.of_stream(layer, stream)
        except Damaged as exc:
            streamed[layer] = exc
    return streamed


def audit_image(
    image: Image, scanner: Scanner, request: Request, source: Records, streamed: Streamed = MappingProxyType({})
) -> Audit:
    """Audit one image. `source` returns the records of its layers, `streamed` those already read from a stream."""
    source.fetch(image)
    records = [_record(image, number, source, streamed) for number in range(len(image.layers))]
    trace = FileHistory([record.listing for record in records], stacked=image.stacked)
    limits = scanner.limits
    base = named_base(request.base, image, limits) if request.base else found_base(image, limits)
    steps = layers_of_steps(image.config.history, len(records))
    packages = Packages(records)
    context = ImageContext(image, records, packages, trace, steps, base.layers if base else 0)
    collected = collect(context, scanner, source.with_hmac)
    shown, ignored = request.selection.apply(collected.findings, image)
    image = _shown_image(image, collected.mask)
    nth = _nth_entries(context, shown)
    findings = tuple(_advised(context, image.target, finding, nth) for finding in shown)
    hidden = hidden_files(trace)
    return Audit(
        image=image,
        ruleset=scanner.ruleset,
        base=base and replace(base, name=collected.mask(base.name)),
        records=records,
        trace=trace,
        stats=layer_stats(trace),
        history=collected.history,
        step_layers=steps,
        findings=findings,
        hidden=hidden,
        hidden_paths=tuple(
            collected.mask(display_path(records[version.layer].listing.paths[version.entry]))
            for version in hidden.largest
        ),
        flatten=_flatten(context, image, findings, hidden, collected.config),
        skipped=tuple(
            replace(item, path=item.path and collected.mask(item.path), reason=collected.mask(item.reason))
            for item in (*image.skipped, *_skipped(records), *packages.skipped, *collected.skipped)
        ),
        ignored=ignored,
        ids=frozenset(finding.id for finding in collected.findings),
        limits=limits,
        transient=packages.transient or any(record.transient for record in records),
    )


def _record(image: Image, number: int, source: Records, streamed: Streamed) -> LayerRecord:
    """Return the record of a layer, with its digests verified."""
    layer = image.layers[number]
    what = f"{image.target}: layer {number}"
    found = streamed[layer.content] if isinstance(layer.content, LayerRef) else source.of(layer, what)
    if isinstance(found, Damaged):
        raise found
    record = found
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


def _shown_image(image: Image, shown: Callable[[str], str]) -> Image:
    """Mask the secrets in what an image is called. Its config and its documents are left: they are not shown."""
    platform = image.config.platform
    if platform is not None:
        platform = Platform(shown(platform.os), shown(platform.architecture), shown(platform.variant))
    return replace(
        image,
        target=shown(without_logins(image.target)),
        names=tuple(map(shown, image.names)),
        config=replace(image.config, platform=platform),
    )


def _advised(context: ImageContext, target: str, finding: Finding, nth: Mapping[str, int]) -> Finding:
    masked = finding.path is not None and MASK in finding.path
    recover = recover_command(target, finding, _nth_masked(context, finding) if masked else nth.get(finding.id))
    return replace(finding, recover=recover, advice=advice(target, finding))


def _nth_entries(context: ImageContext, findings: Sequence[Finding]) -> dict[str, int]:
    """Return which of several entries of one path in a layer holds a finding that a later one of them overwrites.

    By the finding's id. Each layer is counted once for all of its findings.
    """
    hidden = [f for f in findings if f.path is not None and f.hidden_in is not None and f.hidden_in == f.added_in]
    entries: dict[int, set[int]] = {}
    for finding in hidden:
        entries.setdefault(finding.held_by[0].layer, set()).add(finding.held_by[0].entry)
    nth: dict[FileVersion, int] = {}
    for layer, wanted in entries.items():
        paths = context.records[layer].listing.paths
        counts = dict.fromkeys((paths[entry] for entry in wanted), 0)
        for entry in range(max(wanted) + 1):
            if paths[entry] in counts:
                counts[paths[entry]] += 1
            if entry in wanted:
                nth[FileVersion(layer, entry)] = counts[paths[entry]]
    return {finding.id: nth[finding.held_by[0]] for finding in hidden}


def _nth_masked(context: ImageContext, finding: Finding) -> int | None:
    """Return which of several entries of a layer that a masked path may stand for holds a finding."""
    path, (layer, entry) = finding.path or "", (finding.held_by[0].layer, finding.held_by[0].entry)
    own = [at for at, name in enumerate(context.records[layer].listing.paths) if fits_masked(path, display_path(name))]
    return own.index(entry) + 1 if len(own) > 1 and entry in own else None


def _flatten(
    context: ImageContext, image: Image, findings: Sequence[Finding], hidden: HiddenFiles, config: Mapping[str, Any]
) -> FlattenAdvice:
    gone = {version for finding in findings if finding.is_hidden for version in finding.held_by}
    return flatten_advice(
        image,
        context.file_history,
        [record.uncompressed for record in context.records],
        findings,
        sorted(gone),
        hidden,
        config,
    )
