"""Attestations of a sweep: of each clean image, and of each index of clean images alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from auditor.attest.attachment import AttestationStore
from auditor.attest.envelope import signed_envelope
from auditor.attest.image_result import ImageResult, image_result
from auditor.attest.keys import Signer
from auditor.attest.statement import AuditRun, Statement, Subject, statement_json
from auditor.core.digests import Digest
from auditor.core.errors import AuditError
from auditor.core.finding import Confidence, Severity
from auditor.pipeline import Audit
from auditor.registry.push import Pusher
from auditor.registry.repository import Repository


class SweepAttestor:
    """Signs and attaches the statements of one sweep. `clock` returns the time as RFC 3339 in UTC.

    `attested` is the number of images and indexes so far, `problems` are messages on those that failed.
    """

    def __init__(self, signer: Signer, fail_on: Severity, confidence: Confidence, clock: Callable[[], str]) -> None:
        self._signer, self._fail_on, self._confidence, self._clock = signer, fail_on, confidence, clock
        self._started = clock()
        self._results: dict[str, dict[str, tuple[str, ImageResult]]] = {}
        self.attested = 0
        self.problems: list[str] = []

    @property
    def key(self) -> str:
        """Text that is equal for sweeps that make the same statements. It has the month, so that they are renewed."""
        return f"{self._signer.key_id} {self._fail_on} {self._confidence} {self._started[:7]}"

    def add(self, repository: str, audit: Audit) -> None:
        """Take the audit of an image of a repository."""
        result = image_result(audit)
        self._results.setdefault(repository, {})[result.digest] = (audit.ruleset.digest, result)

    def finish(self, repository: Repository, indexes: Mapping[Digest, Sequence[Digest]]) -> frozenset[str]:
        """Attest the clean ones of the images taken, and the indexes of which all images were taken and are clean.

        `indexes` has the images of each index. Return the digests of images that have to be attested again, because
        they or their index failed.
        """
        taken = self._results.pop(repository.name, {})
        missed = set[str]()
        groups = [(Digest(digest), [digest]) for digest in taken]
        groups += [(index, list(leaves)) for index, leaves in indexes.items() if all(leaf in taken for leaf in leaves)]
        for subject, leaves in groups:
            try:
                self._attest(repository, subject, [taken[leaf] for leaf in leaves])
            except AuditError as exc:
                self.problems.append(f"{repository.client.host}/{repository.name}@{subject}: not attested: {exc}")
                missed.update(leaves)
        return frozenset(missed)

    def _attest(self, repository: Repository, subject: Digest, results: Sequence[tuple[str, ImageResult]]) -> None:
        """Attest one image or index if it is clean."""
        ruleset = results[0][0]
        name = f"{repository.client.host}/{repository.name}"
        run = AuditRun(ruleset, self._fail_on, self._confidence, self._started, self._clock())
        statement = Statement((Subject(name, subject),), run, tuple(result for _, result in results))
        if not statement.is_clean:
            return
        envelope = signed_envelope(statement_json(statement), self._signer)
        pusher = Pusher(repository.client, repository.name)
        AttestationStore(repository).attach(pusher, subject, envelope, self._signer.key_id)
        self.attested += 1
