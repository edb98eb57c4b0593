"""Authentication with registries: credentials, and tokens that a registry's challenge asks for.

Source: Docker's token authentication (docs: registry/spec/auth/token, oauth).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlencode

from auditor.core.dataclass import dataclass
from auditor.core.errors import Unauthorized, Unreachable
from auditor.registry.http_session import with_query
from auditor.registry.login_commands import login_command
from auditor.registry.logins import Login

_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_TOKEN = re.compile(r"[!-~]+")


TokenRequest = Callable[[str, str, Mapping[str, str], bytes | None], tuple[int, bytes, str]]
"""Sends method, URL, headers and body to a token server. Returns status, body and error message."""


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Answers the challenges of one registry. `plain` is set if it is addressed by plain HTTP."""

    host: str
    plain: bool
    request_token: TokenRequest

    def authorization(self, challenge: str, scope: str, login: Login) -> str:
        """Return the Authorization header for a challenge. Raises Unauthorized, Unreachable."""
        scheme, fields = parse_challenge(challenge)
        if scheme == "basic":
            if not login.user:
                raise Unauthorized(f"{self.host} requires credentials; run `{login_command(self.host)}`")
            return basic_authorization(login)
        if scheme != "bearer":
            raise Unauthorized(f"{self.host}: asks for the unknown authentication {scheme!r:.40}")
        return "Bearer " + self._token(fields, scope, login)

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
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            status, body, message = self.request_token("POST", realm, kind, urlencode(form).encode())
        else:
            status, body, message = self.request_token("GET", with_query(realm, query), login_header(login), None)
        if status >= 500:
            raise Unreachable(f"{self.host}: its token server answers {message}")
        token = _token_of(body) if status == 200 else None
        if token is None:
            raise Unauthorized(f"{self.host}: its token server answers {message}; run `{login_command(self.host)}`")
        return token


def parse_challenge(challenge: str) -> tuple[str, dict[str, str]]:
    """Return scheme, in lower case, and fields of a WWW-Authenticate header."""
    scheme, _, rest = challenge.partition(" ")
    return scheme.lower(), dict(_CHALLENGE.findall(rest))


def _token_of(body: bytes) -> str | None:
    """Return the token of a response; None without one that is valid in a header."""
    try:
        value = json.loads(body)
        token = value.get("token") or value.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        return None
    return token if isinstance(token, str) and _TOKEN.fullmatch(token) else None


def secrets_of(login: Login | None, headers: Iterable[str]) -> tuple[str, ...]:
    """Return the texts to mask in messages: credentials, and the values of Authorization headers."""
    user, password = (login or Login()).encoded
    secrets = [password.decode(), login.identity if login else "", *(header.partition(" ")[2] for header in headers)]
    if password:
        secrets.append(base64.b64encode(user + b":" + password).decode())
    return tuple(filter(None, secrets))


def login_header(login: Login) -> dict[str, str]:
    """Return the Authorization header of a login for an API; none without a user."""
    return {"Authorization": basic_authorization(login)} if login.user else {}


def basic_authorization(login: Login) -> str:
    """Return the value of the Authorization header of user and password."""
    user, password = login.encoded
    return "Basic " + base64.b64encode(user + b":" + password).decode()
