"""What the store answers with: values without a thought of tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A sweep, with its counts by the names of the columns in schema/sweeps.py.

    `choice` are the options that left out a part of the registry, None where none did.
    """

    id: int
    registry: str
    started: str
    finished: str | None
    counts: dict[str, int]
    filter_text: str | None = None

    @property
    def nothing_audited(self) -> str | None:
        """Why no image was audited, and what to do, in one line; None where one was."""
        if self.counts["images"]:
            return None
        if failed := self.counts["failed"]:
            return (
                f"{self.registry}: nothing was audited: each of its {failed} references failed; "
                "see the reasons under `failed`, and scan again"
            )
        fitting = f" fits {self.filter_text}" if self.filter_text else " is there"
        return (
            f"{self.registry}: nothing was audited: no repository with a tag{fitting}; "
            "check the name and the globs, or list references with --from FILE"
        )


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding in an image. `image` is its number in the store; `secret` is hexadecimal, the same for equal secrets.

    `added_in` and `hidden_in` are positions of layers in the image, `layer` the digest of the one that brought it in.
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


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image of a sweep: one a repository and digest, so one a platform. `id` is its number in the store."""

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

    @property
    def name(self) -> str:
        """`repository@digest`."""
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True)
class WithdrawnRow:
    """An image that no tag names any more. `tags` are the last ones that did.

    `pullable` is whether its digest can be pulled, None where that could not be asked.
    """

    image: ImageRow
    tags: tuple[str, ...]
    pullable: bool | None

    @property
    def is_deleted(self) -> bool:
        """Whether the registry says that it has the digest no more."""
        return self.pullable is False


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """A secret that several images hold; `images` are `repository@digest`."""

    secret: str
    rule: str
    masked: str
    severity: str
    first_seen: str
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeakingLayer:
    """A layer that brought secrets in; `tags` are `repository:tag`, `images` `repository@digest`."""

    digest: str
    secrets: int
    rules: tuple[str, ...]
    severity: str
    first_seen: str
    tags: tuple[str, ...]
    images: tuple[str, ...]


def sweep_row(row: Any) -> SweepRow:
    """Return a row of the table of sweeps."""
    named = ("id", "registry", "started", "finished", "filter_text")
    counts = {key: int(value) for key, value in row._mapping.items() if key not in (*named, "scope", "ruleset")}
    return SweepRow(row.id, row.registry, row.started, row.finished, counts, row.filter_text)


def finding_row(row: Any) -> FindingRow:
    """Return a row of `statements.findings_where`."""
    return FindingRow(
        row.image, row.repository, row.digest, row.platform, row.finding, row.rule, row.name, row.severity,
        row.confidence, row.state, row.path, row.metadata_location, row.line, row.masked, bytes(row.secret).hex(),
        row.layer, row.added_in, row.hidden_in, row.first_seen, row.seen or row.first_seen,
    )  # fmt: skip
