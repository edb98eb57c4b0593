"""Many statements on one image, with and without the referrers API: which are replaced, and which one counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auditor.attest.attachment import AttestationStore
from auditor.attest.bundle import BUNDLE_TYPE
from auditor.attest.envelope import signed_envelope
from auditor.attest.keys import Signer
from auditor.attest.statement import Statement, Subject, statement_json
from auditor.attest.verification import Criteria, newest_valid
from auditor.core.digests import Digest
from auditor.core.errors import AttestationError
from auditor.core.finding import Confidence, Severity
from auditor.core.limits import DEFAULT, Limits
from auditor.registry.client import Client
from auditor.registry.push import Pusher
from auditor.registry.repository import Repository
from auditor.scan import Scanner
from tests.attest.key_files import pair
from tests.attest.referrers_registry import INDEX_TYPE, ReferrersRegistry, index_of, referrers_registry
from tests.attest.test_statement import CLEAN, LEAKING, at, stated
from tests.fleet.planted import Remote
from tests.images import OCI

NOW = datetime(2026, 2, 1, tzinfo=UTC)
SIGNER, VERIFIER = pair()
OTHER = Digest("sha256:" + "2" * 64)


class Registry:
    """A registry with an image; `clean` and `leaking` are statements on it at the end of a minute."""

    def __init__(self, double: ReferrersRegistry, clean: Statement, leaking: Statement) -> None:
        self.double, self._clean, self._leaking = double, clean, leaking
        self.client = Client(double.address)
        self.root = Remote(double.address).push("app", "1", CLEAN)
        self.digest = Digest(self.root["digest"])

    def clean(self, minute: int) -> Statement:
        return self._at(self._clean, minute)

    def leaking(self, minute: int) -> Statement:
        return self._at(self._leaking, minute)

    def attach(self, statement: Statement, signer: Signer = SIGNER) -> None:
        envelope = signed_envelope(statement_json(statement), signer)
        store, finished = AttestationStore(Repository(self.client, "app")), statement.run.finished
        store.attach(Pusher(self.client, "app"), self.digest, envelope, signer.key_id, finished)

    def verified(self) -> Statement:
        criteria = Criteria([self.digest], (), Severity.HIGH, Confidence.MEDIUM)
        store = AttestationStore(self.repository())
        return newest_valid(store.candidates(self.digest), criteria, VERIFIER, "app", DEFAULT, NOW)

    def repository(self, limits: Limits = DEFAULT) -> Repository:
        return Repository(Client(self.double.address, limits=limits), "app")

    def referring(self) -> list[dict[str, object]]:
        return self.double.referring(self.digest)

    def without_cosign_tag(self) -> None:
        """Leave the referrers alone."""
        self.double.manifests.pop(self.digest.replace(":", "-") + ".att", None)

    def _at(self, statement: Statement, minute: int) -> Statement:
        return at(
            replace(statement, subjects=(Subject("app", self.digest),)),
            f"2026-01-02T{minute // 60:02}:{minute % 60:02}:00Z",
        )


@pytest.fixture
def registry(tmp_path: Path, scanner: Scanner) -> Iterator[Registry]:
    with referrers_registry() as double:
        yield Registry(double, stated(CLEAN, tmp_path, scanner), stated(LEAKING, tmp_path, scanner))


def test_a_new_statement_deletes_the_own_older_ones_and_no_other(registry: Registry) -> None:
    stranger, _ = pair()
    registry.attach(registry.clean(0), stranger)
    foreign = {"mediaType": OCI + "manifest.v1+json", "schemaVersion": 2, "layers": [], "subject": registry.root}
    foreign |= {"artifactType": "application/vnd.sbom", "annotations": {"a": "b"}, "config": {}}
    Remote(registry.double.address).manifest("app", "sbom", foreign)
    for minute in range(3):
        registry.attach(registry.clean(minute))
    kinds = sorted(str(item["artifactType"]) for item in registry.referring())
    assert kinds == [BUNDLE_TYPE, BUNDLE_TYPE, "application/vnd.sbom"]
    assert registry.verified() == registry.clean(2)
    assert "1" in registry.double.manifests


def test_without_deletes_the_newest_of_many_statements_counts(registry: Registry) -> None:
    registry.double.deletes = False
    for minute in range(105):
        registry.attach(registry.clean(minute))
    registry.attach(registry.leaking(105))
    assert len(registry.referring()) == 106
    registry.double.requests.clear()
    assert registry.verified() == registry.leaking(105)
    assert len(registry.double.requests) < 10
    registry.without_cosign_tag()
    assert registry.verified() == registry.leaking(105), "by referrers alone"


@pytest.mark.parametrize("has_api", [True, False], ids=["API", "fallback tag"])
def test_a_late_statement_does_not_replace_one_of_a_later_audit(registry: Registry, has_api: bool) -> None:
    """Two audits at a time: the one that began with older rules may be attached last."""
    registry.double.has_api = has_api
    registry.double.referrers = lambda _: None if has_api else (404, b"", {})
    registry.attach(registry.leaking(1))
    registry.attach(registry.clean(0))
    assert registry.verified() == registry.leaking(1)
    registry.without_cosign_tag()
    assert registry.verified() == registry.leaking(1)
    registry.attach(registry.clean(2))
    assert registry.verified() == registry.clean(2)
    assert len(registry.referring()) == 1 or not has_api


@pytest.mark.parametrize("has_api", [True, False], ids=["API", "fallback tag"])
def test_a_statement_with_a_time_hours_ahead_is_replaced(registry: Registry, has_api: bool) -> None:
    """It was signed by a wrong clock; policies would take it for a recent one for hours."""
    registry.double.has_api = has_api
    registry.attach(registry.clean(62))
    registry.attach(registry.clean(1))
    tag = registry.digest.replace(":", "-")
    assert len(json.loads(registry.double.manifests[f"{tag}.att"])["layers"]) == 1
    listed = registry.referring() if has_api else json.loads(registry.double.manifests[tag])["manifests"]
    assert len(listed) == 1


def test_a_registry_does_not_choose_what_is_deleted(registry: Registry) -> None:
    """Its list gives the image, and a statement of another key, for own older statements."""
    stranger, _ = pair()
    registry.attach(registry.clean(0), stranger)
    registry.attach(registry.clean(0))
    own = next(item for item in registry.referring() if SIGNER.key_id in json.dumps(item))
    others = [item["digest"] for item in registry.referring() if item != own]
    listed = [own | {"digest": item} for item in (registry.digest, *others, OTHER)]
    registry.double.referrers = lambda _: (200, index_of([*listed, own]), INDEX_TYPE)
    registry.double.requests.clear()
    registry.attach(registry.clean(1))
    deleted = [path.rpartition("/")[2] for method, path in registry.double.requests if method == "DELETE"]
    assert [item for item in deleted if item.startswith("sha256:")] == [own["digest"]]


def test_a_newer_statement_that_is_lost_ends_in_an_error(registry: Registry) -> None:
    registry.double.deletes = False
    registry.attach(registry.clean(0))
    registry.attach(registry.leaking(1))
    registry.without_cosign_tag()
    for item in registry.referring():
        manifest = json.loads(registry.double.manifests[str(item["digest"])])
        if manifest["annotations"]["org.opencontainers.image.created"] == registry.leaking(1).run.finished:
            del registry.double.blobs[manifest["layers"][0]["digest"]]
    with pytest.raises(AttestationError, match="is missing or damaged, and newer than"):
        registry.verified()
