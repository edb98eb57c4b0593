"""Verification of attestations: signature, predicate type, subjects, time."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence

from auditor.attest.envelope import verified_payload
from auditor.attest.keys import Verifier
from auditor.attest.statement import Statement, parse_statement
from auditor.core.clock import timestamp
from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.errors import AttestationError
from auditor.core.finding import Confidence, Severity
from auditor.core.limits import Limits

CLOCK_SKEW = datetime.timedelta(hours=1)
"""Most that the clock of the machine that signed may be ahead of the clock here."""
_MAX_PROBLEMS = 3

EnvelopeReader = Callable[[], Iterator[tuple[str, bytes | None]]]
"""Reads the envelopes of an attestation, each with a label; None for one that is missing or damaged."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An attestation that was not read yet, with the claims of its annotations, which are not signed.

    `key_id` is that of the key that signed it. `created` is the time of its attachment, or the end of the audit: no
    statement in it is later. Both are None without the annotation.
    """

    label: str
    key_id: str | None
    created: str | None
    read: EnvelopeReader


@dataclass(frozen=True, slots=True)
class Criteria:
    """Criteria of a reader for one target.

    `digests` are those by which a client pulls it, `manifests` those of its images: a statement is about all of the
    former, and has results of all of the latter. A clean one has no secret at or above `fail_on`, and leaves out no
    finding of `min_confidence`.
    """

    digests: Sequence[Digest]
    manifests: Sequence[Digest]
    fail_on: Severity | None
    min_confidence: Confidence

    def shortfall(self, statement: Statement) -> int:
        """Return 0 for a clean statement, 1 for an incomplete audit, 2 for secrets at or above `fail_on`."""
        if statement.failing(self.fail_on):
            return 2
        return int(statement.doubt(self.min_confidence) is not None)


def newest_valid(
    candidates: Iterable[Candidate],
    criteria: Criteria,
    verifier: Verifier,
    target: str,
    limits: Limits,
    now: datetime.datetime,
) -> Statement:
    """Return the newest statement that is signed with the key, is about all digests, and was made before `now`.

    Of several statements with the same time it is the worst. Candidates are read from the newest on, until no other one
    can be newer. Raises AttestationError if none is valid, with the first reasons, and if a newer one can't be read or
    comes from the future without being clean.
    """
    selection = _Selection(criteria, verifier, limits, timestamp(now + CLOCK_SKEW))
    for candidate in _newest_first(candidates):
        if candidate.key_id not in (None, verifier.key_id):
            selection.note(f"{candidate.label}: not signed with this key")
        elif not selection.is_older(candidate):
            selection.add(candidate)
    return selection.result(target)


class _Selection:
    """The newest valid statements so far, and the reasons why other attestations are not valid."""

    def __init__(self, criteria: Criteria, verifier: Verifier, limits: Limits, latest: str) -> None:
        self._criteria, self._verifier, self._limits, self._latest = criteria, verifier, limits, latest
        self._newest: list[Statement] = []
        self._unread: tuple[str, str] | None = None  # label and time of the newest one
        self._problems: list[str] = []

    def note(self, problem: str) -> None:
        """Keep the first reasons."""
        if len(self._problems) < _MAX_PROBLEMS:
            self._problems.append(problem)

    def is_older(self, candidate: Candidate) -> bool:
        """Whether a candidate can't be newer than the statements so far, nor as new."""
        return candidate.created is not None and candidate.created < self._time

    def add(self, candidate: Candidate) -> None:
        """Read a candidate. Raises AttestationError on a statement from the future that is not clean."""
        for label, data in candidate.read():
            if data is None:
                self.note(f"{label}: is missing or damaged")
                if candidate.key_id is not None and candidate.created is not None and self._unread is None:
                    self._unread = label, candidate.created
                continue
            try:
                statement = self._checked(label, data)
            except AttestationError as exc:
                self.note(str(exc))
                continue
            if statement.run.finished > self._latest:  # it would be the newest one for years
                problem = f"{label}: its time, {statement.run.finished}, is in the future"
                if self._criteria.shortfall(statement):
                    raise AttestationError(f"{problem}, and it is not clean. Compare the clocks, or delete it")
                self.note(problem)
            elif statement.run.finished >= self._time:
                self._newest = [*(self._newest if statement.run.finished == self._time else ()), statement]

    def result(self, target: str) -> Statement:
        """Return the worst of the newest statements. Raises AttestationError."""
        if not self._newest:
            reasons = "; ".join(self._problems) or "it has none"
            raise AttestationError(f"{target}: no valid attestation: {reasons}")
        if self._unread is not None and self._unread[1] > self._time:
            label, created = self._unread
            raise AttestationError(
                f"{target}: {label} of {created} is missing or damaged, and newer than the valid one of {self._time}. "
                "Attest the image again"
            )
        return max(self._newest, key=self._criteria.shortfall)

    @property
    def _time(self) -> str:
        """Time of the newest statements; an empty text without one."""
        return self._newest[0].run.finished if self._newest else ""

    def _checked(self, label: str, data: bytes) -> Statement:
        payload = verified_payload(data, self._verifier, label, self._limits)
        statement = parse_statement(payload, label, self._limits)
        if not {subject.digest for subject in statement.subjects}.issuperset(self._criteria.digests):
            raise AttestationError(f"{label}: is about another image")
        audited = {image.digest for image in statement.images}
        for digest in self._criteria.manifests:
            if digest not in audited:
                raise AttestationError(f"{label}: has no result of the image {digest}")
        return statement


def _newest_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Sort candidates: first those without a time, which may be the newest."""
    return sorted(candidates, key=lambda item: (item.created is None, item.created or ""), reverse=True)
