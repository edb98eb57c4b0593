"""Results of the queries, as values independent of the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.findings.secret_groups import Verdict


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A sweep with its counts, by the column names of schema/sweeps.py.

    `filter_text` are the options that excluded a part of the registry, None if there were none.
    """

    id: int
    registry: str
    started: str
    finished: str | None
    counts: dict[str, int]
    filter_text: str | None = None

    @property
    def nothing_audited(self) -> str | None:
        """Message that no image was audited, with the reason and a remedy; None if an image was audited."""
        if self.counts["images"]:
            return None
        if failed := self.counts["failed"]:
            return (
                f"{self.registry}: nothing was audited, because all {failed} references failed. "
                "See the reasons under `failed`, and scan again."
            )
        condition = f" that matches {self.filter_text}" if self.filter_text else ""
        return (
            f"{self.registry}: nothing was audited: found no repository with a tag{condition}. "
            "Check the name and the globs, or list references with --from FILE."
        )


def audited_part(*, partial: bool, failed: bool) -> str:
    """Return the end of `no secrets found`: empty if all images were read in full."""
    return " in what was read" if partial else " in the audited images" if failed else ""


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding in an image. `image` is the id of its row; `secret` is hexadecimal, equal for equal secrets.

    `added_in` and `hidden_in` are positions of layers in the image, `layer` is the digest of the layer that added it.
    """

    image: int
    repository: str
    digest: str
    platform: str | None
    id: str
    rule: str
    name: str
    severity: str
    confidence: str
    state: str
    path: str | None
    where: str | None
    line: int | None
    masked: str
    secret: str
    layer: str | None
    added_in: int | None
    hidden_in: int | None
    first_seen: str
    last_seen: str


_SECRET = FindingRow.__slots__.index("secret")


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image of a sweep, one for each repository and digest. `id` is the id of its row.

    `skipped` is the number of its items that were not read.
    Images without findings, of which everything was read, have no report.
    """

    id: int
    repository: str
    digest: str
    platform: str | None
    tags: tuple[str, ...]
    by_severity: dict[str, int]
    by_state: dict[str, int]
    new: int
    gone: int
    first_seen: str
    skipped: int
    has_report: bool

    @property
    def name(self) -> str:
        """`repository@digest`."""
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True)
class WithdrawnRow:
    """An image without a tag; `tags` are its last ones.

    `pullable` is whether its digest can be pulled, None if the request failed.
    """

    image: ImageRow
    tags: tuple[str, ...]
    pullable: bool | None

    @property
    def is_deleted(self) -> bool:
        """Whether the registry reported the digest as deleted."""
        return self.pullable is False


@dataclass(frozen=True, slots=True)
class SecretInterval:
    """A secret in a repository, from the sweep `since` until the sweep `absent_since`, None while it can be pulled.

    `first_seen` is the start of the sweep `since`. If retention has deleted that sweep, `since` is a later one.
    """

    secret: str
    repository: str
    first_seen: str
    since: int
    absent_since: int | None


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """A secret in several images; `images` are `repository@digest`."""

    secret: str
    rule: str
    masked: str
    severity: str
    first_seen: str
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeakingLayer:
    """A layer that added secrets; `tags` are `repository:tag`, `images` are `repository@digest`."""

    digest: str
    secrets: int
    rules: tuple[str, ...]
    severity: str
    first_seen: str
    tags: tuple[str, ...]
    images: tuple[str, ...]


def sweep_row(row: Any) -> SweepRow:
    """Convert a row of the table of sweeps."""
    named = ("id", "registry", "started", "finished", "filter_text")
    counts = {key: int(value) for key, value in row._mapping.items() if key not in (*named, "scope", "ruleset")}
    return SweepRow(row.id, row.registry, row.started, row.finished, counts, row.filter_text)


def finding_row(row: Sequence[Any], shared: dict[Any, Any]) -> FindingRow:
    """Convert a row of `statements.findings_where`. Equal values of many rows are one object, kept in `shared`."""
    values = (*row[1:_SECRET], bytes(row[_SECRET]).hex(), *row[_SECRET + 1 :])
    share: Callable[[Any, Any], Any] = shared.setdefault
    return FindingRow(row[0], *map(share, values, values))


def verdict_of(rows: Iterable[FindingRow]) -> Verdict:
    """Count the secrets of findings in any number of images, as a report does for one image. `failing` is 0."""
    places: dict[str, list[bool]] = {}
    for row in rows:
        places.setdefault(row.secret, []).append(row.hidden_in is not None)
    hidden = places.values()
    return Verdict(
        secrets=len(places),
        places=sum(map(len, hidden)),
        recoverable=sum(map(any, hidden)),
        visible=sum(not all(own) for own in hidden),
        failing=0,
    )
