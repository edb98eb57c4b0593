"""Rules of `image-audit dockerfile`, and the problems that they report."""

from __future__ import annotations

from enum import StrEnum

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity

FORMATS = {"table": ".txt", "json": ".json", "sarif": ".sarif"}
"""Report formats and their file endings."""


class DockerfileRule(StrEnum):
    """Names of the rules in reports and options."""

    SECRET_IN_ENV = "secret-in-env"  # noqa: S105 - the name of a rule
    SECRET_IN_ARG = "secret-in-arg"  # noqa: S105
    SECRET_IN_RUN = "secret-in-run"  # noqa: S105
    CREDENTIALS_IN_URL = "credentials-in-url"
    SECRET_FILE_COPIED = "secret-file-copied"  # noqa: S105
    COPY_CONTEXT = "copy-context"
    DELETED_LATER = "deleted-later"
    CACHE_ORDER = "cache-order"
    LARGE_THEN_DELETED = "large-then-deleted"


TITLES = {
    DockerfileRule.SECRET_IN_ENV: "Secret in the image's environment, a label or another setting",
    DockerfileRule.SECRET_IN_ARG: "Secret in a build argument",
    DockerfileRule.SECRET_IN_RUN: "Literal secret in a command",
    DockerfileRule.CREDENTIALS_IN_URL: "Credentials in a URL",
    DockerfileRule.SECRET_FILE_COPIED: "File with a secret copied into the image",
    DockerfileRule.COPY_CONTEXT: "Whole context copied, with secret files or .git",
    DockerfileRule.DELETED_LATER: "Removed in a later layer than the one that adds it",
    DockerfileRule.CACHE_ORDER: "Whole context copied before an expensive step",
    DockerfileRule.LARGE_THEN_DELETED: "Large files removed in a later layer than the one that adds them",
}
"""Title of each rule in SARIF."""


@dataclass(frozen=True, slots=True)
class DockerfileProblem:
    """Problem at one instruction. `message` and `advice` contain secrets only masked.

    `copied_to_image`: the instruction belongs to a discarded stage, but a later stage copies its secret into the image.
    `adding_line`: line of the instruction that added the files which this one removes.
    """

    rule: DockerfileRule
    line: int
    severity: Severity
    message: str
    advice: str
    copied_to_image: bool = False
    adding_line: int | None = None
