"""Findings grouped by secret, and the verdict: the counts that every report shows under the same names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from auditor.core.dataclass import dataclass
from auditor.core.finding import Confidence, Finding, Package, Severity, State
from auditor.core.text import plural


@dataclass(frozen=True, slots=True)
class SecretGroup:
    """One secret of an image with its findings, one a place, most urgent first. It has at least one."""

    findings: tuple[Finding, ...]

    @property
    def first(self) -> Finding:
        """The most urgent finding: its rule names the secret."""
        return self.findings[0]

    @property
    def severity(self) -> Severity:
        """Highest severity of the findings."""
        return max((finding.severity for finding in self.findings), key=lambda severity: severity.rank)

    @property
    def confidence(self) -> Confidence:
        """Highest confidence of the findings: a value that is a secret in one place is the same secret in others."""
        return max((finding.confidence for finding in self.findings), key=lambda confidence: confidence.rank)

    @property
    def is_recoverable(self) -> bool:
        """Whether a place of the secret is hidden by a layer."""
        return any(finding.is_hidden for finding in self.findings)

    @property
    def is_visible(self) -> bool:
        """Whether a place of the secret is in the files or the metadata of the final image."""
        return any(not finding.is_hidden for finding in self.findings)

    @property
    def revoke(self) -> str | None:
        """Page on which the secret is revoked."""
        return next((finding.revoke for finding in self.findings if finding.revoke), None)

    @property
    def states(self) -> dict[State, int]:
        """Number of places by state, without states that have none."""
        counts = Counter(finding.state for finding in self.findings)
        return {state: counts[state] for state in State if counts[state]}

    @property
    def published_in(self) -> Package | None:
        """The package that publishes the secret: all places are in unmodified files of packages, and it is not live.

        Reports fold such secrets into one line a package.
        """
        packages = [finding.package for finding in self.findings if finding.package and finding.package.unmodified]
        is_live = any(finding.verified == "active" for finding in self.findings)
        return packages[0] if len(packages) == len(self.findings) and not is_live else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts of an image. All but `places`, the number of findings, count distinct secrets.

    A secret with a hidden and a visible place is `recoverable` and `visible`. `failing` are at or above --fail-on.
    """

    secrets: int
    places: int
    recoverable: int
    visible: int
    failing: int

    @property
    def leaks(self) -> bool:
        """Whether the image holds a secret."""
        return self.secrets > 0

    @property
    def text(self) -> str:
        """The counts in words, the same in every report."""
        return (
            f"{plural(self.secrets, 'secret')} at {plural(self.places, 'place')}; "
            f"{self.recoverable:,} hidden but recoverable, {self.visible:,} visible"
        )


def in_history(finding: Finding) -> bool:
    """Whether a finding is in the text of a build step. A build argument is in the text of each later step."""
    return (finding.where or "").startswith("history[")


def secret_groups(findings: Iterable[Finding]) -> tuple[SecretGroup, ...]:
    """Group the findings of one image by secret, most urgent secret first."""
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.secret_id, []).append(finding)
    return tuple(sorted((SecretGroup(tuple(places)) for places in found.values()), key=_order))


def _order(group: SecretGroup) -> tuple[int, int, bool, bool]:
    """Sort key: severity times confidence, then recoverable and visible secrets. Equal ones keep their order."""
    urgency = (group.severity.rank + 1) * (group.confidence.rank + 1)
    return (-urgency, -group.severity.rank, not group.is_recoverable, not group.is_visible)


def verdict(groups: Sequence[SecretGroup], fail_on: Severity | None) -> Verdict:
    """Count the secrets of an image. `fail_on` is the severity that fails the run, None for no severity."""
    return Verdict(
        secrets=len(groups),
        places=sum(len(group.findings) for group in groups),
        recoverable=sum(group.is_recoverable for group in groups),
        visible=sum(group.is_visible for group in groups),
        failing=sum(fail_on is not None and group.severity.rank >= fail_on.rank for group in groups),
    )
