"""Advice on flattening: reasons, methods with their commands, and estimated sizes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auditor.advice.exported import export_command
from auditor.core.entries import FileVersion
from auditor.core.finding import Finding
from auditor.images.source import Image
from auditor.layers.file_history import FileHistory
from auditor.layers.stats import HiddenFiles, bytes_without, visible_bytes

_WORTH_BYTES = 50 << 20
_WORTH_SHARE = 0.10


@dataclass(frozen=True, slots=True)
class FlattenPlan:
    """One method to flatten. Sizes are of uncompressed layers, in bytes, estimated from the entries."""

    method: str
    layers_rewritten: int
    layers_kept: int
    size_after: int
    command: str


@dataclass(frozen=True, slots=True)
class FlattenAdvice:
    """Advice for one image. `minimal_from` is the lowest layer with hidden findings, None without any."""

    recommended: bool
    reasons: tuple[str, ...]
    layers_before: int
    layers_after: int
    size_before: int
    size_after: int
    bytes_saved: int
    minimal_from: int | None
    plans: tuple[FlattenPlan, ...]
    commands: tuple[str, ...]


def flatten_advice(
    image: Image,
    history: FileHistory,
    sizes: Sequence[int],
    findings: Sequence[Finding],
    leaking_versions: Sequence[FileVersion],
    hidden: HiddenFiles,
    config: Mapping[str, Any],
) -> FlattenAdvice:
    """Return the advice for an image; `sizes` are those of its uncompressed layers.

    `leaking_versions` are the hidden file versions with findings, `config` is masked. Commands name the result after
    the image's first full name.
    """
    leaking = sorted({version.layer for version in leaking_versions})
    size_before = sum(sizes)
    size_after = visible_bytes(history)
    target = image.target
    base = ["image-audit", "flatten", target]
    name = next((name for name in image.names if "/" in name or ":" in name), "image:latest")
    clean, flat = (_tagged(name, tag) for tag in ("clean", "flat"))
    lowest = leaking[0] if leaking else None
    count = len(sizes)
    plans = [FlattenPlan("full", count, 0, size_after, shlex.join([*base, "-t", flat]))]
    if lowest is not None:
        minimal = sum(sizes[:lowest]) + visible_bytes(history, lowest)
        command = shlex.join([*base, "--minimal", "-t", clean])
        plans.insert(0, FlattenPlan("minimal", count - lowest, lowest, minimal, command))
        excised = _excised_size(history, sizes, leaking_versions)
        kept = count - len(leaking)
        command = shlex.join([*base, "--excise", "-t", clean])
        plans.insert(0, FlattenPlan("excise", len(leaking), kept, excised, command))
    reasons = _reasons(findings, hidden, size_before)
    return FlattenAdvice(
        recommended=bool(reasons),
        reasons=reasons,
        layers_before=count,
        layers_after=min(count, 1),
        size_before=size_before,
        size_after=size_after,
        bytes_saved=size_before - size_after,
        minimal_from=lowest,
        plans=tuple(plans),
        commands=(plans[-1].command, export_command(target, image.transport, name, flat, config)),
    )


def _excised_size(history: FileHistory, sizes: Sequence[int], leaking_versions: Sequence[FileVersion]) -> int:
    """Return the size of all layers, in bytes, without some file versions."""
    entries: dict[int, list[int]] = {}
    for version in leaking_versions:
        entries.setdefault(version.layer, []).append(version.entry)
    return sum(
        bytes_without(history, layer, size, entries[layer]) if layer in entries else size
        for layer, size in enumerate(sizes)
    )


def _reasons(findings: Sequence[Finding], hidden: HiddenFiles, size: int) -> tuple[str, ...]:
    reasons = []
    leaks = sum(finding.is_hidden for finding in findings)
    if leaks:
        secrets = "1 deleted or overwritten secret" if leaks == 1 else f"{leaks} deleted or overwritten secrets"
        reasons.append(f"{secrets} can be recovered from lower layers")
    if hidden.bytes >= _WORTH_BYTES or (
        hidden.count and hidden.bytes >= _WORTH_SHARE * size and hidden.bytes > 1 << 20
    ):
        reasons.append(f"{hidden.count} hidden files take {hidden.bytes} of {size} bytes")
    return tuple(reasons)


def _tagged(name: str, tag: str) -> str:
    """Return the image's name with another tag."""
    head, slash, tail = name.partition("@")[0].rpartition("/")
    return f"{head}{slash}{tail.partition(':')[0]}:{tag}"
