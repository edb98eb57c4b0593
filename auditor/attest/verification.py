"""Verification of attestations: signature, predicate type, subjects, time."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

from auditor.attest.envelope import verified_payload
from auditor.attest.keys import Verifier
from auditor.attest.statement import Statement, parse_statement
from auditor.core.clock import timestamp
from auditor.core.digests import Digest
from auditor.core.errors import AttestationError
from auditor.core.limits import Limits

_CLOCK_SKEW = datetime.timedelta(hours=1)
"""Most that the clock of the machine that signed may be ahead of the clock here."""


def newest_valid(
    envelopes: Iterable[tuple[str, bytes]],
    digests: Sequence[Digest],
    verifier: Verifier,
    target: str,
    limits: Limits,
    now: datetime.datetime,
) -> Statement:
    """Return the newest statement that is signed with the key, is about all digests, and was made before `now`.

    Each envelope comes with a label. Raises AttestationError if none is valid, with the reasons for the first three.
    """
    latest = timestamp(now + _CLOCK_SKEW)
    valid, problems = list[Statement](), list[str]()
    for label, data in envelopes:
        try:
            statement = parse_statement(verified_payload(data, verifier, label, limits), label, limits)
            _require_subjects(statement, digests, label)
            if statement.run.finished > latest:  # it would be the newest one for years
                raise AttestationError(f"{label}: its time, {statement.run.finished}, is in the future")
        except AttestationError as exc:
            problems.append(str(exc))
        else:
            valid.append(statement)
    if not valid:
        reasons = "; ".join(problems[:3]) or "it has none"
        raise AttestationError(f"{target}: no valid attestation: {reasons}")
    return max(valid, key=lambda statement: statement.run.finished)


def _require_subjects(statement: Statement, digests: Sequence[Digest], label: str) -> None:
    known = {subject.digest for subject in statement.subjects}
    for digest in digests:
        if digest not in known:
            raise AttestationError(f"{label}: is about another image")
