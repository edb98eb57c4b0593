"""Advice on flattening: reasons, methods with their commands, and estimated sizes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from auditor.advice.exported import export_command
from auditor.core.dataclass import dataclass
from auditor.core.entries import FileVersion
from auditor.core.finding import Finding
from auditor.core.text import plural
from auditor.core.text import size as text_size
from auditor.images.source import Image
from auditor.images.transports import TRANSPORTS
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
    the image's first full name, or after its archive.
    """
    leaking = sorted({version.layer for version in leaking_versions})
    size_before = sum(sizes)
    size_after = visible_bytes(history)
    name = _full_name(image)
    lowest = leaking[0] if leaking else None
    count = len(sizes)
    plans = [FlattenPlan("full", count, 0, size_after, flatten_command(image))]
    if lowest is not None:
        minimal = sum(sizes[:lowest]) + visible_bytes(history, lowest)
        plans.insert(0, FlattenPlan("minimal", count - lowest, lowest, minimal, flatten_command(image, "--minimal")))
        excised = _excised_size(history, sizes, leaking_versions)
        kept = count - len(leaking)
        plans.insert(0, FlattenPlan("excise", len(leaking), kept, excised, flatten_command(image, "--excise")))
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
        commands=(
            plans[-1].command,
            export_command(image.target, image.transport, name, _tagged(name, "flat"), config),
        ),
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
    leaks = len({finding.secret_id for finding in findings if finding.is_hidden})
    if leaks:
        reasons.append(f"{plural(leaks, 'hidden secret')} can be recovered from lower layers")
    if hidden.bytes >= _WORTH_BYTES or (
        hidden.count and hidden.bytes >= _WORTH_SHARE * size and hidden.bytes > 1 << 20
    ):
        files = plural(hidden.count, "hidden file")
        reasons.append(f"{files} take{'s' if hidden.count == 1 else ''} {text_size(hidden.bytes)} of {text_size(size)}")
    return tuple(reasons)


def flatten_command(image: Image, method: str = "") -> str:
    """Return the command that flattens an image; `method` is `--excise`, `--minimal` or empty for one layer.

    The result goes where the image is: into the engine under another tag, to the registry, or to another archive.
    """
    suffix = "clean" if method else "flat"
    row = TRANSPORTS[image.transport]
    tagged = _tagged(_full_name(image), suffix)
    if row.in_registry:
        output = ["--push", tagged]
    elif row.needs_engine:
        output = ["-t", tagged]
    else:
        output = ["-o", _archive_name(row.bare(image.target), suffix, row.file_ending)]
    return shlex.join(["image-audit", "flatten", image.target, *([method] if method else []), *output])


def _full_name(image: Image) -> str:
    return next((name for name in image.names if "/" in name or ":" in name), "image:latest")


def _archive_name(path: str, suffix: str, ending: str | None) -> str:
    """Return `app-clean.tar` for `folder/app.tar` and `folder/app.tar:TAG`, or `app-clean.oci.tar` for a layout."""
    name = PurePath(path).name.partition(":")[0]
    stem = re.sub(r"(?:\.oci)?\.(?:tar(?:\.\w+)?|tgz)$", "", name) or "image"
    return f"{'image' if stem == '-' else stem}-{suffix}{'.oci.tar' if ending is None else ending or '.tar'}"


def _tagged(name: str, tag: str) -> str:
    """Return the image's name with another tag."""
    head, slash, tail = name.partition("@")[0].rpartition("/")
    return f"{head}{slash}{tail.partition(':')[0]}:{tag}"
