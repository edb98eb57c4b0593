"""Proof of `flatten`, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.core.finding import Finding, Severity
from auditor.core.text import plural, printable, size
from auditor.findings.image_names import names_of
from auditor.findings.selection import Selection, failing
from auditor.rebuild.flatten import FlattenedImage
from auditor.rebuild.follow_up import FollowUp

SCHEMA = "image-audit-proof/1"
_MAX_LISTED = 20


@dataclass(frozen=True, slots=True)
class FlattenVerdict:
    """Result of a scan of the output: number of remaining secrets, and whether all are below `fail_on`.

    `unread` is the number of visible items that no scan could read.
    """

    secrets: int
    clean: bool
    fail_on: Severity | None
    unread: int = 0

    @property
    def warning(self) -> str:
        """First lines of output if the result is not clean or not proven in full, else empty."""
        lines = "" if self.clean else f"NOT CLEAN: {self.secrets} secrets remain in visible files or metadata\n"
        if self.unread:
            lines += f"PARTLY PROVEN: {plural(self.unread, 'visible item')} could not be read and may hold secrets\n"
        return lines


def judged(images: Sequence[FlattenedImage], selection: Selection, fail_on: Severity | None) -> FlattenVerdict:
    """Count the remaining secrets of flattened images, selected as in a scan."""
    left = [finding for one in images for finding in selection.apply(one.after.findings, names_of(one.after.image))[0]]
    unread = sum(len(image.proof.skipped) for image in images)
    return FlattenVerdict(len({finding.secret for finding in left}), not failing(left, fail_on), fail_on, unread)


def render_text(images: Sequence[FlattenedImage], written: str, rest: FollowUp, verdict: FlattenVerdict) -> str:
    """Return the proof as text for a terminal."""
    lines = verdict.warning.splitlines()
    for image in images:
        lines += _image(image)
    lines.append(f"written: {written}")
    remaining = list(dict.fromkeys(line for image in images for line in _remaining(image.proof.remaining)))
    lines += _listed("Remaining in visible files and metadata, which flatten does not change:", remaining)
    lines += _listed("Revoke these secrets. Anyone who pulled the image can read them:", rest.rotate)
    lines += _listed(
        "Other copies of the secrets, each with the command that removes it:",
        [f"{copy.name}: {copy.command}" for copy in rest.copies],
    )
    lines += rest.notes
    return "".join(printable(line) + "\n" for line in lines)


def _image(image: FlattenedImage) -> list[str]:
    proof, before = image.proof, image.before.image
    platform = f" ({before.config.platform})" if before.config.platform else ""
    proven = "partly proven" if proof.skipped else "proven"
    lines = [
        f"{before.target}{platform}: {plural(proof.layers_before, 'layer')} -> {proof.layers_after}, "
        f"{proof.layers_kept} kept byte for byte; {size(proof.size_before)} -> {size(proof.size_after)}, "
        f"{size(max(proof.size_before - proof.size_after, 0))} saved",
        f"{proven}: {plural(proof.paths, 'path')} compared, 0 differences; "
        f"{plural(len({finding.secret for finding in proof.removed}), 'secret')} removed at "
        f"{plural(len(proof.removed), 'place')}, 0 left; "
        f"{plural(proof.hidden_files_before, 'hidden file')} before, {proof.hidden_files_after} now; "
        "config the same, digests, sizes and JSON checked",
    ]
    if not proof.removed:
        unread = len(image.before.skipped)
        note = f" in what was read; {plural(unread, 'item')} of the target could not be read" if unread else ""
        lines.append(f"no hidden secrets found{note}")
    if proof.skipped:
        first = proof.skipped[0]
        more = f", and {len(proof.skipped) - 1} more (--proof FILE lists all)" if len(proof.skipped) > 1 else ""
        lines.append(f"not read: {first.path or 'metadata'}: {first.reason}{more}")
    return lines + [f"dropped: {what}" for what in proof.dropped]


def _remaining(findings: Iterable[Finding]) -> list[str]:
    return [f"{f.name} {f.secret.masked} in {f.path or f.where}" for f in findings if f.confidence != "low"]


def _listed(heading: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    more = [f"  and {len(items) - _MAX_LISTED} more"] if len(items) > _MAX_LISTED else []
    return [heading, *(f"  {item}" for item in items[:_MAX_LISTED]), *more]


def render_json(
    images: Sequence[FlattenedImage], method: str, written: str, rest: FollowUp, verdict: FlattenVerdict
) -> str:
    """Return the proof as JSON. docs/flatten.md documents it."""
    document = {
        "schema": SCHEMA,
        "method": method,
        "written": written,
        "verdict": {
            "clean": verdict.clean,
            "secrets": verdict.secrets,
            "fail_on": None if verdict.fail_on is None else str(verdict.fail_on),
        },
        "images": [_document(image) for image in images],
        "rotate": list(rest.rotate),
        "holders": [{"place": h.place, "name": h.name, "command": h.command} for h in rest.copies],
        "notes": list(rest.notes),
    }
    return json.dumps(document, indent=2) + "\n"


def _document(image: FlattenedImage) -> dict[str, Any]:
    proof, before, after = image.proof, image.before, image.after
    return {
        "target": before.image.target,
        "platform": str(before.image.config.platform) if before.image.config.platform else None,
        "id": {"before": before.image.id, "after": after.image.id},
        "digest": after.image.digest,
        "layers": {"before": proof.layers_before, "after": proof.layers_after, "kept": proof.layers_kept},
        "diff_ids": [record.diff_id for record in after.records],
        "size": {"before": proof.size_before, "after": proof.size_after, "saved": proof.size_before - proof.size_after},
        "compared": {"paths": proof.paths, "bytes": proof.bytes_compared, "differences": 0},
        "config": {"differences": 0, "dropped": list(proof.dropped)},
        "violations": 0,
        "hidden_files": {"before": proof.hidden_files_before, "after": proof.hidden_files_after},
        "hidden_secrets": {"removed": [_finding(f) for f in proof.removed], "left": 0},
        "not_read": [{"path": s.path, "layer": s.layer, "reason": s.reason} for s in proof.skipped],
        "remaining": [_finding(finding) for finding in proof.remaining],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "path": finding.path,
        "where": finding.where,
        "state": str(finding.state),
        "confidence": str(finding.confidence),
        "secret": finding.secret.masked,
    }
