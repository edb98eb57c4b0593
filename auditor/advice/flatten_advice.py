"""Whether to flatten an image, the ways to do it, and what would result."""

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
class Plan:
    """One way to flatten. Sizes are of uncompressed layer tars, in bytes, estimated from the entries."""

    method: str
    layers_rewritten: int
    layers_kept: int
    size_after: int
    command: str


@dataclass(frozen=True, slots=True)
class FlattenAdvice:
    """Whether and how to flatten. `minimal_from` is the lowest layer that holds hidden findings, None without any."""

    recommended: bool
    reasons: tuple[str, ...]
    layers_before: int
    layers_after: int
    size_before: int
    size_after: int
    bytes_saved: int
    minimal_from: int | None
    plans: tuple[Plan, ...]
    commands: tuple[str, ...]


def flatten_advice(
    image: Image,
    trace: FileHistory,
    sizes: Sequence[int],
    findings: Sequence[Finding],
    holders: Sequence[FileVersion],
    hidden: HiddenFiles,
    config: Mapping[str, Any],
) -> FlattenAdvice:
    """Advise on an image whose layers' uncompressed tars have `sizes`.

    `holders` are the hidden file versions that hold findings; the result is named after the image's first full name;
    `config` holds Cmd and the like, masked.
    """
    leaking = sorted({version.layer for version in holders})
    size_before = sum(sizes)
    size_after = visible_bytes(trace)
    target = image.target
    base = ["image-audit", "flatten", target]
    name = next((name for name in image.names if "/" in name or ":" in name), "image:latest")
    clean, flat = (_tagged(name, tag) for tag in ("clean", "flat"))
    lowest = leaking[0] if leaking else None
    count = len(sizes)
    plans = [Plan("full", count, 0, size_after, shlex.join([*base, "-t", flat]))]
    if lowest is not None:
        minimal = sum(sizes[:lowest]) + visible_bytes(trace, lowest)
        plans.insert(0, Plan("minimal", count - lowest, lowest, minimal, shlex.join([*base, "--minimal", "-t", clean])))
        gone: dict[int, list[int]] = {layer: [] for layer in leaking}
        for version in holders:
            gone[version.layer].append(version.entry)
        excised = sum(bytes_without(trace, n, size, gone[n]) if n in gone else size for n, size in enumerate(sizes))
        kept = count - len(leaking)
        plans.insert(0, Plan("excise", len(leaking), kept, excised, shlex.join([*base, "--excise", "-t", clean])))
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


def _reasons(findings: Sequence[Finding], hidden: HiddenFiles, size: int) -> tuple[str, ...]:
    reasons = []
    leaks = sum(finding.is_hidden for finding in findings)
    if leaks:
        secrets = "1 secret that is" if leaks == 1 else f"{leaks} secrets that are"
        reasons.append(f"{secrets} deleted or overwritten can still be dug out of a lower layer")
    if hidden.bytes >= _WORTH_BYTES or (
        hidden.count and hidden.bytes >= _WORTH_SHARE * size and hidden.bytes > 1 << 20
    ):
        reasons.append(f"{hidden.count} hidden files waste {hidden.bytes} bytes of {size}")
    return tuple(reasons)


def _tagged(name: str, tag: str) -> str:
    """Return the image's name with another tag."""
    head, slash, tail = name.partition("@")[0].rpartition("/")
    return f"{head}{slash}{tail.partition(':')[0]}:{tag}"
