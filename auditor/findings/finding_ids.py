"""Ids of findings, ordinals of equal secrets, and the order of a report."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace

from auditor.core.finding import Finding
from auditor.core.secret import Secret

_NUMBER = re.compile(r"\[\d+\]")


def finding_id(rule: str, place: str, member: str | None, secret: Secret) -> str:
    """Return an id that is equal on every machine and independent of line and layer.

    It covers 20 bits of the secret's digest, so that it does not confirm guesses of a weak password.
    """
    text = "\0".join((rule, place, member or "", f"{secret.fingerprint:05x}"))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def metadata_id(rule: str, where: str, secret: Secret) -> str:
    """Return the id of a finding in metadata, without the indexes, which shift with each step or variable before it."""
    return finding_id(rule, _NUMBER.sub("[]", where), None, secret)


def in_report_order(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings, and set ordinals of equal secrets and suffixes of equal ids."""
    ordinals: dict[Secret, str] = {}
    counts: dict[str, int] = {}
    result = []
    for finding in sorted(findings, key=_order):
        secret_id = ordinals.setdefault(finding.secret, f"s{len(ordinals) + 1}")
        counts[finding.id] = counts.get(finding.id, 0) + 1
        suffix = f"-{counts[finding.id]}" if counts[finding.id] > 1 else ""
        result.append(replace(finding, secret_id=secret_id, id=finding.id + suffix))
    return result


def _order(finding: Finding) -> tuple[object, ...]:
    """Sort key: severity times confidence, then hidden before visible findings, then the place.

    Equal ids keep the order of their layers: of two file versions of one path, a higher one hides the lower one.
    """
    place = finding.path if finding.path is not None else f"\uffff{finding.where}"
    return (
        -finding.urgency,
        -finding.severity.rank,
        not finding.is_hidden,
        place,
        finding.member or "",
        -1 if finding.added_in is None else finding.added_in,
        finding.line or 0,
        finding.rule,
        finding.secret.fingerprint,
        finding.secret.masked,
    )
