"""Values of the HTML page that the JSON report does not have: anchors, filter counts, skipped items by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.core.finding import Confidence, Severity, State
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
class PlaceView:
    """A place of a secret. `steps` are the anchors of further build steps that repeat it in their text."""

    finding: dict[str, Any]
    anchor: str
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SecretView:
    """A secret with its places. `lanes` are those of the chart, joined by `;` for the page's script.

    `origins` has `base` for places in the base image and `own` for others; `package` is the one that owns a place.
    """

    secret: dict[str, Any]
    anchor: str
    places: tuple[PlaceView, ...]
    lanes: str
    origins: str
    package: str

    @property
    def first(self) -> dict[str, Any]:
        """The most urgent finding."""
        return self.places[0].finding

    @property
    def more(self) -> int:
        """Number of places besides the first."""
        return len(self.secret["findings"]) - 1


@dataclass(frozen=True, slots=True)
class RevokeView:
    """Secrets of one kind, and the page that revokes them."""

    name: str
    url: str | None
    secrets: tuple[SecretView, ...]


@dataclass(frozen=True, slots=True)
class FixView:
    """Build steps with the same remedy, as items of the plan in the JSON report."""

    remedy: str
    steps: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class PackageView:
    """A package that publishes secrets in its files."""

    name: str
    secrets: tuple[SecretView, ...]


@dataclass(frozen=True, slots=True)
class ImageView:
    """One image on the page. `anchors` has one item a finding; `secrets` are those in no unmodified package file.

    The numbers of `by_severity`, `by_state` and `by_confidence` are secrets. `steps` are the steps of the history with
    their layers, or the layers alone if history and layers do not match.
    """

    number: int
    report: dict[str, Any]
    chart: LayerChart
    anchors: tuple[str, ...]
    verdict: Verdict
    secrets: tuple[SecretView, ...]
    published: tuple[PackageView, ...]
    revoke: tuple[RevokeView, ...]
    fixes: tuple[FixView, ...]
    by_severity: dict[str, int]
    by_state: dict[str, int]
    by_confidence: dict[str, int]
    providers: tuple[tuple[str, int], ...]
    packages: tuple[tuple[str, int], ...]
    layers: tuple[int, ...]
    steps: tuple[tuple[dict[str, Any], dict[str, Any] | None], ...]
    most_wasted: int
    skipped: tuple[SkippedGroup, ...]

    @property
    def anchor_of(self) -> dict[str, str]:
        """Anchors of the findings by their id."""
        return {finding["id"]: anchor for finding, anchor in zip(self.report["findings"], self.anchors, strict=True)}


def views(reports: Sequence[dict[str, Any]]) -> list[ImageView]:
    """Return the images of the page. The anchor `f-ID` belongs to the first image that has the finding."""
    taken: set[str] = set()
    result = []
    for number, report in enumerate(reports):
        anchors = tuple(_anchor(finding["id"], number, taken) for finding in report["findings"])
        taken.update(anchors)
        result.append(_view(number, report, anchors))
    return result


def part_of(report: dict[str, Any], findings: Container[str]) -> dict[str, Any]:
    """Return a report with some of its findings, by their ids, and their secrets."""
    secrets = [
        {**secret, "findings": own}
        for secret in report["secrets"]
        if (own := [finding for finding in secret["findings"] if finding in findings])
    ]
    shown = [finding for finding in report["findings"] if finding["id"] in findings]
    return {**report, "findings": shown, "secrets": secrets, "plan": {**report["plan"], "revoke": []}}


def _anchor(finding_id: str, number: int, taken: set[str]) -> str:
    return f"f-{finding_id}" if f"f-{finding_id}" not in taken else f"f-{finding_id}-image{number + 1}"


def _view(number: int, report: dict[str, Any], anchors: tuple[str, ...]) -> ImageView:
    findings = report["findings"]
    places = {finding["id"]: PlaceView(finding, anchor) for finding, anchor in zip(findings, anchors, strict=True)}
    every = [_secret(number, secret, [places[name] for name in secret["findings"]]) for secret in report["secrets"]]
    own = tuple(view for view in every if view.secret["published_in"] is None)
    return ImageView(
        number=number,
        report=report,
        chart=layer_chart(report),
        anchors=anchors,
        verdict=Verdict(**{key: count for key, count in report["verdict"].items() if key != "leaks"}),
        secrets=own,
        published=tuple(_published(every)),
        revoke=tuple(_revoke(report, every)),
        fixes=tuple(_fixes(report["plan"]["fixes"])),
        by_severity=_counts(Severity, (view.secret["severity"] for view in every)),
        by_state=_counts(State, (state for view in own for state in view.secret["states"])),
        by_confidence=_counts(Confidence, (view.secret["confidence"] for view in own)),
        providers=_by_count(view.secret["provider"] for view in own),
        packages=_by_count(view.package for view in own if view.package),
        layers=tuple(sorted({f[key] for f in findings for key in ("added_in", "hidden_in")} - {None})),
        steps=_steps(report["image"]),
        most_wasted=max((layer["hidden_bytes"] for layer in report["image"]["layers"]), default=0),
        skipped=_grouped(report["skipped"]),
    )


def _secret(number: int, secret: dict[str, Any], places: Sequence[PlaceView]) -> SecretView:
    findings = [place.finding for place in places]
    lanes = dict.fromkeys(lane_key(finding).text for finding in findings)
    origins = sorted({"base" if finding["inherited"] else "own" for finding in findings})
    package = next((finding["package"] for finding in findings if finding["package"]), None)
    name = f"{package['manager']} {package['name']}" if package else ""
    return SecretView(
        secret, f"i{number}-{secret['secret_id']}", tuple(_merged(places)), ";".join(lanes), " ".join(origins), name
    )


def _merged(places: Sequence[PlaceView]) -> Iterator[PlaceView]:
    """Yield the places; those in texts of build steps are one: a build argument is in each later step."""
    steps = [place for place in places if (place.finding["where"] or "").startswith("history[")]
    yield from (place for place in places if place not in steps)
    if steps:
        yield PlaceView(steps[0].finding, steps[0].anchor, tuple(place.anchor for place in steps[1:]))


def _published(secrets: Iterable[SecretView]) -> Iterator[PackageView]:
    found: dict[str, list[SecretView]] = {}
    for view in secrets:
        if package := view.secret["published_in"]:
            found.setdefault(f"{package['manager']} {package['name']} {package['version']}", []).append(view)
    for name, own in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        yield PackageView(name, tuple(own))


def _revoke(report: dict[str, Any], secrets: Iterable[SecretView]) -> Iterator[RevokeView]:
    by_id = {view.secret["secret_id"]: view for view in secrets}
    kinds: dict[tuple[str, str | None], list[SecretView]] = {}
    for view in (by_id[secret_id] for secret_id in report["plan"]["revoke"]):
        kinds.setdefault((view.secret["name"], view.secret["revoke"]), []).append(view)
    for (name, url), own in kinds.items():
        yield RevokeView(name, url if url and url.startswith("https://") else None, tuple(own))


def _fixes(fixes: Iterable[dict[str, Any]]) -> Iterator[FixView]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for fix in fixes:
        groups.setdefault(" ".join(fix["remedies"]), []).append(fix)
    yield from (FixView(remedy, tuple(own)) for remedy, own in groups.items())


def _counts(
    kinds: Iterable[Severity] | Iterable[State] | Iterable[Confidence], values: Iterable[str]
) -> dict[str, int]:
    """Count values in the order of their kinds, without kinds that have none."""
    counts = Counter(values)
    return {kind.value: counts[kind.value] for kind in kinds if counts[kind.value]}


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
