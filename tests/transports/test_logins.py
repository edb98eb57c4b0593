"""Registries that want a login: bearer tokens from a token server, credential stores and helpers."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli, require
from tests.images import story
from tests.transports.tokens import PASSWORD, USER, TokenServer

STORY, SECRET = story(41)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    server = TokenServer(tmp_path_factory.mktemp("tokens"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def guarded(tokens: TokenServer, start_registry: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry that wants tokens, with the story in it."""
    require(shutil.which("skopeo") is not None, "skopeo")
    address: str = start_registry(
        f"auth:\n  token: {{realm: '{tokens.realm}', service: lab, issuer: tokens, rootcertbundle: {tokens.bundle}}}\n"
    )
    archive = STORY.docker_archive(tmp_path_factory.mktemp("push") / "a.tar")
    command = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", f"--dest-creds={USER}:{PASSWORD}"]
    done = subprocess.run(
        [*command, f"docker-archive:{archive}", f"docker://{address}/team/app:1"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return address


def config(cli: Cli, content: dict[str, Any]) -> None:
    folder = Path(cli.environment["DOCKER_CONFIG"])
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(content))


def helper(cli: Cli, address: str) -> None:
    """A credential helper program that knows the login."""
    folder = cli.folder / "bin"
    folder.mkdir()
    program = folder / "docker-credential-lab"
    answer = json.dumps({"ServerURL": address, "Username": USER, "Secret": PASSWORD})
    program.write_text(f"#!/bin/sh\ncat >/dev/null\nprintf '%s' '{answer}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    cli.environment["PATH"] = f"{folder}:{cli.environment['PATH']}"


@pytest.mark.registry
class TestTokens:
    def test_a_token_is_asked_for_with_the_stored_login(self, cli: Cli, guarded: str, tokens: TokenServer) -> None:
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        config(cli, {"auths": {guarded: {"auth": login}}})
        tokens.asked.clear()
        done = cli("scan", f"docker://{guarded}/team/app:1", "--format", "json")
        assert done.status == 1, done.err
        assert {f["path"] for f in done.json["findings"]} == {"/secret.txt", None}
        assert len(tokens.asked) == 1
        assert tokens.asked[0] == {"service": ["lab"], "scope": ["repository:team/app:pull"]}

    @pytest.mark.parametrize("how", ["credsStore", "credHelpers"])
    def test_credential_programs_are_asked(self, cli: Cli, guarded: str, how: str) -> None:
        helper(cli, guarded)
        config(cli, {"credsStore": "lab"} if how == "credsStore" else {"credHelpers": {guarded: "lab"}})
        assert cli("scan", f"docker://{guarded}/team/app:1", "-q").status == 1

    def test_without_a_login_the_error_says_what_to_do(self, cli: Cli, guarded: str) -> None:
        done = cli("scan", f"docker://{guarded}/team/app:1")
        assert done.status == 2 and f"docker login {guarded}" in done.err and len(done.err.splitlines()) == 1

    def test_a_helper_that_fails_is_said(self, cli: Cli, guarded: str) -> None:
        config(cli, {"credsStore": "nowhere"})
        done = cli("scan", f"docker://{guarded}/team/app:1")
        assert done.status == 2 and "credentials" in done.err and len(done.err.splitlines()) == 1

    @pytest.mark.parametrize("stream", [1, 2], ids=["output", "errors"])
    def test_nothing_that_a_failing_helper_prints_is_repeated(self, cli: Cli, guarded: str, stream: int) -> None:
        config(cli, {"credsStore": "lab"})
        helper(cli, guarded)
        program = cli.folder / "bin/docker-credential-lab"
        program.write_text(f"#!/bin/sh\necho 'no keychain for {USER} with {PASSWORD}' >&{stream}\nexit 3\n")
        done = cli("scan", f"docker://{guarded}/team/app:1")
        assert done.status == 2 and PASSWORD not in done.err + done.out and len(done.err.splitlines()) == 1
        assert "docker-credential-lab ends with status 3" in done.err


@pytest.mark.registry
def test_a_registry_that_is_not_there_is_said(cli: Cli) -> None:
    done = cli("scan", "docker://127.0.0.1:1/team/app:1")
    assert done.status == 2 and "registry 127.0.0.1:1 does not answer" in done.err and len(done.err.splitlines()) == 1
