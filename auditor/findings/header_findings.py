"""Findings in the tar headers of a stack of layers: names, link targets, owners, extended attributes, pax records."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from auditor.core.dataclass import dataclass
from auditor.core.entries import FileVersion, Skipped
from auditor.core.finding import Finding, State, severity_of
from auditor.core.limits import Limits, limit_note
from auditor.core.secret import Secret
from auditor.core.text import display_path, escaped_bytes
from auditor.detect.matches import Match
from auditor.findings.finding_ids import metadata_id
from auditor.findings.image_context import ImageContext, provenance_confidence
from auditor.layers.file_history import FileHistory
from auditor.scan import Scanner
from auditor.scan.header_search import HeaderText

T = TypeVar("T")
_KEYED = re.compile(r"(xattrs|pax|global)\[(.*)\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _HeaderMatch:
    """A match in one header text of a layer. The secret of `match` has its HMAC."""

    layer: int
    name: HeaderText
    match: Match


def header_findings(
    context: ImageContext,
    scanner: Scanner,
    add_hmac: Callable[[Secret], Secret],
    mask: Callable[[str], str],
    skip: Callable[[Skipped], None],
) -> Iterator[Finding]:
    """Yield one finding for each header text with a secret, over all entries and layers that repeat the text.

    A text that was hidden before a higher layer repeats it is a finding of its own. A whiteout counts only where no
    entry has its name.
    """
    grouped: dict[tuple[str, str, Secret], list[_HeaderMatch]] = {}
    whiteouts = []
    for layer, record in enumerate(context.records):
        if record.listing.texts.full:
            skip(Skipped(None, layer, "owners, extended attributes and pax records: more than the limit to search"))
        if record.has_clean_headers:
            continue
        for name, match in _limited(scanner.searcher.search_headers(record.listing), scanner.limits, layer, skip):
            item = _HeaderMatch(layer, name, replace(match, secret=add_hmac(match.secret)))
            key = (name.path, name.part, item.match.secret)
            if name.part == "whiteout":
                whiteouts.append((key, item))
            else:
                grouped.setdefault(key, []).append(item)
    for key, item in whiteouts:
        if (key[0], "name", key[2]) not in grouped:
            grouped.setdefault(key, []).append(item)
    for group in grouped.values():
        for run in _runs(context.file_history, group):
            yield _finding(context, run, mask)


def _limited(items: Iterator[T], limits: Limits, layer: int, skip: Callable[[Skipped], None]) -> Iterator[T]:
    most = limits.findings_layer
    yield from islice(items, most)
    if next(items, None) is not None:
        reason = f"more than {most} secrets in names of the layer; the rest was left out {limit_note('findings-layer')}"
        skip(Skipped(None, layer, reason))


def _runs(history: FileHistory, items: Sequence[_HeaderMatch]) -> Iterator[list[_HeaderMatch]]:
    """Split the entries with one text where all earlier ones were hidden below the next one's layer."""
    run: list[_HeaderMatch] = []
    hidden_in: int | None = -1  # layer that hides the last visible entry of the run, None while one is visible
    for item in items:
        if run and hidden_in is not None and hidden_in < item.layer:
            yield run
            run, hidden_in = [], -1
        run.append(item)
        hidden = None if item.name.entry is None else history.hidden_in(item.layer, item.name.entry)
        hidden_in = None if hidden_in is None or hidden is None else max(hidden_in, hidden)
    yield run


def _finding(context: ImageContext, run: Sequence[_HeaderMatch], mask: Callable[[str], str]) -> Finding:
    layer, name, match = run[0].layer, run[0].name, run[0].match
    rule = match.rule
    versions = tuple(FileVersion(item.layer, item.name.entry) for item in run if item.name.entry is not None)
    hidden_in = _hidden_in(context.file_history, versions)
    where = f"layers[{layer}].{_place(name, mask)}"
    return Finding(
        id=metadata_id(rule.id, where, match.secret),
        rule=rule.id,
        name=rule.name,
        provider=rule.provider,
        detector=rule.detector,
        severity=severity_of(rule.severity, match.check),
        confidence=provenance_confidence(rule, match.confidence, name.path, None),
        state=State.METADATA,
        path=None,
        where=where,
        entry_path=display_path(name.path),
        added_in=layer,
        added_by=context.created_by(layer),
        hidden_in=hidden_in,
        hidden_by=context.created_by(hidden_in),
        inherited=layer < context.base_layers,
        secret=match.secret,
        secret_id="",
        held_by=versions,
        check=match.check,
        revoke=rule.revoke,
    )


def _hidden_in(history: FileHistory, versions: Sequence[FileVersion]) -> int | None:
    """Return the layer that hides the last of several entries, None while one is visible."""
    layers = [history.hidden_in(version.layer, version.entry) for version in versions]
    return None if not layers or None in layers else max(layer for layer in layers if layer is not None)


def _place(name: HeaderText, mask: Callable[[str], str]) -> str:
    """Return `entries["/a"].link`, `entries["/a"].xattrs["user.x"]`, `whiteouts["/a"]`, `global["comment"]`."""

    def quoted(text: str) -> str:
        return json.dumps(mask(escaped_bytes(text)), ensure_ascii=False)

    part = name.part
    keyed = _KEYED.fullmatch(part)
    if keyed:
        part = f"{keyed[1]}[{quoted(keyed[2])}]"
    if part == "whiteout":
        return f"whiteouts[{quoted('/' + name.path)}]"
    if keyed and keyed[1] == "global":
        return part
    return f"entries[{quoted('/' + name.path)}].{part}"
