"""Logins to registries: what `docker login` stored, and the tokens that a registry's challenge asks for.

Source: Docker's token authentication (docs: registry/spec/auth/token, oauth).
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from auditor.errors import Unauthorized, Unreachable
from auditor.images.reference import DOCKER_HUB

_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Login:
    """What `docker login` stored for a host; empty texts where it stored nothing."""

    user: str = ""
    password: str = ""
    identity: str = ""

    def __repr__(self) -> str:
        return "Login()"


def stored_login(host: str) -> Login:
    """Return the login of the Docker config or its credential helper. Raises Unauthorized where it can't be read."""
    from docker.auth import load_config
    from docker.errors import DockerException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the SDK warns of what it then raises
            found = load_config().resolve_authconfig(None if host == DOCKER_HUB else host) or {}
    except (DockerException, OSError, ValueError) as exc:
        raise Unauthorized(f"{host}: the Docker config's credentials can't be read: {exc}") from exc
    return Login(
        found.get("username") or found.get("Username") or "",
        found.get("password") or found.get("Password") or "",
        found.get("identitytoken") or found.get("IdentityToken") or "",
    )


@dataclass(frozen=True, slots=True)
class Door:
    """Who asks for a login: the registry's host, whether it is spoken to without TLS, and how to send requests."""

    host: str
    plain: bool
    session: requests.Session
    timeout_s: tuple[int, int]
    verify: bool | str

    def authorization(self, challenge: str, scope: str, login: Login) -> str:
        """Return the Authorization header that answers a challenge. Raises Unauthorized, Unreachable."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            if not login.user:
                raise Unauthorized(f"{self.host} wants a login; `docker login {self.host}` first")
            return str(requests.auth._basic_auth_str(login.user, login.password))
        if scheme.lower() != "bearer":
            raise Unauthorized(f"{self.host}: asks for the unknown authentication {scheme!r:.40}")
        return "Bearer " + self._token(dict(_CHALLENGE.findall(rest)), scope, login)

    def _token(self, fields: dict[str, str], scope: str, login: Login) -> str:
        realm = fields.get("realm", "")
        if urlsplit(realm).scheme != "https" and not (self.plain and realm.startswith("http:")):
            raise Unauthorized(f"{self.host}: sends logins to {realm!r:.100}, which is no https address")
        query = {"service": fields.get("service", ""), "scope": fields.get("scope") or scope}
        try:
            response = self._asked(realm, query, login)
            body = response.json() if response.status_code == 200 else {}
            token = body.get("token") or body.get("access_token")
        except (requests.RequestException, HTTPError, OSError, ValueError, AttributeError) as exc:
            raise Unreachable(f"{self.host}: its token server {realm} fails: {reason(exc)}") from exc
        if response.status_code >= 500 or response.status_code == 429:
            raise Unreachable(f"{self.host}: its token server {realm} answers {response.status_code}")
        if not isinstance(token, str):
            raise Unauthorized(
                f"{self.host}: its token server answers {response.status_code} {words(response)}; "
                f"`docker login {self.host}` first"
            )
        return token

    def _asked(self, realm: str, query: dict[str, str], login: Login) -> requests.Response:
        if login.identity:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": login.identity,
                "client_id": "image-audit",
                **query,
            }
            return self.session.post(realm, data=form, timeout=self.timeout_s, verify=self.verify)
        auth = (login.user, login.password) if login.user else keep_header
        return self.session.get(realm, params=query, auth=auth, timeout=self.timeout_s, verify=self.verify)


def keep_header(request: Any) -> Any:
    """Authenticate with the header as it stands: or requests would look into ~/.netrc."""
    return request


def words(response: requests.Response) -> str:
    """Return the registry's own words of an error."""
    try:
        errors = response.json().get("errors") or [{}]
        text = f"{errors[0].get('code', '')} {errors[0].get('message', '')}".strip()
    except (ValueError, AttributeError, IndexError, KeyError, requests.RequestException):
        text = ""
    return f"{text or response.reason or response.status_code}"[:200]


def reason(exc: BaseException) -> str:
    """Return the innermost cause, without addresses of objects."""
    while exc.__context__ is not None:
        exc = exc.__context__
    return re.sub(r"<[^>]* object at 0x[0-9a-f]+>:? ?", "", str(exc))[:200] or type(exc).__name__
