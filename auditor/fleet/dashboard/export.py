"""Tables of the site as CSV (RFC 4180). No cell becomes a formula in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

from auditor.core.finding import Severity, State
from auditor.core.text import printable
from auditor.fleet.dashboard.site_paths import table
from auditor.fleet.dashboard.view import SweepView
from auditor.fleet.store.rows import FindingRow

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # including full-width forms
Cell = str | int | None


def csv_tables(view: SweepView, steps: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield path and text of each table. `steps` are the build steps of the layers, by digest."""
    yield table("images"), _images(view)
    yield table("withdrawn"), _withdrawn(view)
    yield table("findings"), _findings(view)
    yield table("secrets"), _secrets(view)
    yield table("layers"), _layers(view, steps)
    changes = [("new", row) for row in view.new] + [("gone", row) for row in view.gone]
    yield table("changes"), _csv(("change", *_FINDING), ((change, *_finding(row)) for change, row in changes))
    yield table("sweeps"), _sweeps(view)
    yield table("failed"), _csv(("reference", "reason"), view.failed)


def _images(view: SweepView) -> str:
    return _csv(
        ("repository", "tags", "digest", "platform", *Severity, *State, "new", "gone", "first_seen", "report"),
        (
            (
                image.repository, " ".join(image.tags), image.digest, image.platform,
                *(image.by_severity.get(kind, 0) for kind in Severity),
                *(image.by_state.get(kind, 0) for kind in State),
                image.new, image.gone, image.first_seen, view.pages[image.id],
            )
            for image in view.images
        ),
    )  # fmt: skip


def _withdrawn(view: SweepView) -> str:
    return _csv(
        ("repository", "tags", "digest", "platform", "pullable", *Severity, *State, "first_seen", "report"),
        (
            (
                row.image.repository, " ".join(row.tags), row.image.digest, row.image.platform,
                {True: "yes", False: "no", None: "unknown"}[row.pullable],
                *(row.image.by_severity.get(kind, 0) for kind in Severity),
                *(row.image.by_state.get(kind, 0) for kind in State),
                row.image.first_seen, view.pages.get(row.image.id),
            )
            for row in view.withdrawn
        ),
    )  # fmt: skip


def _findings(view: SweepView) -> str:
    return _csv(
        ("tags", *_FINDING),
        (
            (" ".join(location.image.tags), *_finding(location.finding))
            for secret in view.secrets
            for location in secret.locations
        ),
    )


def _secrets(view: SweepView) -> str:
    return _csv(
        ("secret_id", "rule", "name", "secret", "severity", "states", "images", "repositories", "tags", "first_seen",
         "last_seen", "age_days"),
        (
            (
                secret.secret_id, secret.rule, secret.name, secret.masked, secret.severity, " ".join(secret.states),
                len(secret.images), " ".join(secret.repositories), " ".join(secret.tags), secret.first_seen,
                secret.last_seen, secret.age_days,
            )
            for secret in view.secrets
        ),
    )  # fmt: skip


def _layers(view: SweepView, steps: Mapping[str, str]) -> str:
    return _csv(
        ("layer", "tag_count", "image_count", "secrets", "rules", "severity", "first_seen", "step", "tags", "images"),
        (
            (
                layer.digest, len(layer.tags), len(layer.images), layer.secrets, " ".join(layer.rules), layer.severity,
                layer.first_seen, steps.get(layer.digest), " ".join(layer.tags), " ".join(layer.images),
            )
            for layer in view.layers
        ),
    )  # fmt: skip


def _sweeps(view: SweepView) -> str:
    counts = tuple(view.sweep.counts)
    return _csv(
        ("sweep", "registry", "started", "finished", *counts),
        ((row.id, row.registry, row.started, row.finished, *(row.counts[key] for key in counts))
         for row in view.sweeps),
    )  # fmt: skip


_FINDING = (
    "repository", "digest", "platform", "finding", "rule", "name", "severity", "confidence", "state", "path", "where",
    "line", "secret", "secret_id", "layer", "added_in", "hidden_in", "first_seen", "last_seen",
)  # fmt: skip


def _finding(row: FindingRow) -> tuple[Cell, ...]:
    return (
        row.repository, row.digest, row.platform, row.id, row.rule, row.name, row.severity, row.confidence, row.state,
        row.path, row.where, row.line, row.masked, row.secret, row.layer, row.added_in, row.hidden_in, row.first_seen,
        row.last_seen,
    )  # fmt: skip


def _csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: Cell) -> Cell:
    """Return a value that a spreadsheet displays as text: a quote in front disables formulas."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if value.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text
