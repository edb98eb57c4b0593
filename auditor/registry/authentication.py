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

_TOKEN = re.compile(r"[!-~]+")

# RFC 9110, 11.6.1 and 5.6.2. Possessive quantifiers: the time is proportional to the length of the header.
_NAME = r"[\w!#$%&'*+.^`|~-]++"
_PARAMETER = re.compile(rf'({_NAME})[ \t]*+=[ \t]*+(?:"((?:[^"\\]|\\.)*+)"?|([^\s,"]*+))', re.ASCII | re.DOTALL)
"""A parameter; also one with an unquoted URL, as some registries write the realm."""
_SCHEME = re.compile(rf"({_NAME})(?:[ \t]++[\w.~+/-]++=*+(?=[ \t]*+(?:,|$)))?", re.ASCII)
"""The scheme of a challenge, and the token68 that may follow it."""
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_CHALLENGES = 16
"""Challenges that are read of a header."""
_PREFERRED = ("bearer", "basic")

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
        service, scopes = fields.get("service", ""), fields.get("scope", "").split() or [scope]
        if login.identity:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": login.identity,
                "client_id": "image-audit",
                "service": service,
                "scope": " ".join(scopes),
            }
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            status, body, message = self.request_token("POST", realm, kind, urlencode(form).encode())
        else:
            url = with_query(realm, {"service": service, "scope": scopes})
            status, body, message = self.request_token("GET", url, login_header(login), None)
        if status >= 500:
            raise Unreachable(f"{self.host}: its token server answers {message}")
        token = _token_of(body) if status == 200 else None
        if token is None:
            raise Unauthorized(f"{self.host}: its token server answers {message}; run `{login_command(self.host)}`")
        return token


def parse_challenge(header: str) -> tuple[str, dict[str, str]]:
    """Return scheme and parameters of the preferred challenge of a WWW-Authenticate header: Bearer, Basic, the first.

    The scheme and the names of parameters are in lower case. Both are empty without a challenge.
    """
    challenges = [*parse_challenges(header), ("", dict[str, str]())]
    return next((found for scheme in _PREFERRED for found in challenges if found[0] == scheme), challenges[0])


def parse_challenges(header: str) -> list[tuple[str, dict[str, str]]]:
    """Return schemes and parameters of the first challenges of a WWW-Authenticate header, names in lower case."""
    challenges = list[tuple[str, dict[str, str]]]()
    position = 0
    while position < len(header):
        if found := _PARAMETER.match(header, position):
            if challenges:
                name, quoted, plain = found.groups()
                challenges[-1][1].setdefault(name.lower(), plain if quoted is None else _ESCAPED.sub(r"\1", quoted))
        elif found := _SCHEME.match(header, position):
            if len(challenges) == _CHALLENGES:
                break
            challenges.append((found[1].lower(), {}))
        position = found.end() if found else position + 1
    return challenges


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
