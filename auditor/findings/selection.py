"""Which findings a report shows, which are ignored and for whose sake, and which of them fail the run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import astuple, dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import PurePath

from auditor.core.finding import Confidence, Finding, Severity, State
from auditor.core.globs import Globs
from auditor.core.options import IgnoreEntry
from auditor.images.source import Image
from auditor.images.targets import is_image_id
from auditor.images.transports import TRANSPORTS


class By(StrEnum):
    """What asks for a finding to be ignored."""

    PATH = "path"
    RULE = "rule"
    IMAGE = "image"
    IGNORE = "ignore"
    BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class Ignored:
    """A finding that would be shown if nothing asked for it to be ignored."""

    finding: Finding
    by: By


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user wants to see. `exclude_paths` are globs as in a .gitignore, over absolute paths.

    `baseline` are the ids of findings that are known and accepted. What has expired stands in none of them.
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
        """The same text for the same selection, in every process."""
        return repr([sorted(value) if isinstance(value, frozenset) else value for value in astuple(self)])

    def apply(self, findings: Iterable[Finding], image: Image) -> tuple[tuple[Finding, ...], tuple[Ignored, ...]]:
        """Return the findings that are wanted, and those that are ignored, both in their order."""
        by = self._judge(names_of(image))
        shown, ignored = list[Finding](), list[Ignored]()
        for finding in findings:
            if finding.state in self.states and finding.confidence.rank >= self.min_confidence.rank:
                reason = by(finding)
                if reason is None:
                    shown.append(finding)
                else:
                    ignored.append(Ignored(finding, reason))
        return tuple(shown), tuple(ignored)

    def _judge(self, names: Collection[str]) -> Callable[[Finding], By | None]:
        excluded = Globs(self.exclude_paths)
        whole = any(fits(names, pattern) for pattern in self.exclude_images)
        ignores = [
            (item.rule or "*", None if item.path is None else Globs([item.path]))
            for item in self.ignore
            if item.image is None or fits(names, item.image)
        ]

        def by(finding: Finding) -> By | None:
            if whole:
                return By.IMAGE
            if self.exclude_paths and _inside(finding, excluded):
                return By.PATH
            if finding.rule in self.exclude_rules:
                return By.RULE
            if any(fnmatchcase(finding.rule, rule) and (g is None or _inside(finding, g)) for rule, g in ignores):
                return By.IGNORE
            return By.BASELINE if finding.id in self.baseline else None

        return by


def _inside(finding: Finding, globs: Globs) -> bool:
    path = finding.path if finding.path is not None else finding.entry_path
    return path is not None and globs.match(path)


def fails(findings: Iterable[Finding], fail_on: Severity | None) -> bool:
    """Whether a finding is at or above the severity that fails the run; None never fails."""
    return any(failing(findings, fail_on))


def failing(findings: Iterable[Finding], fail_on: Severity | None) -> list[Finding]:
    """Return the findings at or above the severity that fails the run."""
    return [finding for finding in findings if fail_on is not None and finding.severity.rank >= fail_on.rank]


def names_of(image: Image) -> frozenset[str]:
    """Return what an image is called: as the target says, or by the names in an archive; without either, its file.

    Other names of an image that the target names don't count: what is said of them is said of another image.
    """
    transport = TRANSPORTS[image.transport]
    target = transport.bare(image.target)
    if transport.has_names and not is_image_id(target) and "@" not in target:
        return frozenset({target} if target != untagged(target) else {target, f"{target}:latest"})
    return frozenset(image.names or {PurePath(target).name})


def fits(names: Iterable[str], pattern: str) -> bool:
    """Whether a glob fits one of the names, with or without its tag; `*` stands for `/` and `:` too."""
    return any(fnmatchcase(name, pattern) or fnmatchcase(untagged(name), pattern) for name in names)


def untagged(name: str) -> str:
    """Return an image's name without tag and digest."""
    head, slash, tail = name.partition("@")[0].rpartition("/")
    return head + slash + tail.partition(":")[0]
