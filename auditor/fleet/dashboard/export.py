"""Tables of the site as CSV (RFC 4180) and JSON. No cell of a CSV file becomes a formula in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity, State
from auditor.core.text import printable
from auditor.fleet.dashboard.groups import SecretCounts, owner_summaries, repository_summaries
from auditor.fleet.dashboard.site_paths import TABLES, table
from auditor.fleet.dashboard.view import SecretSummary, SweepView
from auditor.fleet.store.rows import FindingRow

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # including full-width forms
# A semicolon separates cells for spreadsheets in many languages, and for LibreOffice beside the comma.
_NEXT_CELL = re.compile(rf"""(?<=;)(?=[\s"]*[{re.escape("".join(_FORMULA))}])""")
Cell = str | int | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table: names of its columns, and rows, which are read once."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Cell]]

    def csv(self) -> str:
        """Return the table as CSV; no cell becomes a formula."""
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(self.columns)
        writer.writerows([_cell(value) for value in row] for row in self.rows)
        return out.getvalue()

    def json(self) -> str:
        """Return the table as a JSON list of objects, one a line, with the columns as keys."""
        out, names = io.StringIO(), [str(column) for column in self.columns]
        separator = "[\n"
        for row in self.rows:
            out.write(f"{separator}{json.dumps(dict(zip(names, row, strict=True)))}")
            separator = ",\n"
        out.write("[]\n" if separator == "[\n" else "\n]\n")
        return out.getvalue()


def tables(view: SweepView, steps: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield path and text of each table, as CSV and JSON. `steps` are the build steps of the layers, by digest."""
    changes = [("new", row) for row in view.new] + [("gone", row) for row in view.gone]
    made: dict[str, Callable[[], Table]] = {
        "images": lambda: _images(view),
        "withdrawn": lambda: _withdrawn(view),
        "findings": lambda: _findings(view),
        "secrets": lambda: _secrets(view),
        "repositories": lambda: _repositories(view),
        "owners": lambda: _owners(view),
        "layers": lambda: _layers(view, steps),
        "changes": lambda: Table(("change", *_FINDING), ((change, *_finding(row)) for change, row in changes)),
        "sweeps": lambda: _sweeps(view),
        "trend": lambda: _trend(view),
        "failed": lambda: Table(("reference", "reason"), view.failed),
    }
    for name in TABLES:
        yield table(name), made[name]().csv()
        yield table(name, "json"), made[name]().json()


def _images(view: SweepView) -> Table:
    return Table(
        (
            "repository", "tags", "digest", "platform", *Severity, *State,
            "new", "gone", "first_seen", "skipped", "report",
        ),
        (
            (
                image.repository, " ".join(image.tags), image.digest, image.platform,
                *(image.by_severity.get(kind, 0) for kind in Severity),
                *(image.by_state.get(kind, 0) for kind in State),
                image.new, image.gone, image.first_seen, image.skipped, view.pages.get(image.id),
            )
            for image in view.images
        ),
    )  # fmt: skip


def _withdrawn(view: SweepView) -> Table:
    return Table(
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


def _findings(view: SweepView) -> Table:
    return Table(
        ("tags", *_FINDING),
        (
            (" ".join(location.image.tags), *_finding(location.finding))
            for secret in view.secrets
            for location in secret.locations
        ),
    )


def _secrets(view: SweepView) -> Table:
    return Table(
        ("secret_id", "rule", "name", "secret", "severity", "states", "images", "repositories", "tags", "first_seen",
         "last_seen", "age_days", "owners", "work", "due", "acknowledged_by", "acknowledged_until", "reason",
         "lapsed"),
        (
            (
                secret.secret_id, secret.rule, secret.name, secret.masked, secret.severity, " ".join(secret.states),
                len(secret.images), " ".join(secret.repositories), " ".join(secret.tags), secret.first_seen,
                secret.last_seen, secret.age_days, ", ".join(secret.owners), secret.work, secret.due.isoformat(),
                *_acknowledgement(secret),
            )
            for secret in view.secrets
        ),
    )  # fmt: skip


def _acknowledgement(secret: SecretSummary) -> tuple[Cell, ...]:
    if secret.status is None:
        return None, None, None, None
    own = secret.status.acknowledgement
    return own.author, None if own.until is None else own.until.isoformat(), own.reason, secret.status.lapsed


def _repositories(view: SweepView) -> Table:
    return Table(
        ("repository", "owner", "images", *Severity, "overdue", "acknowledged", "oldest_days", "new", "gone", "page"),
        (
            (one.name, one.owner, len(one.images), *_counts(one.counts), one.new, one.gone, one.page)
            for one in repository_summaries(view)
        ),
    )


def _owners(view: SweepView) -> Table:
    return Table(
        ("owner", "repositories", *Severity, "overdue", "acknowledged", "oldest_days", "page"),
        ((one.name, one.repositories, *_counts(one.counts), one.page) for one in owner_summaries(view)),
    )


def _counts(counts: SecretCounts) -> tuple[Cell, ...]:
    by_severity = (counts.by_severity.get(severity, 0) for severity in Severity)
    return (*by_severity, counts.overdue, counts.acknowledged, counts.oldest_days)


def _trend(view: SweepView) -> Table:
    return Table(
        ("sweep", "started", "by", "name", "secrets"),
        (
            (point.sweep.id, point.sweep.started, kind, name, count)
            for point in view.trend
            for kind, counts in (("owner", point.by_owner), ("age", point.by_age))
            for name, count in counts.items()
        ),
    )


def _layers(view: SweepView, steps: Mapping[str, str]) -> Table:
    return Table(
        ("layer", "tag_count", "image_count", "secrets", "rules", "severity", "first_seen", "step", "tags", "images"),
        (
            (
                layer.digest, len(layer.tags), len(layer.images), layer.secrets, " ".join(layer.rules), layer.severity,
                layer.first_seen, steps.get(layer.digest), " ".join(layer.tags), " ".join(layer.images),
            )
            for layer in view.layers
        ),
    )  # fmt: skip


def _sweeps(view: SweepView) -> Table:
    counts = tuple(view.sweep.counts)
    return Table(
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


def _cell(value: Cell) -> Cell:
    """Return a value that a spreadsheet displays as text: a quote in front disables formulas."""
    if not isinstance(value, str):
        return value
    text = _NEXT_CELL.sub("'", printable(value))
    return f"'{text}" if value.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text
