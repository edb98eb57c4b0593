"""Statements of audits: in-toto Statement v1 with a predicate of image-audit.

Sources: github.com/in-toto/attestation, spec/v1/statement.md and resource_descriptor.md. docs/attest.md explains the
predicate; reports/schemas/image-audit-attestation-1.json is its JSON Schema. It holds counts and digests alone: no
path, no secret, and no text of the image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from auditor.attest.image_result import ImageResult, parse_image_result
from auditor.codec.json_documents import parse_object
from auditor.core.clock import timestamp
from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.errors import AttestationError, AuditError
from auditor.core.finding import Confidence, Severity
from auditor.core.limits import Limits
from auditor.core.version import __version__

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://image-audit.example/attestation/v1"


@dataclass(frozen=True, slots=True)
class Subject:
    """A manifest or an index that a statement is about; `name` is the image without tag and digest."""

    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class AuditRun:
    """Circumstances of an audit: rules, selection of findings, and times as RFC 3339 in UTC.

    `ruleset` is the digest of the rules.
    """

    ruleset: str
    fail_on: Severity
    min_confidence: Confidence
    started: str
    finished: str
    version: str = __version__


@dataclass(frozen=True, slots=True)
class Statement:
    """The audit of the images of one target; `images` has at least one."""

    subjects: tuple[Subject, ...]
    run: AuditRun
    images: tuple[ImageResult, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every part of every image was read."""
        return all(image.is_complete for image in self.images)

    @property
    def is_clean(self) -> bool:
        """Whether all was read, and nothing is at or above `fail_on`."""
        return self.is_complete and self.failing(self.run.fail_on) == 0

    def doubt(self, min_confidence: Confidence) -> str | None:
        """Return the reason why the images may hold secrets that the counts lack; None if there is none."""
        if not self.is_complete:
            return "parts were not read and may hold secrets"
        if self.run.min_confidence.rank > min_confidence.rank:
            return f"findings below {self.run.min_confidence} confidence were left out"
        return None

    def failing(self, fail_on: Severity | None) -> int:
        """Return the number of secrets at or above a severity; None for no severity."""
        if fail_on is None:
            return 0
        return sum(count for severity, count in self.by_severity.items() if severity.rank >= fail_on.rank)

    @property
    def by_severity(self) -> dict[Severity, int]:
        """Number of secrets by severity, summed over the images."""
        return {severity: sum(image.by_severity[severity] for image in self.images) for severity in Severity}


def statement_json(statement: Statement) -> bytes:
    """Return the Statement as JSON, the payload of an envelope."""
    subjects = [{"name": item.name, "digest": {item.digest.algorithm: item.digest.hex}} for item in statement.subjects]
    document = {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate(statement),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def predicate(statement: Statement) -> dict[str, Any]:
    """Return the predicate as plain values."""
    run, images = statement.run, statement.images
    return {
        "tool": {"name": "image-audit", "version": run.version, "ruleset": run.ruleset},
        "started": run.started,
        "finished": run.finished,
        "fail_on": run.fail_on,
        "min_confidence": run.min_confidence,
        "verdict": _verdict(statement),
        "images": [asdict(image) for image in images],
    }


def _verdict(statement: Statement) -> dict[str, Any]:
    images = statement.images
    return {
        "clean": statement.is_clean,
        "complete": statement.is_complete,
        "secrets": sum(image.secrets for image in images),
        "places": sum(image.places for image in images),
        "recoverable": sum(image.recoverable for image in images),
        "visible": sum(image.visible for image in images),
        "failing": statement.failing(statement.run.fail_on),
        "by_severity": statement.by_severity,
    }


def parse_statement(payload: bytes, label: str, limits: Limits) -> Statement:
    """Parse a Statement of image-audit. Raises AttestationError on another predicate type, or a contradicting verdict.

    Unknown keys are ignored, as in-toto demands. The verdict is computed from the counts of the images.
    """
    try:
        document = parse_object(payload, label, limits)
        kinds = document["_type"], document["predicateType"]
        if kinds != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise AttestationError(f"{label}: a statement of type {kinds[1]!r:.100}, not of {PREDICATE_TYPE}")
        value = document["predicate"]
        statement = Statement(
            _subjects(document["subject"]), _run(value), tuple(map(parse_image_result, value["images"]))
        )
        counts = _verdict(statement)
        stated = {key: value["verdict"][key] for key in counts}
    except AttestationError:
        raise
    except (AuditError, LookupError, TypeError, ValueError, AttributeError, OverflowError) as exc:
        raise AttestationError(f"{label}: not a statement of image-audit: {type(exc).__name__}") from None
    if not statement.images or stated != counts:
        raise AttestationError(f"{label}: the verdict contradicts the counts of the images")
    if statement.run.started > statement.run.finished:
        raise AttestationError(f"{label}: the audit ends before it starts")
    return statement


def _subjects(items: Sequence[Mapping[str, Any]]) -> tuple[Subject, ...]:
    return tuple(
        Subject(str(item.get("name", "")), Digest(f"{algorithm}:{value}"))
        for item in items
        for algorithm, value in item["digest"].items()
        if algorithm in ("sha256", "sha512")
    )


def _run(value: Mapping[str, Any]) -> AuditRun:
    tool = value["tool"]
    return AuditRun(
        str(tool["ruleset"]),
        Severity(value["fail_on"]),
        Confidence(value["min_confidence"]),
        utc_time(value["started"]),
        utc_time(value["finished"]),
        str(tool["version"]),
    )


def utc_time(value: str) -> str:
    """Return a time in the form of `clock.timestamp`, so that times compare as texts. Raises ValueError, TypeError."""
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError("a time without a time zone")
    return timestamp(time.astimezone(UTC))
