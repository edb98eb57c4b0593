"""The `Attestor` protocol, by which a sweep has its clean images attested, and the images of a repository's indexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from auditor.core.digests import Digest
from auditor.fleet.discovery.candidates import Candidate
from auditor.fleet.discovery.survey import Survey
from auditor.registry.reference import SIGNATURE_TAG
from auditor.registry.repository import Repository

if TYPE_CHECKING:
    from auditor.pipeline import Audit


class Attestor(Protocol):
    """Signs statements of audits and attaches them in the registry. attest/sweep_attestor.py implements it."""

    attested: int
    problems: list[str]

    @property
    def key(self) -> str:
        """Text that is equal for sweeps that make the same statements."""
        ...

    def add(self, repository: str, audit: Audit) -> None:
        """Take the audit of an image of a repository."""
        ...

    def finish(self, repository: Repository, indexes: Mapping[Digest, Sequence[Digest]]) -> frozenset[str]:
        """Attest the images taken and their indexes; return the digests of images to attest in the next sweep."""
        ...


def is_attestable(candidate: Candidate) -> bool:
    """Whether tags other than those of signatures and attestations name an image."""
    return not all(SIGNATURE_TAG.fullmatch(tag) for tag in candidate.tags)


def index_images(survey: Survey) -> dict[Digest, tuple[Digest, ...]]:
    """Return the images of each index of a repository that a selected tag names."""
    found: dict[Digest, dict[Digest, None]] = {}
    for candidate in survey.candidates:
        for index in indexes_of(survey, candidate):
            found.setdefault(index, {})[candidate.leaf.digest] = None
    return {index: tuple(leaves) for index, leaves in found.items()}


def indexes_of(survey: Survey, candidate: Candidate) -> tuple[Digest, ...]:
    """Return the indexes that list an image, sorted."""
    roots = {survey.digests[tag] for tag in candidate.tags}
    return tuple(sorted(roots - {candidate.leaf.digest}))
