"""Registries that require a login, a token, or a private certificate authority."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Cli, require
from tests.fleet.planted import Content, Remote, fill
from tests.fleet.proxy import Proxy
from tests.registry.certificates import make_certificates
from tests.transports.tokens import PASSWORD, USER, TokenServer

pytestmark = pytest.mark.registry
SCAN = ("registry", "scan")
JSON = ("--format", "json")


def log_in(cli: Cli, *addresses: str, password: str = PASSWORD) -> None:
    folder = Path(cli.environment["DOCKER_CONFIG"])
    folder.mkdir(exist_ok=True)
    login = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {address: {"auth": login} for address in addresses}}))


def check(found: dict[str, Any], content: Content) -> None:
    assert found["failed"] == []
    assert {(item["repository"], item["digest"]) for item in found["images"]} == content.images
    assert sum(item["by_severity"].get("critical", 0) for item in found["images"]) == 20
    assert found["layers"]["read"] == len(content.layers)


@pytest.fixture(scope="module")
def with_password(start_registry: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Content]:
    require(shutil.which("htpasswd") is not None, "htpasswd")
    made = subprocess.run(["htpasswd", "-Bbn", USER, PASSWORD], capture_output=True, check=True).stdout
    file = tmp_path_factory.mktemp("login") / "htpasswd"
    file.write_bytes(made)
    address = start_registry(f"auth:\n  htpasswd: {{realm: lab, path: {file}}}\n")
    session = requests.Session()
    session.auth = (USER, PASSWORD)
    return address, fill(Remote(address, session))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    server = TokenServer(tmp_path_factory.mktemp("tokens"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def with_tokens(tokens: TokenServer, start_registry: Any) -> tuple[str, Content]:
    address = start_registry(
        f"auth:\n  token: {{realm: '{tokens.realm}', service: lab, issuer: tokens, rootcertbundle: {tokens.bundle}}}\n"
    )
    session = requests.Session()
    scopes = [f"repository:team{number % 3}/app{number}:pull,push" for number in range(10)]
    session.headers["Authorization"] = "Bearer " + tokens.token({"scope": scopes, "service": ["lab"]})
    return address, fill(Remote(address, session))


@pytest.fixture(scope="module")
def private(start_registry: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Content, Path]:
    folder = tmp_path_factory.mktemp("tls")
    authority = make_certificates(folder).authority
    tls = f", tls: {{certificate: {folder}/server.pem, key: {folder}/server.key}}"
    address = start_registry(http=tls)
    session = requests.Session()
    session.verify = str(authority)
    return address, fill(Remote(address, session, "https")), authority


class TestPassword:
    def test_a_sweep_logs_in_with_what_docker_login_stored(self, cli: Cli, with_password: tuple[str, Content]) -> None:
        log_in(cli, with_password[0])
        done = cli(*SCAN, with_password[0], *JSON)
        assert done.status == 1, done.err
        check(done.json, with_password[1])
        assert cli(*SCAN, with_password[0], *JSON).json["layers"]["read"] == 0

    @pytest.mark.parametrize("password", [None, "wrong"])
    def test_without_the_right_login_one_line_says_so(
        self, cli: Cli, with_password: tuple[str, Content], password: str | None
    ) -> None:
        if password:
            log_in(cli, with_password[0], password=password)
        done = cli(*SCAN, with_password[0])
        assert done.status == 2 and len(done.err.splitlines()) == 1
        assert f"docker login {with_password[0]}" in done.err


class TestTokens:
    def test_tokens_are_asked_for_by_repository_and_renewed_in_the_middle(
        self, cli: Cli, with_tokens: tuple[str, Content], tokens: TokenServer, proxy_to: Callable[[str], Proxy]
    ) -> None:
        proxy = proxy_to(with_tokens[0])
        proxy.uses = 8
        log_in(cli, proxy.address)
        tokens.asked.clear()
        done = cli(*SCAN, proxy.address, *JSON)
        assert done.status == 1, done.err
        check(done.json, with_tokens[1])
        scopes = [query["scope"][0] for query in tokens.asked]
        assert "registry:catalog:*" in scopes and len(set(scopes)) == 11
        assert len(scopes) > 11
        assert cli(*SCAN, proxy.address, *JSON).json["layers"]["read"] == 0


class TestCertificates:
    def test_a_private_authority_is_trusted_when_it_is_named(
        self, cli: Cli, private: tuple[str, Content, Path]
    ) -> None:
        done = cli(*SCAN, private[0], "--ca", private[2], *JSON)
        assert done.status == 1, done.err
        check(done.json, private[1])
        assert cli(*SCAN, private[0], "--ca", private[2], *JSON).json["layers"]["read"] == 0

    def test_another_authority_is_not(self, cli: Cli, private: tuple[str, Content, Path], tmp_path: Path) -> None:
        other = make_certificates(tmp_path).authority
        done = cli(*SCAN, private[0], "--ca", other)
        assert done.status == 2 and "certificate verify failed" in done.err and len(done.err.splitlines()) == 1

    @pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
    def test_the_variables_of_other_tools_count(
        self, variable: str, private: tuple[str, Content, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from auditor.registry import client, tls

        # Loopback is trusted without a certificate: have it look like another host.
        for module in (client, tls):
            monkeypatch.setattr(module, "is_loopback", lambda _: False)
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        monkeypatch.setenv(variable, str(private[2]))
        data, _ = client.Client(private[0]).document("_catalog", "registry:catalog:*")
        assert len(json.loads(data)["repositories"]) == 10
