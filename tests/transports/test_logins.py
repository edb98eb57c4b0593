"""Registries that want a login: bearer tokens from a token server, credential stores and helpers."""

from __future__ import annotations

import base64
import datetime
import json
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from tests.conftest import Cli, require
from tests.images import story

USER, PASSWORD = "reader", "open sesame"
STORY, SECRET = story(41)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class TokenServer:
    """A token server as registries name it: checks the login and signs what it grants. Keeps what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tokens")])
        now = datetime.datetime.now(datetime.UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.bundle = folder / "tokens.pem"
        self.bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                owner.asked.append(query)
                login = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                allowed = self.headers.get("Authorization") == login
                body = json.dumps({"token": owner.token(query)} if allowed else {"errors": [{"code": "DENIED"}]})
                self.send_response(200 if allowed else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.realm = f"http://127.0.0.1:{self._server.server_port}/token"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def token(self, query: dict[str, list[str]]) -> str:
        """A JSON Web Token as distribution wants it: distribution docs, "Token authentication specification"."""
        access = []
        for scope in query.get("scope", []):
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        certificate = base64.b64encode(self._certificate.public_bytes(serialization.Encoding.DER)).decode()
        header = {"typ": "JWT", "alg": "ES256", "x5c": [certificate]}
        claims = {
            "iss": "tokens", "sub": USER, "aud": query.get("service", [""])[0], "access": access,
            "exp": now + 300, "nbf": now - 10, "iat": now, "jti": str(now),
        }  # fmt: skip
        signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


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


@pytest.mark.registry
def test_a_registry_that_is_not_there_is_said(cli: Cli) -> None:
    done = cli("scan", "docker://127.0.0.1:1/team/app:1")
    assert done.status == 2 and "registry 127.0.0.1:1 does not answer" in done.err and len(done.err.splitlines()) == 1
