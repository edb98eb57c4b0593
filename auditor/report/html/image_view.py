"""Values of the HTML page that the JSON report does not have: anchors, filter counts, skipped items by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from auditor.core.finding import Severity
from auditor.findings.secret_groups import Verdict
from auditor.report.html.layer_chart import LayerChart, lane_key, layer_chart

_PATHS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class SkippedGroup:
    """Skipped items with the same reason: their number and the first of them."""

    reason: str
    count: int
    first: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ImageView:
    """One image on the page. `anchors`, `lanes` and `copies` have one item a finding.

    `copies` is the number of findings with the same secret. `steps` are the steps of the history with their layers, or
    the layers alone if history and layers do not match.
    """

    number: int
    report: dict[str, Any]
    chart: LayerChart
    anchors: tuple[str, ...]
    lanes: tuple[str, ...]
    copies: tuple[int, ...]
    verdict: Verdict
    by_severity: dict[str, int]
    providers: tuple[tuple[str, int], ...]
    layers: tuple[int, ...]
    steps: tuple[tuple[dict[str, Any], dict[str, Any] | None], ...]
    most_wasted: int
    skipped: tuple[SkippedGroup, ...]


def views(reports: Sequence[dict[str, Any]]) -> list[ImageView]:
    """Return the images of the page. The anchor `f-ID` belongs to the first image that has the finding."""
    taken: set[str] = set()
    result = []
    for number, report in enumerate(reports):
        anchors = tuple(_anchor(finding["id"], number, taken) for finding in report["findings"])
        taken.update(anchors)
        result.append(_view(number, report, anchors))
    return result


def _anchor(finding_id: str, number: int, taken: set[str]) -> str:
    return f"f-{finding_id}" if f"f-{finding_id}" not in taken else f"f-{finding_id}-image{number + 1}"


def _view(number: int, report: dict[str, Any], anchors: tuple[str, ...]) -> ImageView:
    findings = report["findings"]
    copies = Counter(finding["secret_id"] for finding in findings)
    return ImageView(
        number=number,
        report=report,
        chart=layer_chart(report),
        anchors=anchors,
        lanes=tuple(lane_key(finding).text for finding in findings),
        copies=tuple(copies[finding["secret_id"]] for finding in findings),
        by_severity=_severities(report["secrets"]),
        verdict=Verdict(**{key: count for key, count in report["verdict"].items() if key != "leaks"}),
        providers=_by_count(finding["provider"] for finding in findings),
        layers=tuple(sorted({f[key] for f in findings for key in ("added_in", "hidden_in")} - {None})),
        steps=_steps(report["image"]),
        most_wasted=max((layer["hidden_bytes"] for layer in report["image"]["layers"]), default=0),
        skipped=_grouped(report["skipped"]),
    )


def _severities(secrets: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Return the number of secrets by severity, without severities that have none."""
    counts = Counter(secret["severity"] for secret in secrets)
    return {severity.value: counts[severity] for severity in Severity if counts[severity]}


def _by_count(names: Iterable[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _steps(image: dict[str, Any]) -> tuple[tuple[dict[str, Any], dict[str, Any] | None], ...]:
    layers, history = image["layers"], image["history"]
    known = {step["layer"] for step in history} - {None}
    unknown = tuple((layer, layer) for layer in layers if layer["index"] not in known)
    return unknown + tuple((step, None if step["layer"] is None else layers[step["layer"]]) for step in history)


def _grouped(skipped: Sequence[dict[str, Any]]) -> tuple[SkippedGroup, ...]:
    reasons: dict[str, list[dict[str, Any]]] = {}
    for item in skipped:
        reasons.setdefault(item["reason"], []).append(item)
    ordered = sorted(reasons.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return tuple(SkippedGroup(reason, len(items), tuple(items[:_PATHS_SHOWN])) for reason, items in ordered)
