"""A finding: one secret at one place of an image, and its history."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum

from auditor.core.dataclass import dataclass
from auditor.core.entries import FileVersion
from auditor.core.secret import Secret


class Severity(StrEnum):
    """Harm that the secret does in the hands of others."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for low up to 3 for critical."""
        return _RANKS[self.value]


GUESSABLE = "guessable"
"""Check of a password that anybody would guess."""


def severity_of(severity: Severity, check: str) -> Severity:
    """Return the severity of a finding by that of its rule: at most medium for a guessable password."""
    return Severity.MEDIUM if check == GUESSABLE and severity.rank > Severity.MEDIUM.rank else severity


class Confidence(StrEnum):
    """Certainty that the value is a secret."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for low up to 2 for high."""
        return _RANKS[self.value]


_RANKS = {"low": 0, "medium": 1, "high": 2, "critical": 3}


class State(StrEnum):
    """State of a finding in the final image."""

    DELETED = "deleted"
    OVERWRITTEN = "overwritten"
    PRESENT = "present"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class Package:
    """The installed package that owns a file; `unmodified` is None where the package keeps no checksum."""

    manager: str
    name: str
    version: str
    unmodified: bool | None


@dataclass(frozen=True, slots=True)
class SourceLine:
    """Line of a Dockerfile, from 1, with the instruction that added a finding."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One secret at one place of an image, with its history. docs/report.md describes the fields.

    Exactly one of `path` and `where` is set: a file, or a place in the metadata. `held_by` are the file versions whose
    content, or whose entry's header, contains the secret, lowest first; `entry_path` is the path of such an entry, for
    globs.
    """

    id: str
    rule: str
    name: str
    provider: str
    detector: str
    severity: Severity
    confidence: Confidence
    state: State
    path: str | None
    where: str | None
    secret: Secret
    secret_id: str
    held_by: tuple[FileVersion, ...] = ()
    entry_path: str | None = field(default=None, repr=False)  # not masked
    member: str | None = None
    decoded: tuple[str, ...] = ()
    line: int | None = None
    added_in: int | None = None
    added_by: str | None = None
    hidden_in: int | None = None
    hidden_by: str | None = None
    inherited: bool = False
    check: str = "none"
    verified: str | None = None
    package: Package | None = None
    source: SourceLine | None = None
    revoke: str | None = None
    recover: str | None = None
    advice: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.path is None) == (self.where is None):
            raise ValueError("a finding needs either a path or a place in the metadata")
        if (self.state is State.METADATA) != (self.path is None):
            raise ValueError("the state METADATA is for findings without a path, and for all of them")
        if self.state is not State.METADATA and (self.hidden_in is None) != (self.state is State.PRESENT):
            raise ValueError("deleted and overwritten findings need hidden_in; present ones have none")
        if self.state is State.METADATA and self.hidden_in is not None and self.entry_path is None:
            raise ValueError("in the metadata, only findings in an entry's header can be hidden")

    @property
    def urgency(self) -> int:
        """Severity times confidence, 1 to 12: reports begin with the highest."""
        return (self.severity.rank + 1) * (self.confidence.rank + 1)

    @property
    def is_hidden(self) -> bool:
        """Whether the secret is absent from the final image and still in a layer."""
        return self.hidden_in is not None
