"""Sweeps with --attest: which images get a statement, when again, and what a refusal does."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from auditor.attest.attachment import AttestationStore
from auditor.attest.keys import Signer
from auditor.attest.statement import Statement
from auditor.attest.sweep_attestor import SweepAttestor
from auditor.attest.verification import Criteria, newest_valid
from auditor.cli.sweep_setup import open_setup
from auditor.codec.descriptors import ACCEPT
from auditor.core.command_options import SweepOptions
from auditor.core.digests import Digest
from auditor.core.errors import AttestationError, Unauthorized, Unreachable, UsageError
from auditor.core.finding import Confidence, Severity, State
from auditor.core.limits import DEFAULT
from auditor.registry.client import Client
from auditor.registry.repository import Repository
from tests.attest.key_files import pair, written
from tests.attest.test_statement import unreadable
from tests.conftest import Cli
from tests.fleet.conftest import Sweeps
from tests.fleet.planted import Remote, application
from tests.images import Built, image, layer, token

pytestmark = pytest.mark.registry
LATER = datetime(2100, 1, 1, tzinfo=UTC)
SIGNER, VERIFIER = pair()
TIME = "2026-11-24T05:00:00Z"


def attestor(signer: Signer = SIGNER, time: str = TIME, fail_on: Severity = Severity.HIGH) -> SweepAttestor:
    return SweepAttestor(signer, fail_on, Confidence.MEDIUM, lambda: time)


def statement(address: str, digest: str) -> Statement | None:
    """The statement on a manifest of the repository app."""
    store = AttestationStore(Repository(Client(address), "app"))
    criteria = Criteria([Digest(digest)], (), Severity.HIGH, Confidence.MEDIUM)
    try:
        return newest_valid(store.candidates(Digest(digest)), criteria, VERIFIER, "app", DEFAULT, LATER)
    except AttestationError:
        return None


def arm(built: Built) -> Built:
    return image(*built.layers, layer({"arm": "64"}), architecture="arm64")


@pytest.fixture
def digests(address: str) -> dict[str, str]:
    """The manifests of a repository: clean, leaking and unreadable images, an index of clean ones, one that leaks."""
    remote = Remote(address)
    clean, leaking = application(0, "clean", None), application(0, "leaks", token(71))
    roots = {
        "clean": remote.push("app", "clean", clean),
        "leaks": remote.push("app", "leaks", leaking),
        "unreadable": remote.push("app", "unreadable", unreadable()),
        "arm": remote.push("app", "arm", arm(clean)),
    }
    listed = {
        name: {**root, "platform": {"os": "linux", "architecture": "arm64" if name == "arm" else "amd64"}}
        for name, root in roots.items()
    }
    indexes = {"both": [listed["clean"], listed["arm"]], "mixed": [listed["leaks"], listed["arm"]]}
    return {
        **{name: str(root["digest"]) for name, root in roots.items()},
        **{tag: remote.index("app", tag, children) for tag, children in indexes.items()},
    }


def test_clean_images_and_indexes_are_attested_once(sweeps: Sweeps, address: str, digests: dict[str, str]) -> None:
    first = attestor()
    before = sweeps(address, attestor=first)
    assert (first.attested, first.problems) == (3, [])
    assert {name for name, digest in digests.items() if statement(address, digest)} == {"clean", "arm", "both"}
    both = statement(address, digests["both"])
    assert both is not None and {item.digest for item in both.images} == {digests["clean"], digests["arm"]}
    again = attestor()
    after = sweeps(address, attestor=again)
    assert again.attested == 0, "neither the same images nor their attestations"
    leaks = [sum(item["new"] for item in found["images"]) for found in (before, after)]
    assert leaks == [1, 0], "an attestation holds nothing that looks like a secret"


def test_known_images_are_attested_by_each_key_severity_and_month(
    sweeps: Sweeps, address: str, digests: dict[str, str]
) -> None:
    sweeps(address)
    others = (attestor(pair()[0]), attestor(time="2026-12-01T00:00:00Z"), attestor(fail_on=Severity.CRITICAL))
    for made in (attestor(), *others):
        sweeps(address, attestor=made)
        assert made.attested == 3, made.key


def test_a_new_index_of_known_images_is_attested(sweeps: Sweeps, address: str, digests: dict[str, str]) -> None:
    sweeps(address, tags=("clean",), attestor=attestor())
    made = attestor()
    sweeps(address, attestor=made)
    assert statement(address, digests["both"]) is not None and made.attested == 3


def test_an_index_is_attested_when_its_last_image_can_be_read(
    sweeps: Sweeps, address: str, digests: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, _ = Client(address).document(f"app/manifests/{digests['arm']}", "", accept=ACCEPT)
    own = json.loads(manifest)["layers"][-1]["digest"]
    open_blob = Client.open

    def refuse(self: Client, path: str, *more: Any, **options: Any) -> Any:
        if own in path:
            raise Unreachable("no answer")
        return open_blob(self, path, *more, **options)

    monkeypatch.setattr(Client, "open", refuse)
    first = attestor()
    assert [item["reference"] for item in sweeps(address, attestor=first)["failed"]] == ["app:arm"]
    assert first.attested == 1 and statement(address, digests["both"]) is None
    monkeypatch.setattr(Client, "open", open_blob)
    again = attestor()
    assert sweeps(address, attestor=again)["failed"] == []
    assert again.attested == 3 and statement(address, digests["both"]) is not None


def test_a_filter_by_platform_attests_no_index(sweeps: Sweeps, address: str, digests: dict[str, str]) -> None:
    made = attestor()
    sweeps(address, platform="linux/arm64", attestor=made)
    assert made.attested == 1 and statement(address, digests["both"]) is None


def test_a_refused_attestation_is_reported_and_tried_again(
    sweeps: Sweeps, address: str, digests: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    attach = AttestationStore.attach

    def refuse_index(self: AttestationStore, pusher: Any, subject: Digest, *more: Any) -> None:
        if subject == digests["both"]:
            raise Unauthorized("no permission to push")
        attach(self, pusher, subject, *more)

    monkeypatch.setattr(AttestationStore, "attach", refuse_index)
    made = attestor()
    found = sweeps(address, attestor=made)
    (problem,) = made.problems
    assert f"app@{digests['both']}: not attested: no permission to push" in problem and found["failed"] == []
    monkeypatch.setattr(AttestationStore, "attach", attach)
    again = attestor()
    sweeps(address, attestor=again)
    assert again.problems == [] and again.attested == 3, "the index with its images"


def test_the_command_attests(cli: Cli, address: str, tmp_path: Path) -> None:
    Remote(address).push("app", "1", application(0, "clean", None))
    private, _ = written(tmp_path / "keys")
    done = cli("registry", "scan", address, "--attest", "--key", private)
    assert done.status == 0 and "attested: 1 clean manifest" in done.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attest": True}, "--attest and --key"),
        ({"key": True}, "--attest and --key"),
        ({"attest": True, "key": True, "fail_on": None}, "every image would be clean"),
        ({"attest": True, "key": True, "states": frozenset({State.PRESENT})}, "remove --rule and --state"),
        ({"attest": True, "key": True, "only_rules": ("github-pat",)}, "remove --rule and --state"),
    ],
)
def test_options_that_would_make_images_clean_are_refused(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    key = {"key": written(tmp_path)[0]} if "key" in options else {}
    # A watch goes on after an error in the config file.
    kind = click.UsageError if message == "--attest and --key" else UsageError
    with pytest.raises(kind, match=message), open_setup("127.0.0.1:1", SweepOptions(**{**options, **key})):
        pass
