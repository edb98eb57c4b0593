"""Pages of the site, rendered one by one: only one report is in memory at a time."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity, State
from auditor.core.version import __version__
from auditor.fleet.dashboard import charts, export, listings
from auditor.fleet.dashboard.groups import (
    OwnerSummary,
    RepositorySummary,
    owner_summaries,
    repository_summaries,
    secret_counts,
)
from auditor.fleet.dashboard.image_pages import ImagePages
from auditor.fleet.dashboard.listings import Part, parts
from auditor.fleet.dashboard.site_paths import (
    LAYERS,
    OVERVIEW,
    OWNERS,
    REPOSITORIES,
    SECRETS,
    SWEEPS,
    TABLES,
    owner_page,
    table,
)
from auditor.fleet.dashboard.sweep_table import PULLABLE
from auditor.fleet.dashboard.view import SecretSummary, SweepView, age_days
from auditor.fleet.remediation.trends import AGES
from auditor.fleet.store import queries
from auditor.fleet.store.database import SweepStore
from auditor.fleet.store.rows import ImageRow, LeakingLayer
from auditor.report.html import BRIEF, render_page
from auditor.report.html.image_view import part_of
from auditor.report.html.page import page

Pages = Generator[tuple[str, str], None, None]
_MOST_NAMES = 20  # repositories of one secret in the filter
_NEW_OBJECTS = 10_000
"""New objects before a collection: the garbage of a hundred large pages, a twentieth of the threshold at the start."""


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


@dataclass(frozen=True, slots=True)
class SiteLists:
    """Lists of the site, cut into pages."""

    images: Sequence[Part[ImageRow]]
    secrets: Sequence[Part[SecretSummary]]
    layers: Sequence[Part[LeakingLayer]]
    repositories: Sequence[Part[RepositorySummary]]
    by_repository: Sequence[tuple[RepositorySummary, Part[ImageRow]]]
    owners: Sequence[OwnerSummary]
    by_owner: Sequence[tuple[OwnerSummary, Part[SecretSummary]]]

    @property
    def paths(self) -> list[str]:
        """Paths of all pages; the owners have one only if there are owners."""
        cut: tuple[Sequence[Part[Any]], ...] = (self.images, self.secrets, self.layers, self.repositories)
        return [
            *(part.path for own in cut for part in own),
            *(part.path for _, part in self.by_repository),
            *(part.path for _, part in self.by_owner),
        ]


def site_lists(view: SweepView) -> SiteLists:
    """Return the lists of a sweep."""
    repositories, owners = repository_summaries(view), owner_summaries(view)
    return SiteLists(
        parts(OVERVIEW, view.images, listings.IMAGES),
        parts(SECRETS, view.secrets, listings.SECRETS),
        parts(LAYERS, view.layers, listings.LAYERS),
        parts(REPOSITORIES, repositories, listings.REPOSITORIES),
        [(one, part) for one in repositories for part in parts(one.page, one.images, listings.IMAGES)],
        owners,
        [(one, part) for one in owners for part in parts(one.page, one.secrets, listings.SECRETS)],
    )


def site_files(view: SweepView, lists: SiteLists) -> list[str]:
    """Return the paths of all files of the site."""
    tables = [table(name, form) for name in TABLES for form in ("csv", "json")]
    pages = [
        *(path for own in view.image_pages.values() for path in own.paths),
        *(secret.page for secret in view.secrets),
        *lists.paths,
    ]
    return [*pages, SWEEPS, *([OWNERS] if view.has_owners else []), *tables]


def render_pages(store: SweepStore, view: SweepView, lists: SiteLists, created: str) -> Pages:
    """Yield path and text of each file; the overview, which links to all others, comes last."""
    details = _ReportDetails(frozenset(layer.digest for layer in view.layers))
    with _small_collections():
        yield from _images(store, view, details)
        yield from export.tables(view, details.steps)
        yield from render_lists(view, lists, details, created)


@contextmanager
def _small_collections() -> Iterator[None]:
    """Collect the garbage of a page soon, and without a look through the view: pages leave cycles, 60 kB each."""
    threshold = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()


def render_lists(view: SweepView, lists: SiteLists, details: _ReportDetails, created: str) -> Pages:
    """Yield the pages of secrets, repositories, owners, layers and sweeps, and the overview."""
    shared: dict[str, Any] = {"sweep_view": view, "details": details, "created": created, "version": __version__}
    shared["owner_page"] = owner_page
    below = {**shared, "root": "../"}
    for secret in view.secrets:
        yield secret.page, _page("fleet-secret.html", secret=secret, **below)
    for part in lists.secrets:
        yield part.path, _page("fleet-secrets.html", part=part, **shared, **_of_secrets(view, part.rows))
    for repository, own in lists.by_repository:
        yield own.path, _page("fleet-repository.html", one=repository, part=own, **below, **_of_images(view, own.rows))
    for repositories in lists.repositories:
        yield repositories.path, _page("fleet-repositories.html", part=repositories, **shared,
                                       **_of_repositories(view, repositories.rows))  # fmt: skip
    for owner, held in lists.by_owner:
        yield held.path, _page("fleet-owner.html", one=owner, part=held, **below, **_of_secrets(view, held.rows))
    of_layers = _of_layers(view)
    for layers in lists.layers:
        severities = _boxes(Severity, ([layer.severity] for layer in layers.rows))
        yield layers.path, _page("fleet-layers.html", part=layers, severities=severities, **shared, **of_layers)
    trends = _trends(view)
    yield SWEEPS, _page("fleet-sweeps.html", **shared, **trends)
    if view.has_owners:
        yield OWNERS, _page("fleet-owners.html", owners=lists.owners, **shared, **trends)
    for images in reversed(lists.images):
        template = "fleet-index.html" if images.number == 1 else "fleet-images.html"
        values = {**trends, "owners": lists.owners, "pullable": PULLABLE, "work": secret_counts(view.secrets)}
        yield images.path, _page(template, part=images, **shared, **values, **_of_images(view, images.rows))


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
        if image.id not in view.pages:
            continue
        report = queries.report(store, image.id)
        secrets = by_image.get(image.id, {})
        details.add(report, secrets)
        values = {"root": "../", "sweep_view": view, "row": image, "secrets": secrets}
        values["withdrawn"] = withdrawn.get(image.id)
        yield from _image(view.image_pages[image.id], report, values)


def _image(pages: ImagePages, report: dict[str, Any], values: dict[str, Any]) -> Pages:
    """Yield the pages of one image: summary, layers and the first findings; then further findings alone."""
    findings = [finding["id"] for finding in report["findings"]]
    names = [path.rpartition("/")[2] for path in pages.paths]
    elsewhere = {finding: path.rpartition("/")[2] for finding, path in pages.page_of.items() if path != pages.paths[0]}
    for number, path in enumerate(pages.paths):
        own = part_of(report, pages.on(path, findings))
        place: Part[object] = Part(path, number + 1, (), len(findings), pages.paths)
        first = {"listed": own, "elsewhere": elsewhere} if number == 0 else {"first_page": names[0]}
        template = "fleet-image-part.html" if number else "fleet-image.html"
        yield (
            path,
            render_page(
                [own if number else report],
                template,
                styles=("fleet.css",),
                limits=BRIEF,
                part=place,
                **first,
                **values,
            ),
        )


# --- values of single pages; `severities` and `states` are numbers of rows for the filters ----------------------------


def _of_images(view: SweepView, rows: Sequence[ImageRow]) -> dict[str, Any]:
    return {
        "severities": _boxes(Severity, (image.by_severity for image in rows)),
        "states": _boxes(State, (image.by_state for image in rows)),
        "names": _numbered(view.repositories, {image.repository for image in rows}),
    }


def _of_secrets(view: SweepView, rows: Sequence[SecretSummary]) -> dict[str, Any]:
    return {
        "severities": _boxes(Severity, ([secret.severity] for secret in rows)),
        "states": _boxes(State, (secret.states for secret in rows)),
        "names": _numbered(view.repositories, {name for secret in rows for name in secret.repositories[:_MOST_NAMES]}),
        "teams": _owners(view, (secret.repositories for secret in rows)),
    }


def _of_repositories(view: SweepView, rows: Sequence[RepositorySummary]) -> dict[str, Any]:
    return {
        "severities": _boxes(Severity, (one.counts.by_severity for one in rows)),
        "teams": _owners(view, ([one.name] for one in rows)),
    }


def _of_layers(view: SweepView) -> dict[str, Any]:
    """Return the values of all pages of layers: the secrets that each layer added, and the pages of images."""
    found: dict[str, dict[str, SecretSummary]] = {}
    for secret in view.secrets:
        for location in secret.locations:
            if location.finding.layer is not None:
                found.setdefault(location.finding.layer, {})[secret.secret_id] = secret
    return {
        "secrets": {layer: list(own.values()) for layer, own in found.items()},
        "pages": {image.name: view.pages[image.id] for image in view.pullable if image.id in view.pages},
        "age_days": age_days,
    }


def _trends(view: SweepView) -> dict[str, Any]:
    owners = Counter(name for point in view.trend[-1:] for name, count in point.by_owner.items() for _ in range(count))
    by_age = [(point.sweep, point.by_age) for point in view.trend]
    by_owner = [(point.sweep, point.by_owner) for point in view.trend]
    return {
        "findings": charts.findings(view.sweeps),
        "change": charts.new_and_gone(view.sweeps),
        "by_age": charts.series(by_age, [name for _, name in AGES]),
        "by_owner": charts.series(by_owner, [name for name, _ in owners.most_common()]),
    }


def _owners(view: SweepView, repositories: Iterable[Iterable[str]]) -> list[tuple[int, str]]:
    """Return numbers and names of the owners of repositories for a filter; none without owners."""
    names = {name for own in repositories for name in view.owners_of(own)}
    return _numbered(view.owner_numbers, names) if view.has_owners else []


def _numbered(numbers: Mapping[str, int], names: Collection[str]) -> list[tuple[int, str]]:
    """Return numbers and names for a filter, in the order of the numbers."""
    return sorted((numbers[name], name) for name in names)


def _boxes(kinds: Iterable[Severity] | Iterable[State], rows: Iterable[Collection[str]]) -> dict[str, int]:
    counts = Counter(name for row in rows for name in row)
    return {kind.value: counts[kind.value] for kind in kinds if counts[kind.value]}
