"""`image-audit attest` against registries: the round trip, other tools, and statements that are not believed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from auditor.attest.bundle import BUNDLE_TYPE
from auditor.attest.statement import PREDICATE_TYPE
from auditor.cli import attest as command
from tests.attest.command import Command, attest
from tests.attest.key_files import PASSPHRASE, cosign_form, ed, p256, public_pem, written
from tests.attest.referrers_registry import referrers_registry
from tests.attest.test_statement import CLEAN, LEAKING, SECRET, unreadable
from tests.conftest import Cli, Result, require
from tests.fleet.planted import Remote
from tests.images import Built, descriptor, image, layer

__all__ = ["attest"]  # a fixture
pytestmark = pytest.mark.registry


@dataclass
class Attested:
    """A repository with tags, and two pairs of keys. `attest` and `verify` run the command on a tag."""

    run: Command
    address: str
    repository: str
    keys: tuple[Path, Path]

    def __post_init__(self) -> None:
        self.remote = Remote(self.address)
        self.name = f"{self.address}/{self.repository}"

    def attest(self, tag: str, *options: object, **environment: str) -> Result:
        return self.run(f"docker://{self.name}:{tag}", "--push", "--key", self.keys[0], *options, **environment)

    def verify(self, tag: str, *options: object, key: Path | None = None) -> Result:
        return self.run(f"docker://{self.name}:{tag}", "--verify", "--key", key or self.keys[1], *options)

    def tags(self) -> set[str]:
        return set(requests.get(f"{self.remote.base}/{self.repository}/tags/list", timeout=9).json()["tags"])

    def manifest(self, version: str) -> dict[str, Any]:
        accept = {"Accept": "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"}
        url = f"{self.remote.base}/{self.repository}/manifests/{version}"
        found: dict[str, Any] = requests.get(url, headers=accept, timeout=9).json()
        return found


@pytest.fixture
def app(attest: Command, registry: str, request: pytest.FixtureRequest) -> Attested:
    """An empty repository of the test's own."""
    name = "".join(char if char.isalnum() else "-" for char in request.node.name.lower()).strip("-")
    return Attested(attest, registry, f"attest/{name}", written(Path("keys")))


def tag_of(root: dict[str, Any], ending: str = "") -> str:
    return str(root["digest"]).replace(":", "-") + ending


def cosign(*arguments: object) -> subprocess.CompletedProcess[str]:
    require(shutil.which("cosign") is not None, "cosign")
    return subprocess.run(["cosign", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)


def cosign_verify(app: Attested, key: Path, tag: str = "1", *more: object) -> subprocess.CompletedProcess[str]:
    options = ("--insecure-ignore-tlog", "--allow-insecure-registry", "--type", PREDICATE_TYPE, *more)
    return cosign("verify-attestation", *options, "--key", key, f"{app.name}:{tag}")


@pytest.mark.parametrize(
    ("built", "status", "first"),
    [(CLEAN, 0, "CLEAN"), (LEAKING, 1, "LEAKS"), (unreadable(), 2, "NOT AUDITED IN FULL")],
    ids=["clean", "leaking", "unreadable"],
)
def test_the_round_trip_keeps_verdict_and_exit_code(app: Attested, built: Built, status: int, first: str) -> None:
    root = app.remote.push(app.repository, "1", built)
    done, checked = app.attest("1"), app.verify("1")
    assert (done.status, checked.status) == (status, status), done.err + checked.err
    assert done.out == checked.out and done.out.startswith(first) and str(root["digest"]) in done.out
    assert SECRET[-4:] not in done.out + done.err
    assert app.tags() == {"1", tag_of(root), tag_of(root, ".att")}


def test_the_verifier_chooses_the_severity(app: Attested) -> None:
    app.remote.push(app.repository, "1", image(layer({"app/.env": "DB_PASSWORD=admin123\n"})))
    assert app.attest("1").status == 0
    assert app.verify("1").status == 0
    done = app.verify("1", "--fail-on", "medium", "--format", "json")
    assert done.status == 1 and done.json["predicate"]["verdict"]["by_severity"]["medium"] == 1


def test_an_audit_that_left_findings_out_is_not_verified_as_clean(app: Attested) -> None:
    app.remote.push(app.repository, "1", CLEAN)
    assert app.attest("1", "--min-confidence", "high").status == 0
    done = app.verify("1")
    assert done.status == 2 and "findings below high confidence were left out" in done.err
    assert app.verify("1", "--min-confidence", "high").status == 0


def test_what_is_not_valid_is_not_verified(app: Attested, tmp_path: Path) -> None:
    app.remote.push(app.repository, "1", CLEAN)
    missing = app.verify("1")
    assert missing.status == 2 and "no valid attestation: it has none" in missing.err
    assert app.attest("1").status == 0
    stranger = app.verify("1", key=written(tmp_path / "stranger")[1])
    assert stranger.status == 2 and "not signed with this key" in stranger.err and stranger.out == ""
    # The tag moves to another image, and somebody copies the attestation to it.
    other = app.remote.push(app.repository, "1", LEAKING)
    assert app.verify("1").status == 2
    app.remote.manifest(
        app.repository,
        tag_of(other, ".att"),
        app.manifest(tag_of(app.remote.push(app.repository, "old", CLEAN), ".att")),
    )
    moved = app.verify("1")
    assert moved.status == 2 and "about another image" in moved.err


def test_cosign_verifies_it_and_tells_a_stranger(app: Attested, tmp_path: Path) -> None:
    app.remote.push(app.repository, "1", CLEAN)
    for key in (p256(), ed()):
        app.keys = written(tmp_path / type(key).__name__, key)
        assert app.attest("1").status == 0
        done = cosign_verify(app, app.keys[1])
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["payloadType"] == "application/vnd.in-toto+json"
    # The form of cosign 3, by referrers. A root of trust is read, although a key needs none.
    (tmp_path / "root").write_text('{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')
    done = cosign_verify(app, app.keys[1], "1", "--new-bundle-format", "--trusted-root", tmp_path / "root")
    assert done.returncode == 0, done.stderr
    assert cosign_verify(app, written(tmp_path / "stranger")[1]).returncode != 0


def test_a_key_of_cosign_signs(app: Attested) -> None:
    app.remote.push(app.repository, "1", CLEAN)
    key = p256()
    app.keys[0].write_bytes(cosign_form(key))
    app.keys[1].write_bytes(public_pem(key))
    assert app.attest("1", IMAGE_AUDIT_KEY_PASSPHRASE=PASSPHRASE).status == 0
    assert app.verify("1").status == 0 and cosign_verify(app, app.keys[1]).returncode == 0
    refused = app.attest("1")
    assert refused.status == 2 and "Set IMAGE_AUDIT_KEY_PASSPHRASE" in refused.err


def test_a_new_statement_replaces_the_own_one_and_keeps_those_of_others(app: Attested, tmp_path: Path) -> None:
    root = app.remote.push(app.repository, "1", CLEAN)
    subject = {"mediaType": root["mediaType"], "digest": root["digest"]}
    data = b'{"payload": "of another type"}'
    app.remote.blob(app.repository, data)
    foreign = descriptor(data, "application/vnd.dsse.envelope.v1+json", annotations={"predicateType": "https://other"})
    for repeat in range(2):
        assert app.attest("1").status == 0
        own = app.manifest(tag_of(root, ".att"))
        if not repeat:
            app.remote.manifest(app.repository, tag_of(root, ".att"), own | {"layers": [foreign, *own["layers"]]})
    app.keys = written(tmp_path / "second")
    assert app.attest("1").status == 0 and app.verify("1").status == 0
    types = [item["annotations"]["predicateType"] for item in app.manifest(tag_of(root, ".att"))["layers"]]
    assert types == ["https://other", PREDICATE_TYPE, PREDICATE_TYPE]
    index = app.manifest(tag_of(root))
    assert [item["artifactType"] for item in index["manifests"]] == [BUNDLE_TYPE] * 2
    (listed, _) = index["manifests"]
    assert app.manifest(listed["digest"])["subject"] == subject | {"size": root["size"]}


def platforms(app: Attested, *built: Built) -> Sequence[dict[str, Any]]:
    """Push an index of images for different architectures under the tag 1; return their descriptors."""
    roots = []
    for number, one in enumerate(built):
        architecture = ("amd64", "arm64")[number]
        platform = {"os": "linux", "architecture": architecture}
        root = app.remote.push(app.repository, f"only-{architecture}", one)
        roots.append({**root, "platform": platform})
    app.remote.index(app.repository, "1", roots)
    return roots


def test_an_index_is_attested_with_its_platforms(app: Attested) -> None:
    arm = image(layer({"b.txt": "b\n"}), architecture="arm64")
    platforms(app, CLEAN, arm)
    assert app.attest("1").status == 0
    for tag, options in (("1", ()), ("1", ("--platform", "linux/arm64")), ("only-amd64", ())):
        assert app.verify(tag, *options).status == 0, (tag, options)
    assert cosign_verify(app, app.keys[1]).returncode == 0
    assert cosign_verify(app, app.keys[1], "only-arm64").returncode == 0


def test_a_statement_on_one_platform_is_none_on_the_index(app: Attested) -> None:
    platforms(app, CLEAN, image(*LEAKING.layers, architecture="arm64"))
    assert app.attest("1", "--platform", "linux/amd64").status == 0
    assert app.verify("1", "--platform", "linux/amd64").status == 0
    assert app.verify("1").status == 2
    assert app.attest("1").status == 1 and app.verify("1").status == 1
    assert app.verify("1", "--platform", "linux/amd64").status == 1


def test_a_registry_with_the_referrers_api_gets_no_fallback_tag(attest: Command) -> None:
    with referrers_registry() as double:
        app = Attested(attest, double.address, "app", written(Path("keys")))
        root = app.remote.push("app", "1", CLEAN)
        assert app.attest("1").status == 0
        assert tag_of(root) not in double.manifests and app.verify("1").status == 0
        del double.manifests[tag_of(root, ".att")]
        assert app.verify("1").status == 0, "by referrers alone"


def test_attestations_without_end_are_not_read(attest: Command) -> None:
    with referrers_registry() as double:
        app = Attested(attest, double.address, "app", written(Path("keys")))
        root = app.remote.push("app", "1", CLEAN)
        manifest = {"schemaVersion": 2, "mediaType": root["mediaType"], "artifactType": BUNDLE_TYPE, "subject": root}
        for number in range(110):
            app.remote.manifest("app", f"x{number}", manifest | {"annotations": {"number": str(number)}, "layers": []})
        done = app.verify("1")
        assert done.status == 2 and "more than 100 attestations" in done.err


def test_a_file_is_verified_without_a_registry(cli: Cli) -> None:
    """As users call it; the other tests call the command in this process."""
    private, public = written(cli.folder / "keys")
    target = LEAKING.oci_archive(cli.folder / "app.tar")
    done = cli("attest", target, "-o", "app.att", "--key", private)
    assert done.status == 1 and done.out.startswith("LEAKS") and done.err == ""
    assert cli("attest", target, "--verify", "--attestation", "app.att", "--key", public).out == done.out
    other = cli(
        "attest", CLEAN.oci_archive(cli.folder / "b.tar"), "--verify", "--attestation", "app.att", "--key", public
    )
    assert other.status == 2 and "about another image" in other.err
    assert "Name the file" in cli("attest", target, "--verify", "--key", public).err


def test_without_the_extra_the_command_names_it(attest: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "nacl" else name)
    done = attest("app.tar", "-o", "a.att", "--key", "key.pem")
    assert done.status == 2 and "needs pynacl of the extra `attest`" in done.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "use one of -o FILE and --push"),
        (("-o", "a", "--push"), "use one of -o FILE and --push"),
        (("--verify", "-o", "a"), "--verify makes no attestation"),
        (("--push", "--attestation", "a"), "--attestation needs --verify"),
        (("--push",), "--push needs an image in a registry"),
    ],
)
def test_options_that_do_not_fit_are_refused(attest: Command, options: tuple[str, ...], message: str) -> None:
    done = attest("oci-archive:app.tar", "--key", written(Path())[0], *options)
    assert done.status == 2 and message in done.err


def test_a_config_file_that_fails_on_nothing_is_refused(attest: Command) -> None:
    Path(".image-audit.yaml").write_text("fail_on: never\n")
    done = attest("app.tar", "-o", "a.att", "--key", written(Path())[0])
    assert done.status == 2 and "every image would be clean" in done.err
