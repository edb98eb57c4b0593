"""Selection of the findings to show, to ignore, and to fail on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import astuple
from enum import StrEnum
from fnmatch import fnmatchcase

from auditor.core.dataclass import dataclass
from auditor.core.finding import Confidence, Finding, Severity, State
from auditor.core.globs import Globs
from auditor.core.options import IgnoreEntry


class IgnoredBy(StrEnum):
    """Reason for ignoring a finding."""

    PATH = "path"
    RULE = "rule"
    IMAGE = "image"
    IGNORE = "ignore"
    BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class IgnoredFinding:
    """An ignored finding with the reason."""

    finding: Finding
    by: IgnoredBy


@dataclass(frozen=True, slots=True)
class Selection:
    """Findings to show. `exclude_paths` are globs as in a .gitignore, over absolute paths.

    `baseline` are the ids of accepted findings. Expired rules and baseline entries are left out.
    """

    states: frozenset[State] = frozenset(State)
    min_confidence: Confidence = Confidence.MEDIUM
    exclude_paths: tuple[str, ...] = ()
    exclude_rules: frozenset[str] = frozenset()
    exclude_images: tuple[str, ...] = ()
    ignore: tuple[IgnoreEntry, ...] = ()
    baseline: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """Text that is equal for equal selections in every process."""
        return repr([sorted(value) if isinstance(value, frozenset) else value for value in astuple(self)])

    def apply(
        self, findings: Iterable[Finding], names: Collection[str]
    ) -> tuple[tuple[Finding, ...], tuple[IgnoredFinding, ...]]:
        """Return the shown findings of an image with these names and the ignored ones, both in their order."""
        reason_to_ignore = self._ignorer(names)
        shown, ignored = list[Finding](), list[IgnoredFinding]()
        for finding in findings:
            if finding.state in self.states and finding.confidence.rank >= self.min_confidence.rank:
                reason = reason_to_ignore(finding)
                if reason is None:
                    shown.append(finding)
                else:
                    ignored.append(IgnoredFinding(finding, reason))
        return tuple(shown), tuple(ignored)

    def _ignorer(self, names: Collection[str]) -> Callable[[Finding], IgnoredBy | None]:
        excluded = Globs(self.exclude_paths) if self.exclude_paths else None
        whole = any(matches_name(names, pattern) for pattern in self.exclude_images)
        ignores = [
            (item.rule or "*", None if item.path is None else Globs([item.path]))
            for item in self.ignore
            if item.image is None or matches_name(names, item.image)
        ]

        def reason(finding: Finding) -> IgnoredBy | None:
            if whole:
                return IgnoredBy.IMAGE
            if excluded is not None and _inside(finding, excluded):
                return IgnoredBy.PATH
            if finding.rule in self.exclude_rules:
                return IgnoredBy.RULE
            if any(
                fnmatchcase(finding.rule, rule) and (globs is None or _inside(finding, globs))
                for rule, globs in ignores
            ):
                return IgnoredBy.IGNORE
            return IgnoredBy.BASELINE if finding.id in self.baseline else None

        return reason


def _inside(finding: Finding, globs: Globs) -> bool:
    path = finding.path if finding.path is not None else finding.entry_path
    return path is not None and globs.match(path)


def fails(findings: Iterable[Finding], fail_on: Severity | None) -> bool:
    """Whether a finding is at or above the severity that fails the run; None never fails."""
    return any(failing(findings, fail_on))


def failing(findings: Iterable[Finding], fail_on: Severity | None) -> list[Finding]:
    """Return the findings at or above the severity that fails the run."""
    return [finding for finding in findings if fail_on is not None and finding.severity.rank >= fail_on.rank]


def matches_name(names: Iterable[str], pattern: str) -> bool:
    """Whether a glob matches one of the names, with or without tag; `*` matches `/` and `:` too."""
    return any(fnmatchcase(name, pattern) or fnmatchcase(untagged(name), pattern) for name in names)


def untagged(name: str) -> str:
    """Return an image's name without tag and digest."""
    head, slash, tail = name.partition("@")[0].rpartition("/")
    return head + slash + tail.partition(":")[0]
