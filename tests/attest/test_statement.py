"""Statements: what they say of an audit, and which of them are believed."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from auditor.attest.envelope import signed_envelope
from auditor.attest.image_result import image_result
from auditor.attest.statement import AuditRun, Statement, Subject, parse_statement, predicate, statement_json
from auditor.attest.subjects import subjects_of
from auditor.attest.verification import newest_valid
from auditor.core.digests import Digest
from auditor.core.errors import AttestationError
from auditor.core.finding import Confidence, Severity
from auditor.core.limits import DEFAULT
from auditor.pipeline import Audit, Request, audit
from auditor.report.attestation import render
from auditor.report.schema import json_schema
from auditor.scan import Scanner
from tests.attest.key_files import pair
from tests.images import Built, file, image, layer, token, whiteout

SECRET = token(61)
LEAKING = image(layer({"very-secret-name.env": f"TOKEN={SECRET}\n"}), layer(whiteout("very-secret-name.env")))
CLEAN = image(layer({"a.txt": "a\n"}))
RUN = AuditRun("sha256:" + "0" * 64, Severity.HIGH, Confidence.MEDIUM, "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z")
OTHER = Digest("sha256:" + "1" * 64)
NOW = datetime(2026, 1, 3, tzinfo=UTC)


def unreadable() -> Built:
    """An image with an archive that breaks off."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("very-secret-name.env", b"x" * 1000)
    return image(layer(file("opt/very-secret-name.zip", out.getvalue()[:-40])))


def audited(built: Built, folder: Path, scanner: Scanner) -> Audit:
    (found,) = audit(str(built.oci_archive(folder / "app.tar")), scanner, Request())
    return found


def stated(built: Built, folder: Path, scanner: Scanner, run: AuditRun = RUN) -> Statement:
    found = audited(built, folder, scanner)
    return Statement(subjects_of([found.image], whole=True), run, (image_result(found),))


def shown(statement: Statement, min_confidence: Confidence = Confidence.MEDIUM) -> str:
    return render(statement, Severity.HIGH, min_confidence)


def parsed(statement: Statement) -> Statement:
    return parse_statement(statement_json(statement), "it", DEFAULT)


@pytest.mark.parametrize("built", [LEAKING, CLEAN, unreadable()], ids=["leaking", "clean", "unreadable"])
def test_a_statement_keeps_its_schema_and_reads_back_the_same(built: Built, tmp_path: Path, scanner: Scanner) -> None:
    statement = stated(built, tmp_path, scanner)
    document = json.loads(statement_json(statement))
    jsonschema.Draft202012Validator(json_schema("image-audit-attestation-1")).validate(document)
    assert parsed(statement) == statement
    assert document["subject"][0]["digest"]["sha256"] == built.blobs()[1]["digest"].partition(":")[2]


def test_a_leak_is_counted_and_named_nowhere(tmp_path: Path, scanner: Scanner) -> None:
    statement = stated(LEAKING, tmp_path, scanner)
    verdict = predicate(statement)["verdict"]
    assert (verdict["clean"], verdict["complete"], verdict["failing"]) == (False, True, 1)
    assert verdict["by_severity"] == {"critical": 1, "high": 0, "medium": 0, "low": 0}
    text = statement_json(statement).decode() + shown(statement)
    assert SECRET not in text and SECRET[-4:] not in text and "very-secret-name" not in text
    assert shown(statement).startswith("LEAKS: 1 secret at or above --fail-on high\n")


def test_an_image_that_was_not_read_in_full_is_never_clean(tmp_path: Path, scanner: Scanner) -> None:
    statement = stated(unreadable(), tmp_path, scanner)
    assert not statement.is_clean and not statement.is_complete and statement.failing(Severity.LOW) == 0
    text = statement_json(statement).decode() + shown(statement)
    assert "NOT AUDITED IN FULL" in text and "not read: 1 item of layer 0" in text
    assert "very-secret-name" not in text


def test_an_audit_that_left_findings_out_is_not_clean_for_a_reader_who_counts_them(
    tmp_path: Path, scanner: Scanner
) -> None:
    lax = stated(CLEAN, tmp_path, scanner, replace(RUN, min_confidence=Confidence.HIGH))
    assert shown(lax).startswith("NOT AUDITED IN FULL: findings below high confidence were left out\n")
    assert shown(lax, Confidence.HIGH).startswith("CLEAN") and lax.doubt(Confidence.HIGH) is None


def test_several_images_are_clean_only_together(tmp_path: Path, scanner: Scanner) -> None:
    results = [stated(built, tmp_path, scanner).images[0] for built in (CLEAN, LEAKING)]
    subjects = (Subject("app", OTHER),)
    assert Statement(subjects, RUN, (results[0], results[0])).is_clean
    assert not Statement(subjects, RUN, tuple(results)).is_clean


def changed(change: Callable[[Any], object], folder: Path, scanner: Scanner) -> bytes:
    document = json.loads(statement_json(stated(LEAKING, folder, scanner)))
    change(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["predicate"]["verdict"].update(clean=True), "contradicts"),
        (lambda d: d["predicate"].update(images=[]), "contradicts"),
        (lambda d: d["predicate"]["images"][0]["by_severity"].update(critical=0), "contradicts"),
        (lambda d: d["predicate"]["images"][0]["by_severity"].update(critical=-1), "not a statement of image-audit"),
        (lambda d: d["predicate"]["images"][0].pop("not_read"), "not a statement of image-audit"),
        (lambda d: d["predicate"].update(finished="2026-01-01"), "not a statement of image-audit"),
        (lambda d: d["predicate"].update(finished="2026-01-01T00:00:00"), "not a statement of image-audit"),
        (lambda d: d["predicate"].update(started="2027-01-01T00:00:00Z"), "ends before it starts"),
        (lambda d: d["predicate"].update(finished="soon"), "not a statement of image-audit"),
        (lambda d: d["predicate"].update(started="0001-01-01T00:00:00+23:00"), "not a statement of image-audit"),
        (lambda d: d["predicate"].update(images="text"), "not a statement of image-audit"),
        (lambda d: d["predicate"].update(fail_on=[]), "not a statement of image-audit"),
        (lambda d: d.update(subject=[{"digest": {"sha256": "x"}}]), "not a statement of image-audit"),
        (lambda d: d.update(predicateType="https://slsa.dev/provenance/v1"), "of type 'https://slsa.dev"),
        (lambda d: d.update(_type="https://in-toto.io/Link/v1"), "a statement of type"),
    ],
)
def test_a_contradicting_or_malformed_statement_is_refused(
    change: Callable[[Any], object], message: str, tmp_path: Path, scanner: Scanner
) -> None:
    with pytest.raises(AttestationError, match=message):
        parse_statement(changed(change, tmp_path, scanner), "it", DEFAULT)


def test_keys_of_later_versions_are_ignored(tmp_path: Path, scanner: Scanner) -> None:
    data = changed(lambda d: d["predicate"].update(later=1), tmp_path, scanner)
    assert parse_statement(data, "it", DEFAULT) == stated(LEAKING, tmp_path, scanner)


def test_the_newest_statement_of_the_key_and_the_digest_counts(tmp_path: Path, scanner: Scanner) -> None:
    signer, verifier = pair()
    old = stated(CLEAN, tmp_path, scanner)
    digest = old.subjects[0].digest
    new = replace(stated(LEAKING, tmp_path, scanner), subjects=old.subjects)
    new = replace(new, run=replace(RUN, finished="2026-01-02T00:00:00Z"))
    stranger = replace(old, run=replace(RUN, finished="2026-01-03T00:00:00Z"))
    elsewhere = replace(stranger, subjects=(Subject("app", OTHER),))
    envelopes = [("it", signed_envelope(statement_json(item), signer)) for item in (old, new, elsewhere)]
    envelopes.append(("it", signed_envelope(statement_json(stranger), pair()[0])))
    for order in (envelopes, envelopes[::-1]):
        assert newest_valid(order, [digest], verifier, "app", DEFAULT, NOW) == new
    with pytest.raises(AttestationError, match="app: no valid attestation: it: is about another image; it: not signed"):
        newest_valid(envelopes[2:], [digest], verifier, "app", DEFAULT, NOW)
    with pytest.raises(AttestationError, match="its time, 2026-01-02T00:00:00Z, is in the future"):
        newest_valid(envelopes[1:2], [digest], verifier, "app", DEFAULT, NOW - timedelta(days=2))
    with pytest.raises(AttestationError, match="it has none"):
        newest_valid([], [digest], verifier, "app", DEFAULT, NOW)


def test_an_image_without_the_digest_of_a_manifest_is_refused(tmp_path: Path, scanner: Scanner) -> None:
    (found,) = audit(str(CLEAN.docker_archive(tmp_path / "old.tar")), scanner, Request())
    with pytest.raises(AttestationError, match="the digest of its manifest is unknown here"):
        image_result(found)
