"""Findings with their advice and the command that recovers their file version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from auditor.advice.flatten_advice import flatten_command
from auditor.advice.remedy import advice, recover_command
from auditor.core.entries import FileVersion
from auditor.core.finding import Finding
from auditor.core.globs import MASK, matches_masked
from auditor.core.text import display_path
from auditor.findings.image_context import ImageContext
from auditor.images.source import Image


def with_advice(context: ImageContext, image: Image, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings of an image with advice and recover command. `image` has masked names."""
    flatten = flatten_command(image, "--excise")
    numbers = _entry_numbers(context, findings)
    result = []
    for finding in findings:
        is_masked = finding.path is not None and MASK in finding.path
        number = _number_of_masked(context, finding) if is_masked else numbers.get(finding.id)
        command = recover_command(image.target, finding, number)
        result.append(replace(finding, recover=command, advice=advice(finding, flatten)))
    return tuple(result)


def _entry_numbers(context: ImageContext, findings: Sequence[Finding]) -> dict[str, int]:
    """Return the number, among equal paths of its layer, of each file version that its own layer overwrites.

    Keys are ids of findings. Each layer is walked once for all of its findings.
    """
    hidden = [f for f in findings if f.path is not None and f.hidden_in is not None and f.hidden_in == f.added_in]
    entries: dict[int, set[int]] = {}
    for finding in hidden:
        entries.setdefault(finding.held_by[0].layer, set()).add(finding.held_by[0].entry)
    numbers: dict[FileVersion, int] = {}
    for layer, own in entries.items():
        paths = context.records[layer].listing.paths
        counts = dict.fromkeys((paths[entry] for entry in own), 0)
        for entry in range(max(own) + 1):
            if paths[entry] in counts:
                counts[paths[entry]] += 1
            if entry in own:
                numbers[FileVersion(layer, entry)] = counts[paths[entry]]
    return {finding.id: numbers[finding.held_by[0]] for finding in hidden}


def _number_of_masked(context: ImageContext, finding: Finding) -> int | None:
    """Return the number of a finding's entry among those that match its masked path; None for the only one."""
    path, (layer, entry) = finding.path or "", (finding.held_by[0].layer, finding.held_by[0].entry)
    paths = context.records[layer].listing.paths
    matching = [at for at, name in enumerate(paths) if matches_masked(path, display_path(name))]
    return matching.index(entry) + 1 if len(matching) > 1 and entry in matching else None
