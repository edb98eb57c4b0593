"""Pages of the site, rendered one by one: only one report is in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from auditor.core.finding import Severity, State
from auditor.core.version import __version__
from auditor.fleet.dashboard import charts, export
from auditor.fleet.dashboard.site_paths import LAYERS, OVERVIEW, SECRETS, SWEEPS, TABLES, table
from auditor.fleet.dashboard.sweep_table import PULLABLE
from auditor.fleet.dashboard.view import SecretSummary, SweepView, age_days
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.report.html import render_page
from auditor.report.html.page import page

Pages = Iterator[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _ReportDetails:
    """Details that only the reports contain: providers and advice of secrets, build steps of leaking layers."""

    leaking: frozenset[str]
    providers: dict[str, str] = field(default_factory=dict)
    advice: dict[str, str] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)

    def add(self, report: dict[str, Any], secrets: dict[str, SecretSummary]) -> None:
        """Take the details of a report; `secrets` maps its finding ids to secrets."""
        for finding in report["findings"]:
            if finding["id"] in secrets:
                secret = secrets[finding["id"]].secret_id
                self.providers.setdefault(secret, finding["provider"])
                self.advice.setdefault(secret, finding["advice"][0])
        for layer in report["image"]["layers"]:
            if layer["digest"] in self.leaking and layer["created_by"]:
                self.steps.setdefault(layer["digest"], layer["created_by"])


def site_files(view: SweepView) -> list[str]:
    """Return the paths of all files of the site."""
    tables = [table(name) for name in TABLES]
    return [*view.pages.values(), *(secret.page for secret in view.secrets), LAYERS, SECRETS, SWEEPS, OVERVIEW, *tables]


def render_pages(store: SweepStore, view: SweepView, created: str) -> Pages:
    """Yield path and text of each file; the overview, which links to all others, comes last."""
    details = _ReportDetails(frozenset(layer.digest for layer in view.layers))
    yield from _images(store, view, details)
    shared = {"sweep_view": view, "details": details, "created": created, "version": __version__}
    for secret in view.secrets:
        yield secret.page, _page("fleet-secret.html", root="../", secret=secret, **shared)
    yield from export.csv_tables(view, details.steps)
    yield SECRETS, _page("fleet-secrets.html", **shared, **_secrets(view))
    yield LAYERS, _page("fleet-layers.html", **shared, **_layers(view))
    trends = {"open": charts.open_findings(view.sweeps), "change": charts.new_and_gone(view.sweeps)}
    yield SWEEPS, _page("fleet-sweeps.html", **shared, **trends)
    yield OVERVIEW, _page("fleet-index.html", **shared, **trends, **_overview(view))


def _page(template: str, **values: Any) -> str:
    styles = ("style.css", "filters.css", "fleet.css")
    return page(template, styles=styles, scripts=("fleet.js",), **{"root": "", **values})


def _images(store: SweepStore, view: SweepView, details: _ReportDetails) -> Pages:
    """Yield the page of each image: its report, with its tags and shared secrets."""
    by_image: dict[int, dict[str, SecretSummary]] = {}
    for secret in view.secrets:
        for location in secret.locations:
            by_image.setdefault(location.image.id, {})[location.finding.id] = secret
    withdrawn = {row.image.id: row for row in view.withdrawn}
    for image in view.pullable:
        report = queries.report(store, image.id)
        secrets = by_image.get(image.id, {})
        details.add(report, secrets)
        values = {"root": "../", "sweep_view": view, "row": image, "secrets": secrets}
        values["withdrawn"] = withdrawn.get(image.id)
        yield view.pages[image.id], render_page([report], "fleet-image.html", (), styles=("fleet.css",), **values)


# --- values of single pages; `severities` and `states` are numbers of rows for the filters ----------------------------


def _overview(view: SweepView) -> dict[str, Any]:
    return {
        "severities": _boxes(Severity, (image.by_severity for image in view.images)),
        "states": _boxes(State, (image.by_state for image in view.images)),
        "pullable": PULLABLE,
    }


def _secrets(view: SweepView) -> dict[str, Any]:
    return {
        "severities": _boxes(Severity, ([secret.severity] for secret in view.secrets)),
        "states": _boxes(State, (secret.states for secret in view.secrets)),
    }


def _layers(view: SweepView) -> dict[str, Any]:
    secrets: dict[str, dict[str, SecretSummary]] = {}
    for secret in view.secrets:
        for location in secret.locations:
            if location.finding.layer is not None:
                secrets.setdefault(location.finding.layer, {})[secret.secret_id] = secret
    return {
        "severities": _boxes(Severity, ([layer.severity] for layer in view.layers)),
        "secrets": {layer: list(views.values()) for layer, views in secrets.items()},
        "pages": {image.name: view.pages[image.id] for image in view.pullable},
        "age_days": age_days,
    }


def _boxes(kinds: Iterable[Severity] | Iterable[State], rows: Iterable[Collection[str]]) -> dict[str, int]:
    counts = Counter(name for row in rows for name in row)
    return {kind.value: counts[kind.value] for kind in kinds if counts[kind.value]}
