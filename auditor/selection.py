"""Which findings a report shows, and which of them fail the run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from auditor.globs import Globs
from auditor.model import Confidence, Finding, Severity, State


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user wants to see. `exclude_paths` are globs as in a .gitignore, over absolute paths."""

    states: frozenset[State] = frozenset(State)
    min_confidence: Confidence = Confidence.MEDIUM
    exclude_paths: tuple[str, ...] = ()

    def apply(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """Return the findings that are wanted, in their order."""
        excluded = Globs(self.exclude_paths)
        return tuple(
            finding
            for finding in findings
            if finding.state in self.states
            and finding.confidence.rank >= self.min_confidence.rank
            and not (finding.path is not None and self.exclude_paths and excluded.match(finding.path))
        )


def fails(findings: Iterable[Finding], fail_on: Severity | None) -> bool:
    """Whether a finding is at or above the severity that fails the run; None never fails."""
    return fail_on is not None and any(finding.severity.rank >= fail_on.rank for finding in findings)
