"""Authentication with registries: credentials of `docker login`, and tokens that a registry's challenge asks for.

Source: Docker's token authentication (docs: registry/spec/auth/token, oauth).
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from docker.auth import AuthConfig
from docker.credentials import Store
from docker.credentials.errors import CredentialsNotFound, StoreError
from docker.errors import DockerException

from auditor.core.errors import Unauthorized, Unreachable
from auditor.registry.http_session import keep_header
from auditor.registry.reference import DOCKER_HUB

_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials that `docker login` stored for a host; empty texts if it stored none."""

    user: str = ""
    password: str = ""
    identity: str = ""

    def __repr__(self) -> str:
        return "Login()"

    @property
    def encoded(self) -> tuple[bytes, bytes]:
        """User and password in UTF-8, as Docker sends them; requests encodes Latin-1, and fails on other characters."""
        return self.user.encode(), self.password.encode()


def stored_login(host: str) -> Login:
    """Return the credentials in the Docker config or its credential helper. Raises Unauthorized if unreadable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the SDK warns of the errors that it then raises
            found = _Config.load_config(None, None).resolve_authconfig(None if host == DOCKER_HUB else host) or {}
    except (DockerException, OSError, ValueError, LookupError, TypeError) as exc:
        raise Unauthorized(f"{host}: can't read the Docker config's credentials: {exc}") from exc
    return Login(
        found.get("username") or found.get("Username") or "",
        found.get("password") or found.get("Password") or "",
        found.get("identitytoken") or found.get("IdentityToken") or "",
    )


class _Config(AuthConfig):
    """The Docker config, with credential helpers that show none of their output."""

    def _get_store_instance(self, name: str) -> Store:
        return _CredentialHelper(name)


class _CredentialHelper(Store):
    """A credential helper. Its output is never shown: a failing helper may print the credentials."""

    def _execute(self, subcmd: str, data_input: bytes | None) -> bytes:
        try:
            done = subprocess.run([self.program, subcmd], input=data_input, capture_output=True, check=False)
        except OSError as exc:
            raise StoreError(f"{self.program}: {exc.strerror}") from None
        if b"credentials not found in native keychain" in done.stdout:
            raise CredentialsNotFound(self.program)
        if done.returncode:
            raise StoreError(f"{self.program} ends with status {done.returncode}; run it by hand to see why")
        return done.stdout


TokenRequest = Callable[..., tuple[int, bytes, str]]
"""Sends a request to a token server (method, URL; `params`, `data`, `auth` of requests).

Returns status, body and error message.
"""


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Answers the challenges of one registry. `plain` is set if it is addressed by plain HTTP."""

    host: str
    plain: bool
    request_token: TokenRequest

    def authorization(self, challenge: str, scope: str, login: Login) -> str:
        """Return the Authorization header for a challenge. Raises Unauthorized, Unreachable."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            if not login.user:
                raise Unauthorized(f"{self.host} requires credentials; run `docker login {self.host}`")
            user, password = login.encoded
            return "Basic " + base64.b64encode(user + b":" + password).decode()
        if scheme.lower() != "bearer":
            raise Unauthorized(f"{self.host}: asks for the unknown authentication {scheme!r:.40}")
        return "Bearer " + self._token(dict(_CHALLENGE.findall(rest)), scope, login)

    def _token(self, fields: dict[str, str], scope: str, login: Login) -> str:
        realm = fields.get("realm", "")
        if not (realm.startswith("https://") or (self.plain and realm.startswith("http://"))):
            raise Unauthorized(f"{self.host}: its token server {realm!r:.100} is no https URL; sent no credentials")
        query = {"service": fields.get("service", ""), "scope": fields.get("scope") or scope}
        if login.identity:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": login.identity,
                "client_id": "image-audit",
                **query,
            }
            status, body, message = self.request_token("POST", realm, data=form)
        else:
            auth = login.encoded if login.user else keep_header
            status, body, message = self.request_token("GET", realm, params=query, auth=auth)
        if status >= 500:
            raise Unreachable(f"{self.host}: its token server answers {message}")
        token = _token_of(body) if status == 200 else None
        if token is None:
            raise Unauthorized(f"{self.host}: its token server answers {message}; run `docker login {self.host}`")
        return token


def _token_of(body: bytes) -> str | None:
    """Return the token of a response; None without one that is valid in a header."""
    try:
        value = json.loads(body)
        token = value.get("token") or value.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        return None
    return token if isinstance(token, str) and _TOKEN.fullmatch(token) else None


def error_message(body: bytes) -> str:
    """Return code and message of a registry's error response; an empty text without one."""
    try:
        errors = json.loads(body).get("errors") or [{}]
        return f"{errors[0].get('code', '')} {errors[0].get('message', '')}".strip()
    except (ValueError, AttributeError, IndexError, KeyError, TypeError, RecursionError):
        return ""


def mask_credentials(text: str, login: Login | None, *headers: str) -> str:
    """Mask credentials and the values of Authorization headers: some registries repeat them in their errors."""
    user, password = (login or Login()).encoded
    secrets = [password.decode(), login.identity if login else "", *(header.partition(" ")[2] for header in headers)]
    if password:
        secrets.append(base64.b64encode(user + b":" + password).decode())
    for secret in filter(None, secrets):
        text = text.replace(secret, "****")
    return text
