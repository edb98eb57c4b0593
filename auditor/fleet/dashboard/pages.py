"""The pages, one after the other: of a large registry no more than one report is in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from auditor.core.finding import Severity, State
from auditor.core.version import __version__
from auditor.fleet.dashboard import charts, export
from auditor.fleet.dashboard.output import PULLABLE
from auditor.fleet.dashboard.site_paths import LAYERS, OVERVIEW, SECRETS, SWEEPS, TABLES, table
from auditor.fleet.dashboard.view import SecretSummary, SweepView, age_days
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.report.html import render_page
from auditor.report.html.page import page

Pages = Iterator[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Learnt:
    """What only the reports know: a secret's provider and what to do first, and the steps of leaking layers."""

    leaking: frozenset[str]
    providers: dict[str, str] = field(default_factory=dict)
    advice: dict[str, str] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)

    def learn(self, report: dict[str, Any], secrets: dict[str, SecretSummary]) -> None:
        """Take it from a report; `secrets` are its findings' by their ids."""
        for finding in report["findings"]:
            if finding["id"] in secrets:
                secret = secrets[finding["id"]].secret
                self.providers.setdefault(secret, finding["provider"])
                self.advice.setdefault(secret, finding["advice"][0])
        for layer in report["image"]["layers"]:
            if layer["digest"] in self.leaking and layer["created_by"]:
                self.steps.setdefault(layer["digest"], layer["created_by"])


def site_files(fleet: SweepView) -> list[str]:
    """Return the paths of all files of the site."""
    tables = [table(name) for name in TABLES]
    return [*fleet.pages.values(), *(view.page for view in fleet.secrets), LAYERS, SECRETS, SWEEPS, OVERVIEW, *tables]


def render_pages(store: SweepStore, fleet: SweepView, created: str) -> Pages:
    """Yield path and text of each file; the overview, which links to all others, comes last."""
    learnt = _Learnt(frozenset(layer.digest for layer in fleet.layers))
    yield from _images(store, fleet, learnt)
    shared = {"fleet": fleet, "learnt": learnt, "created": created, "version": __version__}
    for view in fleet.secrets:
        yield view.page, _page("fleet-secret.html", root="../", view=view, **shared)
    yield from export.csv_tables(fleet, learnt.steps)
    yield SECRETS, _page("fleet-secrets.html", **shared, **_secrets(fleet))
    yield LAYERS, _page("fleet-layers.html", **shared, **_layers(fleet))
    trends = {"open": charts.open_findings(fleet.sweeps), "change": charts.new_and_gone(fleet.sweeps)}
    yield SWEEPS, _page("fleet-sweeps.html", **shared, **trends)
    yield OVERVIEW, _page("fleet-index.html", **shared, **trends, **_overview(fleet))


def _page(template: str, **values: Any) -> str:
    styles = ("style.css", "filters.css", "fleet.css")
    return page(template, styles=styles, scripts=("fleet.js",), **{"root": "", **values})


def _images(store: SweepStore, fleet: SweepView, learnt: _Learnt) -> Pages:
    """Yield each image's report, with what the registry knows of it."""
    held: dict[int, dict[str, SecretSummary]] = {}
    for view in fleet.secrets:
        for place in view.places:
            held.setdefault(place.image.id, {})[place.finding.id] = view
    withdrawn = {row.image.id: row for row in fleet.withdrawn}
    for image in fleet.pullable:
        report = queries.report(store, image.id)
        own = held.get(image.id, {})
        learnt.learn(report, own)
        values = {"root": "../", "fleet": fleet, "row": image, "elsewhere": own}
        values["withdrawn"] = withdrawn.get(image.id)
        yield fleet.pages[image.id], render_page([report], "fleet-image.html", styles=("fleet.css",), **values)


# --- what a page needs of its own: `severities` and `states` are rows by the boxes of filters -----------------------


def _overview(fleet: SweepView) -> dict[str, Any]:
    return {
        "severities": _boxes(Severity, (image.by_severity for image in fleet.images)),
        "states": _boxes(State, (image.by_state for image in fleet.images)),
        "pullable": PULLABLE,
    }


def _secrets(fleet: SweepView) -> dict[str, Any]:
    return {
        "severities": _boxes(Severity, ([view.severity] for view in fleet.secrets)),
        "states": _boxes(State, (view.states for view in fleet.secrets)),
    }


def _layers(fleet: SweepView) -> dict[str, Any]:
    secrets: dict[str, dict[str, SecretSummary]] = {}
    for view in fleet.secrets:
        for place in view.places:
            if place.finding.layer is not None:
                secrets.setdefault(place.finding.layer, {})[view.secret] = view
    return {
        "severities": _boxes(Severity, ([layer.severity] for layer in fleet.layers)),
        "secrets": {layer: list(views.values()) for layer, views in secrets.items()},
        "pages": {image.name: fleet.pages[image.id] for image in fleet.pullable},
        "age_days": age_days,
    }


def _boxes(kinds: Iterable[Severity] | Iterable[State], rows: Iterable[Collection[str]]) -> dict[str, int]:
    counts = Counter(name for row in rows for name in row)
    return {kind.value: counts[kind.value] for kind in kinds if counts[kind.value]}
