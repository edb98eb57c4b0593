"""Attestations of a sweep: of each clean image, and of each index of clean images alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from auditor.attest.attachment import AttestationStore
from auditor.attest.envelope import signed_envelope
from auditor.attest.image_result import ImageResult, image_result
from auditor.attest.keys import Signer, load_signer
from auditor.attest.statement import AuditRun, Statement, Subject, statement_json
from auditor.core.digests import Digest
from auditor.core.errors import AuditError
from auditor.core.finding import Confidence, Severity
from auditor.pipeline import Audit
from auditor.registry.push import Pusher
from auditor.registry.repository import Repository


class SweepAttestor:
    """Signs and attaches the statements of one sweep, `parallel` at a time.

    `clock` returns the time as RFC 3339 in UTC. `attested` is the number of images and indexes so far, `problems` are
    messages on those that failed.
    """

    def __init__(
        self, signer: Signer, fail_on: Severity, confidence: Confidence, clock: Callable[[], str], parallel: int = 8
    ) -> None:
        self._parallel = parallel
        self._signer, self._fail_on, self._confidence, self._clock = signer, fail_on, confidence, clock
        self._started = clock()
        self._results: dict[str, dict[str, tuple[str, ImageResult]]] = {}
        self.attested = 0
        self.problems: list[str] = []

    @classmethod
    def with_key(
        cls, key: Path, fail_on: Severity, confidence: Confidence, clock: Callable[[], str], parallel: int
    ) -> SweepAttestor:
        """Return an attestor that signs with the private key in a file. Raises the errors of `load_signer`."""
        return cls(load_signer(key), fail_on, confidence, clock, parallel)

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
        groups = {Digest(digest): [digest] for digest in taken}
        groups |= {index: list(leaves) for index, leaves in indexes.items() if all(leaf in taken for leaf in leaves)}
        statements = [
            self._statement(repository, subject, [taken[leaf] for leaf in leaves]) for subject, leaves in groups.items()
        ]
        clean = [statement for statement in statements if statement.is_clean]
        missed = set[str]()
        for statement, problem in self._attached(repository, clean):
            if problem is None:
                self.attested += 1
            else:
                digest = statement.subjects[0].digest
                self.problems.append(f"{statement.subjects[0].name}@{digest}: not attested: {problem}")
                missed.update(groups[digest])
        return frozenset(missed)

    def _statement(
        self, repository: Repository, subject: Digest, results: Sequence[tuple[str, ImageResult]]
    ) -> Statement:
        name = f"{repository.client.host}/{repository.name}"
        run = AuditRun(results[0][0], self._fail_on, self._confidence, self._started, self._clock())
        return Statement((Subject(name, subject),), run, tuple(result for _, result in results))

    def _attached(
        self, repository: Repository, statements: Sequence[Statement]
    ) -> Iterator[tuple[Statement, AuditError | None]]:
        """Sign and attach statements, several at a time; yield each with its error."""
        if not statements:
            return

        def attach(statement: Statement) -> AuditError | None:
            envelope = signed_envelope(statement_json(statement), self._signer)
            try:
                pusher = Pusher(repository.client, repository.name)
                subject, finished = statement.subjects[0].digest, statement.run.finished
                store.attach(pusher, subject, envelope, self._signer.key_id, finished)
            except AuditError as exc:
                return exc
            return None

        store = AttestationStore(repository)
        with suppress(AuditError):  # each attachment tries again, and says why it fails
            store.prepare(Pusher(repository.client, repository.name))
        with ThreadPoolExecutor(self._parallel, "attest") as pool:
            yield from zip(statements, pool.map(attach, statements), strict=True)
