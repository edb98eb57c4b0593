"""The audit of a target: images, records of their layers, the history of their files, findings.

    open_source ─► layer streams, images ─► Records ─► check_digests ─► FileHistory ─► collect ─► Audit
                                            (costly, cached)            (milliseconds)

Opening a target reads no layer: this module decides when a layer is read. Read this file first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from types import MappingProxyType
from typing import Any

from auditor.advice.finding_advice import with_advice
from auditor.advice.flatten_advice import FlattenAdvice, flatten_advice
from auditor.core.dataclass import dataclass
from auditor.core.entries import Skipped
from auditor.core.errors import AuditError, Damaged, reason, without_logins
from auditor.core.finding import Finding
from auditor.core.image_config import HistoryStep, Platform
from auditor.core.limits import DEFAULT, Limits
from auditor.core.progress import Progress
from auditor.core.text import display_path, plural
from auditor.detect.rules import Ruleset
from auditor.findings.baseline import BaselineUse, ImageFindings
from auditor.findings.collect import collect
from auditor.findings.file_tree import FileTrees
from auditor.findings.image_context import ImageContext
from auditor.findings.image_names import name_without_tag, names_of
from auditor.findings.secret_groups import SecretGroup, secret_groups
from auditor.findings.selection import IgnoredBy, IgnoredFinding, Selection
from auditor.images.base import Base, found_base, named_base
from auditor.images.resolve import open_source
from auditor.images.source import Image, ImageSource, Layer, LayerRef
from auditor.layers.build_steps import layers_of_steps, step_of_layer
from auditor.layers.file_history import FileHistory
from auditor.layers.layer_index import LayerIndex
from auditor.layers.listing import plain_file
from auditor.layers.stats import HiddenFiles, LayerStats, hidden_files, layer_stats
from auditor.provenance import Packages
from auditor.published.image_lists import LayerLists
from auditor.scan import LayerRecord, Scanner
from auditor.scan.masker import TextMasker
from auditor.store.records import Records

_MANY = 50_000
"""Entries of an image that are worth the start of new worker processes for the next one, a tenth of a second."""

Streamed = Mapping[LayerRef, LayerRecord | Damaged]
"""Records of the layers that can be read only once, or why they can't be read."""


@dataclass(frozen=True, slots=True)
class Request:
    """Options of an audit that select images and findings."""

    platform: str | None = None
    base: str | None = None
    insecure: bool = False
    selection: Selection = field(default_factory=Selection)


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit of one image. Secrets in texts are masked.

    Items of `records`, `stats` and `file_history` belong to the layers of the image, index 0 the base; `step_layers`
    has the layer of each step of `history`. `hidden_paths` are the masked paths of `hidden.largest`. `ids` are those of
    all findings, ignored ones included; `baseline` covers the whole run. `transient` is set if something was skipped
    that another run may read: the audit is used, but not cached. `mask` masks the secrets in other texts of the image.
    """

    image: Image
    ruleset: Ruleset
    base: Base | None
    records: Sequence[LayerRecord]
    file_history: FileHistory
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
    mask: Callable[[str], str] = field(default=str, repr=False)

    @property
    def secrets(self) -> tuple[SecretGroup, ...]:
        """Findings grouped by secret, most urgent secret first."""
        return secret_groups(self.findings)

    @property
    def file_count(self) -> int:
        """Number of regular files in all layers."""
        return sum(record.listing.file_count for record in self.records)

    @property
    def published_count(self) -> int:
        """Number of archives that were not extracted because a distribution published them."""
        return sum(len(record.published) for record in self.records)

    def file_trees(self) -> FileTrees:
        """Return the file trees of the layers and of the image, which are built as they are read."""
        return FileTrees(self.file_history, self.findings, self.mask)

    def for_baseline(self) -> ImageFindings:
        """Return the findings as a baseline needs them."""
        silenced = (item.finding for item in self.ignored if item.by is IgnoredBy.BASELINE)
        findings = (*self.findings, *silenced)
        return ImageFindings(name_without_tag(self.image), frozenset(self.ruleset.by_id), self.ids, findings)

    def step_of(self, layer: int) -> HistoryStep | None:
        """Return the step that created a layer, None if unknown."""
        step = step_of_layer(self.step_layers, layer)
        return None if step is None else self.history[step]


@dataclass(frozen=True, slots=True)
class Failure:
    """A target, or one image of it, that was not audited. `reason` names the image if the target has several."""

    target: str
    reason: str
    error: Exception = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.reason if self.reason.startswith(self.target) else f"{self.target}: {self.reason}"


def audit(target: str, scanner: Scanner, request: Request, records: Records | None = None) -> list[Audit]:
    """Audit every image of a target. Raises AuditError if one can't be read.

    With the same `records` for several targets, a layer that they share is read once.
    """
    audits = []
    for result in audit_each(target, scanner, request, records or Records(scanner)):
        if isinstance(result, Failure):
            raise result.error
        audits.append(result)
    return audits


def audit_each(target: str, scanner: Scanner, request: Request, records: Records) -> Iterator[Audit | Failure]:
    """Audit the images of a target. Failures of single images are yielded last, and do not stop the others."""
    failures, shown = list[Failure](), TextMasker(scanner.searcher)

    def note(name: str, error: Exception) -> None:
        if os.environ.get("IMAGE_AUDIT_DEBUG") and not isinstance(error, AuditError):
            raise error
        message = f"{name}: {reason(error)}" if name else reason(error)
        failures.append(Failure(shown(without_logins(target)), shown(message), error))

    streamed: Streamed = {}
    images: tuple[Image, ...] = ()
    try:
        source = open_source(
            target, scanner.limits, platform=request.platform, insecure=request.insecure, failed=note,
            exports=records, progress=scanner.progress,
        )  # fmt: skip
        streamed = _scan_streams(source, records)
        images = source.images()
    except Exception as exc:
        note("", exc)
    _announce(without_logins(target), images, records, scanner.progress)
    for image in images:
        try:
            if sum(len(record.listing) for record in _records(image, records, streamed)) > _MANY:
                scanner.release()  # the history of the files takes as much memory as the worker processes
            yield audit_image(image, scanner, request, records, streamed)
        except Exception as exc:
            note(_name(image) if len(images) > 1 else "", exc)
    yield from failures


def _announce(target: str, images: Iterable[Image], records: Records, progress: Progress) -> None:
    """Report the number of layers, and the bytes of those that are not in the cache."""
    layers = {layer.digest or id(layer): layer for image in images for layer in image.layers}
    unread = [layer for layer in layers.values() if not isinstance(layer.content, LayerRef)]
    with suppress(AuditError):  # the audit of an image meets the error again, and reports it
        unread = [layer for layer in unread if not records.has_record(layer)]
    progress.say(f"{target}: {plural(len(layers), 'layer')}, {len(unread)} to read")
    progress.expect(sum(layer.size or 0 for layer in unread))


def _name(image: Image) -> str:
    """Return a name that distinguishes an image from the others of its target."""
    return str(image.config.platform or next(iter(image.names), image.id))


def _scan_streams(source: ImageSource, records: Records) -> Streamed:
    """Scan the layers that can be read only once. A damaged one fails the images that consist of it, and no other."""
    streamed: dict[LayerRef, LayerRecord | Damaged] = {}
    scans: dict[LayerRef, Callable[[], LayerRecord]] = {}
    lists: list[LayerLists] = []
    for layer, stream in source.streams():
        lists.append(LayerLists(lists))
        try:
            scans[layer] = records.read_stream(layer, stream, lists[-1])
        except Damaged as exc:
            streamed[layer] = exc
    for layer, record in scans.items():
        try:
            streamed[layer] = record()
        except Damaged as exc:
            streamed[layer] = exc
    return streamed


def audit_image(
    image: Image, scanner: Scanner, request: Request, source: Records, streamed: Streamed = MappingProxyType({})
) -> Audit:
    """Audit one image. `source` returns the records of its layers, `streamed` those already read from a stream."""
    records = _records(image, source, streamed)
    file_history = FileHistory([record.listing for record in records], stacked=image.stacked)
    limits = scanner.limits
    base = named_base(request.base, image, limits) if request.base else found_base(image, limits)
    steps = layers_of_steps(image.config.history, len(records))
    packages = Packages(records)
    context = ImageContext(image, records, packages, file_history, steps, base.layers if base else 0)
    collected = collect(context, scanner, source.with_hmac)
    shown, ignored = request.selection.apply(collected.findings, names_of(image))
    image = _shown_image(image, collected.mask)
    findings = with_advice(context, image, shown)
    hidden = hidden_files(file_history)
    return Audit(
        image=image,
        ruleset=scanner.ruleset,
        base=base and replace(base, name=collected.mask(base.name)),
        records=records,
        file_history=file_history,
        stats=layer_stats(file_history),
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
        mask=collected.mask,
        transient=packages.transient or any(record.transient for record in records),
    )


def _records(image: Image, source: Records, streamed: Streamed) -> list[LayerRecord]:
    """Return the record of each layer; scan those that have none."""
    source.fetch(image)
    return [_record(image, number, source, streamed) for number in range(len(image.layers))]


def _record(image: Image, number: int, source: Records, streamed: Streamed) -> LayerRecord:
    """Return the record of a layer, with its digests verified."""
    layer = image.layers[number]
    what = f"{image.target}: layer {number}"
    record = streamed[layer.content] if isinstance(layer.content, LayerRef) else source.of(layer, what)
    if isinstance(record, Damaged):
        raise record
    check_digests(layer, record, what)
    if not record.is_tar:
        listing = plain_file(layer.title or f"layer-{number}", record.uncompressed)
        record = replace(record, listing=listing, has_clean_headers=False)
    return record


def check_digests(layer: Layer, record: LayerRecord | LayerIndex, what: str) -> None:
    """Raise Damaged if size, digest or diff_id of a layer differ from its manifest and config."""
    for name, got, want in (
        ("size", record.size, layer.size),
        ("digest", record.digest, layer.digest),
        ("diff_id", record.diff_id, layer.diff_id),
    ):
        if want is not None and got != want:
            raise Damaged(f"{what}: {name} is {got}, expected {want}; the image is damaged or was tampered with")


def _skipped(records: Sequence[LayerRecord]) -> list[Skipped]:
    return [Skipped(path, layer, why) for layer, record in enumerate(records) for path, why in record.skipped]


def _shown_image(image: Image, shown: Callable[[str], str]) -> Image:
    """Mask the secrets in names and platform of an image. Reports show no more of its config and documents."""
    platform = image.config.platform
    if platform is not None:
        platform = Platform(shown(platform.os), shown(platform.architecture), shown(platform.variant))
    return replace(
        image,
        target=shown(without_logins(image.target)),
        names=tuple(map(shown, image.names)),
        config=replace(image.config, platform=platform),
    )


def _flatten(
    context: ImageContext, image: Image, findings: Sequence[Finding], hidden: HiddenFiles, config: Mapping[str, Any]
) -> FlattenAdvice:
    hidden_versions = {version for finding in findings if finding.is_hidden for version in finding.held_by}
    return flatten_advice(
        image,
        context.file_history,
        [record.uncompressed for record in context.records],
        findings,
        sorted(hidden_versions),
        hidden,
        config,
    )
