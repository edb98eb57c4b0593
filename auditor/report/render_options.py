"""Options that every report format receives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity
from auditor.pipeline import Failure


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """Time of the audit (RFC 3339, UTC), targets that were not audited, and presentation.

    `fail_on` is the severity from which a finding fails the run, None for no severity. `width` (columns), `color`,
    `one_screen` and `unfold` apply to formats for a terminal: at most 24 lines if possible; every secret in unmodified
    files of packages, not one line a package. `template` is a file for the format `template`.
    """

    created: str
    failures: Sequence[Failure] = ()
    fail_on: Severity | None = Severity.HIGH
    show_secrets: bool = False
    width: int = 100
    color: bool = False
    one_screen: bool = False
    unfold: bool = False
    template: Path | None = None
