"""Make and verify attestations: the actions of `image-audit attest`."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.api.audit import Report, run
from auditor.attest.attachment import AttestationStore
from auditor.attest.envelope import signed_envelope
from auditor.attest.image_result import image_result, manifest_digest
from auditor.attest.keys import Signer, load_signer, load_verifier
from auditor.attest.statement import AuditRun, Statement, statement_json
from auditor.attest.subjects import pulled_digests, registry_reference, subjects_of
from auditor.attest.verification import Candidate, Criteria, newest_valid
from auditor.cli import EXIT_CLEAN, EXIT_FAILED, EXIT_FOUND
from auditor.cli.messages import warn
from auditor.cli.progress import progress
from auditor.core.clock import timestamp, utc_now
from auditor.core.errors import AttestationError, UsageError
from auditor.core.options import AuditOptions
from auditor.core.output_file import require_writable, write_output
from auditor.images.layout import read_document
from auditor.images.resolve import open_target
from auditor.images.transports import transport_of
from auditor.registry.client import Client
from auditor.registry.push import Pusher
from auditor.registry.reference import Reference, parse_reference
from auditor.registry.repository import Repository
from auditor.report.attestation import render


def attest(target: str, key: Path, output: Path | None, form: str, options: AuditOptions) -> int:
    """Audit a target, sign the statement, write it to `output` or attach it in the registry; return the exit code."""
    signer = load_signer(key)
    transport = transport_of(target)
    if output is not None:
        require_writable(output, "-o")
    elif transport is not None:
        if not transport.in_registry:
            raise UsageError(f"{target}: --push needs an image in a registry: docker://HOST/REPO:TAG")
        _pusher(parse_reference(transport.bare(target)), options).check()
    started = timestamp(utc_now())
    with progress(quiet=options.quiet, verbose=options.verbose) as display:
        report = run([target], options, display, warn)
    if report.failures:
        raise AttestationError(f"no statement: {report.failures[0]}")
    statement = _statement(report, started, options)
    envelope = signed_envelope(statement_json(statement), signer)
    if output is not None:
        write_output(output, envelope.decode() + "\n")
    else:
        _push(report, statement, envelope, signer, options)
    _print(statement, form, options)
    return _exit_code(statement, options)


def verify(target: str, key: Path, attestation: Path | None, form: str, options: AuditOptions) -> int:
    """Verify the attestation of a target and print it; return the exit code. Raises AttestationError."""
    verifier = load_verifier(key)
    images = open_target(target, options.limits, platform=options.platform, insecure=options.insecure)
    digests = pulled_digests(images, whole=options.platform is None)
    if attestation is not None:
        envelope = read_document(attestation, options.limits)
        candidates = [Candidate(str(attestation), None, None, lambda: iter([(str(attestation), envelope)]))]
    else:
        reference = registry_reference(images[0])
        if reference is None:
            raise UsageError(f"{target}: is not in a registry. Name the file of its attestation with --attestation")
        candidates = AttestationStore(_repository(reference, options)).candidates(digests[0])
    criteria = Criteria(digests, [manifest_digest(image) for image in images], options.fail_on, options.min_confidence)
    statement = newest_valid(candidates, criteria, verifier, target, options.limits, utc_now())
    _print(statement, form, options)
    return _exit_code(statement, options)


def _statement(report: Report, started: str, options: AuditOptions) -> Statement:
    fail_on = options.fail_on
    assert fail_on is not None  # noqa: S101 - the command has checked it
    circumstances = AuditRun(report.images[0].ruleset.digest, fail_on, options.min_confidence, started, report.created)
    results = tuple(image_result(audit) for audit in report.images)
    subjects = subjects_of([audit.image for audit in report.images], whole=options.platform is None)
    return Statement(subjects, circumstances, results)


def _push(report: Report, statement: Statement, envelope: bytes, signer: Signer, options: AuditOptions) -> None:
    target = report.images[0].image
    reference = registry_reference(target)
    if reference is None:
        raise UsageError(f"{target.target}: was found in the engine. --push needs docker://HOST/REPO:TAG")
    store, pusher = AttestationStore(_repository(reference, options)), _pusher(reference, options)
    for digest in dict.fromkeys(subject.digest for subject in statement.subjects):
        store.attach(pusher, digest, envelope, signer.key_id, statement.run.finished)


def _repository(reference: Reference, options: AuditOptions) -> Repository:
    return Repository(_client(reference, options), reference.repository)


def _pusher(reference: Reference, options: AuditOptions) -> Pusher:
    return Pusher(_client(reference, options), reference.repository)


def _client(reference: Reference, options: AuditOptions) -> Client:
    return Client(reference.host, path=reference.repository, insecure=options.insecure, limits=options.limits)


def _print(statement: Statement, form: str, options: AuditOptions) -> None:
    if form == "json":
        click.echo(statement_json(statement))
    elif not options.quiet:
        click.echo(render(statement, options.fail_on, options.min_confidence), nl=False)


def _exit_code(statement: Statement, options: AuditOptions) -> int:
    if statement.failing(options.fail_on):
        return EXIT_FOUND
    if doubt := statement.doubt(options.min_confidence):
        warn(f"not clean: {doubt}")
        return EXIT_FAILED
    return EXIT_CLEAN
