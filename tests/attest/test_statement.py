"""Statements: what they say of an audit, and which of them are believed."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from auditor.attest.envelope import signed_envelope
from auditor.attest.image_result import image_result
from auditor.attest.keys import Signer, Verifier
from auditor.attest.statement import (
    PREDICATE_TYPE,
    AuditRun,
    Statement,
    Subject,
    parse_statement,
    predicate,
    statement_json,
)
from auditor.attest.subjects import subjects_of
from auditor.attest.verification import Candidate, Criteria, newest_valid
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
        (lambda d: d["predicate"]["verdict"].update(failing=0), "contradicts"),
        (lambda d: d["predicate"]["verdict"].update(secrets=0), "contradicts"),
        (lambda d: d["predicate"]["verdict"]["by_severity"].update(critical=0), "contradicts"),
        (lambda d: d["predicate"]["verdict"].pop("places"), "not a statement of image-audit"),
        (lambda d: d["predicate"].update(images=[]), "contradicts"),
        (lambda d: d["predicate"]["images"][0]["by_severity"].update(critical=0), "not a statement of image-audit"),
        (lambda d: d["predicate"]["images"][0].update(places=0), "contradicts"),
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
        (lambda d: d.update(predicateType=PREDICATE_TYPE[:-1] + "2"), "attestation/v2', not of"),
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


def candidate(
    data: Statement | bytes | None, signer: Signer, created: str | None = None, read: list[str] | None = None
) -> Candidate:
    """An attestation; None for one that can't be read. `read` gets the times of those that are."""
    envelope = signed_envelope(statement_json(data), signer) if isinstance(data, Statement) else data

    def envelopes() -> Iterator[tuple[str, bytes | None]]:
        if read is not None:
            read.append(created or "")
        yield "it", envelope

    return Candidate("it", signer.key_id if created else None, created, envelopes)


def criteria(*digests: Digest, manifests: tuple[Digest, ...] = (), fail_on: Severity = Severity.HIGH) -> Criteria:
    return Criteria(digests, manifests, fail_on, Confidence.MEDIUM)


def chosen(candidates: list[Candidate], wanted: Criteria, verifier: Verifier, now: datetime = NOW) -> Statement:
    return newest_valid(candidates, wanted, verifier, "app", DEFAULT, now)


def at(statement: Statement, finished: str) -> Statement:
    return replace(statement, run=replace(statement.run, finished=finished))


LATER, LATEST = "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"


def test_the_newest_statement_of_the_key_and_the_digest_counts(tmp_path: Path, scanner: Scanner) -> None:
    signer, verifier = pair()
    old = stated(CLEAN, tmp_path, scanner)
    digest = old.subjects[0].digest
    new = at(replace(stated(LEAKING, tmp_path, scanner), subjects=old.subjects), LATER)
    stranger = at(old, LATEST)
    elsewhere = replace(stranger, subjects=(Subject("app", OTHER),))
    found = [candidate(item, signer) for item in (old, new, elsewhere)] + [candidate(stranger, pair()[0])]
    for order in (found, found[::-1]):
        assert chosen(order, criteria(digest), verifier) == new
    with pytest.raises(AttestationError, match=r"app: .*: it: is about another image; it: not signed"):
        chosen(found[2:], criteria(digest), verifier)
    with pytest.raises(AttestationError, match="it has none"):
        chosen([], criteria(digest), verifier)


def test_a_statement_on_one_of_several_digests_is_valid_for_it(tmp_path: Path, scanner: Scanner) -> None:
    """The digests of one subject are of the same artifact: one of them is enough."""
    signer, verifier = pair()
    one = stated(CLEAN, tmp_path, scanner)
    both = replace(one, subjects=(*one.subjects, Subject("app", OTHER)))
    (own,) = (item.digest for item in one.subjects)
    assert chosen([candidate(both, signer)], criteria(own, manifests=(own,)), verifier) == both
    with pytest.raises(AttestationError, match="is about another image"):
        chosen([candidate(one, signer)], criteria(own, OTHER), verifier)


def test_a_statement_without_a_result_of_a_platform_is_not_valid_for_the_index(
    tmp_path: Path, scanner: Scanner
) -> None:
    signer, verifier = pair()
    statement = stated(CLEAN, tmp_path, scanner)
    (own,) = (item.digest for item in statement.subjects)
    with pytest.raises(AttestationError, match=f"has no result of the image {OTHER}"):
        chosen([candidate(statement, signer)], criteria(own, manifests=(own, OTHER)), verifier)


def test_of_statements_with_the_same_time_the_worst_counts(tmp_path: Path, scanner: Scanner) -> None:
    signer, verifier = pair()
    clean = stated(CLEAN, tmp_path, scanner)
    leaking = replace(stated(LEAKING, tmp_path, scanner), subjects=clean.subjects)
    partly = replace(stated(unreadable(), tmp_path, scanner), subjects=clean.subjects)
    for first, second, worse in ((clean, leaking, leaking), (clean, partly, partly), (partly, leaking, leaking)):
        for order in ((first, second), (second, first)):
            found = [candidate(item, signer, item.run.finished) for item in order]
            assert chosen(found, criteria(clean.subjects[0].digest), verifier) == worse


def test_a_statement_from_the_future_is_left_out_if_it_is_clean(tmp_path: Path, scanner: Scanner) -> None:
    """A clean one would be the newest for years. One that is not clean must not give way to an older clean one."""
    signer, verifier = pair()
    old = stated(CLEAN, tmp_path, scanner)
    wanted = criteria(old.subjects[0].digest)
    future = at(old, LATER)
    assert chosen([candidate(old, signer), candidate(future, signer)], wanted, verifier, NOW - timedelta(days=2)) == old
    with pytest.raises(AttestationError, match=f"its time, {LATER}, is in the future"):
        chosen([candidate(future, signer)], wanted, verifier, NOW - timedelta(days=2))
    for built in (LEAKING, unreadable()):
        bad = replace(stated(built, tmp_path, scanner, future.run), subjects=old.subjects)
        with pytest.raises(AttestationError, match="in the future, and it is not clean"):
            chosen([candidate(old, signer), candidate(bad, signer)], wanted, verifier, NOW - timedelta(days=2))


def test_reading_ends_where_no_other_statement_can_be_newer(tmp_path: Path, scanner: Scanner) -> None:
    signer, verifier = pair()
    statement = stated(CLEAN, tmp_path, scanner)
    times = [f"2026-01-01T{hour:02}:{minute:02}:00Z" for hour in range(1, 9) for minute in range(60)]
    read: list[str] = []
    found = [candidate(at(statement, time), signer, time, read) for time in times]
    assert chosen(found, criteria(statement.subjects[0].digest), verifier).run.finished == times[-1]
    assert read == times[-1:]
    # Annotations are not signed: a statement that claims a later time than its own ends nothing.
    read.clear()
    old = candidate(at(statement, times[0]), signer, LATER, read)
    assert chosen([*found, old], criteria(statement.subjects[0].digest), verifier).run.finished == times[-1]
    assert read == [LATER, times[-1]]


def test_a_newer_attestation_that_is_lost_ends_in_an_error(tmp_path: Path, scanner: Scanner) -> None:
    signer, verifier = pair()
    statement = stated(CLEAN, tmp_path, scanner)
    wanted = criteria(statement.subjects[0].digest)
    with pytest.raises(AttestationError, match=f"it of {LATER} is missing or damaged, and newer than .* again"):
        chosen([candidate(statement, signer), candidate(None, signer, LATER)], wanted, verifier)
    twin = candidate(at(statement, LATER), signer, LATER)
    assert chosen([twin, candidate(None, signer, LATER)], wanted, verifier).run.finished == LATER
    assert chosen([twin, candidate(None, signer), candidate(b"no envelope", signer, LATEST)], wanted, verifier)
    with pytest.raises(AttestationError, match="no valid attestation: it: is missing or damaged"):
        chosen([candidate(None, signer)], wanted, verifier)


def test_attestations_of_other_keys_are_not_read(tmp_path: Path, scanner: Scanner) -> None:
    read: list[str] = []
    found = [candidate(stated(CLEAN, tmp_path, scanner), pair()[0], LATER, read)] * 200
    with pytest.raises(AttestationError, match="no valid attestation: it: not signed with this key"):
        chosen(found, criteria(OTHER), pair()[1])
    assert read == []


def test_an_image_without_the_digest_of_a_manifest_is_refused(tmp_path: Path, scanner: Scanner) -> None:
    (found,) = audit(str(CLEAN.docker_archive(tmp_path / "old.tar")), scanner, Request())
    with pytest.raises(AttestationError, match="the digest of its manifest is unknown here"):
        image_result(found)
