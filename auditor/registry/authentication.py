"""Logins to registries: what `docker login` stored, and the tokens that a registry's challenge asks for.

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
from typing import Any

from docker.auth import AuthConfig
from docker.credentials import Store
from docker.credentials.errors import CredentialsNotFound, StoreError
from docker.errors import DockerException

from auditor.core.errors import Unauthorized, Unreachable
from auditor.registry.reference import DOCKER_HUB

_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Login:
    """What `docker login` stored for a host; empty texts where it stored nothing."""

    user: str = ""
    password: str = ""
    identity: str = ""

    def __repr__(self) -> str:
        return "Login()"

    @property
    def encoded(self) -> tuple[bytes, bytes]:
        """User and password as Docker sends them, in UTF-8: requests by itself takes Latin-1, and fails on the rest."""
        return self.user.encode(), self.password.encode()


def stored_login(host: str) -> Login:
    """Return the login of the Docker config or its credential helper. Raises Unauthorized where it can't be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the SDK warns of what it then raises
            found = _Config.load_config(None, None).resolve_authconfig(None if host == DOCKER_HUB else host) or {}
    except (DockerException, OSError, ValueError, LookupError, TypeError) as exc:
        raise Unauthorized(f"{host}: the Docker config's credentials can't be read: {exc}") from exc
    return Login(
        found.get("username") or found.get("Username") or "",
        found.get("password") or found.get("Password") or "",
        found.get("identitytoken") or found.get("IdentityToken") or "",
    )


class _Config(AuthConfig):
    """The Docker config, with helpers that repeat nothing."""

    def _get_store_instance(self, name: str) -> Store:
        return _Helper(name)


class _Helper(Store):
    """A credential helper. What it prints while it fails may be the login: neither stream of it is shown."""

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


Ask = Callable[..., tuple[int, bytes, str]]
"""Sends a request to a token server (method, address; `params`, `data`, `auth` as of requests): status, body, words."""


@dataclass(frozen=True, slots=True)
class Door:
    """Who asks for a login: the registry's host, whether it is spoken to without TLS, and how to ask a token server."""

    host: str
    plain: bool
    ask: Ask

    def authorization(self, challenge: str, scope: str, login: Login) -> str:
        """Return the Authorization header that answers a challenge. Raises Unauthorized, Unreachable."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            if not login.user:
                raise Unauthorized(f"{self.host} wants a login; `docker login {self.host}` first")
            user, password = login.encoded
            return "Basic " + base64.b64encode(user + b":" + password).decode()
        if scheme.lower() != "bearer":
            raise Unauthorized(f"{self.host}: asks for the unknown authentication {scheme!r:.40}")
        return "Bearer " + self._token(dict(_CHALLENGE.findall(rest)), scope, login)

    def _token(self, fields: dict[str, str], scope: str, login: Login) -> str:
        realm = fields.get("realm", "")
        if not (realm.startswith("https://") or (self.plain and realm.startswith("http://"))):
            raise Unauthorized(f"{self.host}: sends logins to {realm!r:.100}, which is no https address")
        query = {"service": fields.get("service", ""), "scope": fields.get("scope") or scope}
        status, body, said = self._asked(realm, query, login)
        if status >= 500:
            raise Unreachable(f"{self.host}: its token server answers {said}")
        token = _token_of(body) if status == 200 else None
        if token is None:
            raise Unauthorized(f"{self.host}: its token server answers {said}; `docker login {self.host}` first")
        return token

    def _asked(self, realm: str, query: dict[str, str], login: Login) -> tuple[int, bytes, str]:
        if login.identity:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": login.identity,
                "client_id": "image-audit",
                **query,
            }
            return self.ask("POST", realm, data=form)
        return self.ask("GET", realm, params=query, auth=login.encoded if login.user else keep_header)


def _token_of(body: bytes) -> str | None:
    """Return the token in an answer, where it holds one that can stand in a header."""
    try:
        value = json.loads(body)
        token = value.get("token") or value.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        return None
    return token if isinstance(token, str) and _TOKEN.fullmatch(token) else None


def keep_header(request: Any) -> Any:
    """Authenticate with the header as it stands: or requests would look into ~/.netrc."""
    return request


def words(body: bytes) -> str:
    """Return the registry's own words of an error; an empty text where there are none."""
    try:
        errors = json.loads(body).get("errors") or [{}]
        return f"{errors[0].get('code', '')} {errors[0].get('message', '')}".strip()
    except (ValueError, AttributeError, IndexError, KeyError, TypeError, RecursionError):
        return ""


def hidden(text: str, login: Login | None, *headers: str) -> str:
    """Mask a login, and what Authorization headers hold, in a text of a registry that says back what it was told."""
    user, password = (login or Login()).encoded
    keys = [password.decode(), login.identity if login else "", *(header.partition(" ")[2] for header in headers)]
    if password:
        keys.append(base64.b64encode(user + b":" + password).decode())
    for key in filter(None, keys):
        text = text.replace(key, "****")
    return text


def reason(exc: BaseException) -> str:
    """Return the innermost cause, without addresses of objects."""
    while exc.__context__ is not None:
        exc = exc.__context__
    return re.sub(r"<[^>]* object at 0x[0-9a-f]+>:? ?", "", str(exc))[:200] or type(exc).__name__
