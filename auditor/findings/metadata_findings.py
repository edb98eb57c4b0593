"""Findings in the metadata of an image: config, history, labels, annotations, attestations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from auditor.core.finding import Finding, State, severity_of
from auditor.core.image_config import HistoryStep
from auditor.core.secret import Secret
from auditor.detect.matches import Match
from auditor.detect.secret_replacer import SecretReplacer
from auditor.findings.finding_ids import metadata_id
from auditor.findings.image_context import ImageContext
from auditor.findings.metadata_texts import MetadataText
from auditor.scan.masker import masked_text

TextMatches = tuple[MetadataText, list[Match]]
"""A text of the metadata with its matches."""
_NAME = re.compile(r" ([^ =]+)=")
_INDEX = re.compile(r"\[\d+\]$")


def metadata_findings(
    context: ImageContext, matches: Iterable[TextMatches], add_hmac: Callable[[Secret], Secret]
) -> Iterator[Finding]:
    """Yield the findings of all texts. A secret repeated by related texts is one finding."""
    known: set[tuple[str, Secret]] = set()
    steps = _steps_by_setting(context.history)
    for text, items in matches:
        for match in sorted(items, key=lambda item: item.rule.specificity, reverse=True):
            # `Cmd` repeats `Cmd[1]`, and a legacy `container_config` repeats `config`.
            place = text.where if ".Env[" in text.where else _INDEX.sub("", text.where)
            key = (place.replace("container_config.", "config."), match.secret)
            if key not in known:
                known.add(key)
                yield _finding(context, steps, text, replace(match, secret=add_hmac(match.secret)))


def _finding(context: ImageContext, steps: Mapping[tuple[str, str], int], text: MetadataText, match: Match) -> Finding:
    rule = match.rule
    step = text.step if text.step is not None else _step_of_setting(text, steps)
    return Finding(
        id=metadata_id(rule.id, text.where, match.secret),
        rule=rule.id,
        name=rule.name,
        provider=rule.provider,
        detector=rule.detector,
        severity=severity_of(rule.severity, match.check),
        confidence=match.confidence,
        state=State.METADATA,
        path=None,
        where=text.where,
        added_in=None if step is None else context.step_layers[step],
        added_by=None if step is None else context.history[step].created_by,
        inherited=step is not None and context.is_base_step(step),
        secret=match.secret,
        secret_id="",
        check=match.check,
        revoke=rule.revoke,
    )


def _steps_by_setting(history: Sequence[HistoryStep]) -> dict[tuple[str, str], int]:
    """Map (`ENV` or `LABEL`, last word of the name) to the last step that sets it."""
    return {
        (instruction, name): number
        for number, step in enumerate(history)
        for instruction in ("ENV", "LABEL")
        if instruction in (step.created_by or "")
        for name in _NAME.findall(step.created_by or "")
    }


def _step_of_setting(text: MetadataText, steps: Mapping[tuple[str, str], int]) -> int | None:
    """Return the last step that sets an environment variable or label, None where the history has none."""
    kind, _, rest = text.where.removeprefix("config.").partition(".")
    if kind.startswith("Env["):
        return steps.get(("ENV", text.value.partition("=")[0].rpartition(" ")[2]))
    return steps.get(("LABEL", rest.rpartition(" ")[2])) if kind == "Labels" else None


def masked_history(
    history: Sequence[HistoryStep], matches: Iterable[TextMatches], mask: Callable[[str], str], max_length: int
) -> tuple[HistoryStep, ...]:
    """Mask every secret in the texts of the history, and cut texts to `max_length`, the part that was scanned."""
    masked = [
        replace(
            step,
            created=step.created and mask(step.created[:max_length]),
            created_by=step.created_by and step.created_by[:max_length],
            comment=step.comment[:max_length],
        )
        for step in history
    ]
    for text, items in matches:
        if text.step is None or text.step >= len(masked) or not items:
            continue
        value = masked_text(text.value, items)
        match text.where.rpartition(".")[2]:
            case "created_by":
                masked[text.step] = replace(masked[text.step], created_by=value)
            case "comment":
                masked[text.step] = replace(masked[text.step], comment=value)
    return tuple(masked)


def masked_config(config: Any, matches: Iterable[TextMatches], mask: Callable[[str], str]) -> dict[str, Any]:
    """Mask every secret of the metadata in all keys and values of a config."""
    replacer = SecretReplacer({item.secret for _, items in matches for item in items})

    def masked(value: Any) -> Any:
        if isinstance(value, list):
            return [masked(item) for item in value]
        if isinstance(value, dict):  # ports, volumes and labels are keys
            return {mask(key): masked(item) for key, item in value.items()}
        return replacer.masked(value) if isinstance(value, str) else value

    return masked(config) if isinstance(config, dict) else {}
