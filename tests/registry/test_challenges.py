"""Challenges of registries (RFC 9110, 11.6.1): which is answered, and how tokens are requested."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs, urlsplit

import pytest

from auditor.registry.authentication import parse_challenge, parse_challenges
from auditor.registry.client import Client
from auditor.registry.logins import Login
from auditor.registry.repository import Repository
from tests.hostile.wire import Answer, Asked, Registry, reply

REALM = "https://auth.example.com/token"
BEARER = {"realm": REALM, "service": "s"}


@pytest.mark.parametrize(
    ("header", "scheme", "fields"),
    [
        (f'Bearer realm="{REALM}",service="s"', "bearer", BEARER),
        (f'bearer Realm="{REALM}" , SERVICE = "s"', "bearer", BEARER),
        (f"Bearer realm={REALM},service=s", "bearer", BEARER),
        (f'Bearer realm="{REALM}",service="s",error="invalid_token"', "bearer", {**BEARER, "error": "invalid_token"}),
        (f'Basic realm="x", Bearer realm="{REALM}",service="s"', "bearer", BEARER),
        (f'Bearer realm="{REALM}",service="s", Basic realm="x"', "bearer", BEARER),
        (f'Negotiate, Bearer realm="{REALM}",service="s"', "bearer", BEARER),
        (f'Negotiate abc+/==, NTLM,Bearer realm="{REALM}",service="s"', "bearer", BEARER),
        (f',, Bearer ,realm="{REALM}",,service="s",', "bearer", BEARER),
        ('NTLM, BASIC realm="a, Bearer realm=b"', "basic", {"realm": "a, Bearer realm=b"}),
        ("Basic", "basic", {}),
        ('Bearer realm="a \\"b\\\\ c"', "bearer", {"realm": 'a "b\\ c'}),
        ('Bearer realm="first",realm="second"', "bearer", {"realm": "first"}),
        ('Bearer scope="repository:a:pull,push repository:b:pull"', "bearer",
         {"scope": "repository:a:pull,push repository:b:pull"}),
        ('Bearer realm="not closed', "bearer", {"realm": "not closed"}),
        ("Digest qop=auth, Negotiate", "digest", {"qop": "auth"}),
        ("", "", {}),
        ('realm="x"', "", {}),
    ],
)  # fmt: skip
def test_the_preferred_challenge_of_a_header_is_read(header: str, scheme: str, fields: dict[str, str]) -> None:
    assert parse_challenge(header) == (scheme, fields)


@pytest.mark.parametrize(
    "text", ["a ", "a,", 'a="', 'a="\\', "a=", "=", '"', "\\", "a\t", "a b", 'a="b"', "a==,", "\x00", "ü", "a@", ", "]
)
def test_any_text_is_read_with_a_bounded_number_of_challenges(text: str) -> None:
    assert len(parse_challenges(text * (65536 // len(text)))) <= 16


@pytest.fixture
def password() -> str:
    return secrets.token_hex(16)


@pytest.fixture
def login(password: str) -> Login:
    return Login("reader", password)


class Guarded:
    """A registry with its token server, which grants `token`. HOST in `challenges` stands for its address."""

    def __init__(self, challenges: Sequence[str]) -> None:
        self.token = secrets.token_hex(16)
        self._challenges = challenges
        self.registry = Registry({"/token": self._grant, "": self._answer})
        self.asked = self.registry.asked

    def _grant(self, _: Asked) -> Answer:
        return reply(f'{{"access_token": "{self.token}"}}'.encode())

    def _answer(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") == f"Bearer {self.token}":
            return reply(b'{"name": "app", "tags": ["1"]}')
        headers = (f"WWW-Authenticate: {text.replace('HOST', self.registry.address)}" for text in self._challenges)
        return reply(b"{}", "401 Unauthorized", *headers)

    def tags(self, login: Login) -> list[str]:
        return Repository(Client(self.registry.address, login=login), "app").tags()

    def token_requests(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.path.startswith("/token")]


@pytest.fixture
def guarded() -> Iterator[list[Guarded]]:
    running = list[Guarded]()
    yield running
    for one in running:
        one.registry.close()


@pytest.mark.parametrize(
    "challenges",
    [
        ['Bearer realm="http://HOST/token",service="s"', 'Basic realm="x"'],
        ['Basic realm="x"', 'Bearer realm="http://HOST/token",service="s"'],
        ['Basic realm="x", Bearer realm="http://HOST/token",service="s"'],
        ["Bearer realm=http://HOST/token,service=s"],
        ['bearer Realm="http://HOST/token", Service="s"'],
        ["Negotiate", 'Bearer realm="http://HOST/token",service="s"'],
    ],
)
def test_a_token_is_requested_whatever_the_order_and_form(
    guarded: list[Guarded], login: Login, challenges: list[str]
) -> None:
    double = Guarded(challenges)
    guarded.append(double)
    assert double.tags(login) == ["1"]
    basic = "Basic " + base64.b64encode(b":".join(login.encoded)).decode()
    assert [asked.headers["authorization"] for asked in double.token_requests()] == [basic]
    others = [asked for asked in double.asked if not asked.path.startswith("/token")]
    assert basic not in [asked.headers.get("authorization") for asked in others]


def test_several_scopes_are_several_parameters(guarded: list[Guarded], login: Login) -> None:
    scopes = ["repository:app:pull", "repository:base/b:pull,push"]
    double = Guarded([f'Bearer realm="http://HOST/token?a=b",service="s",scope="{" ".join(scopes)}"'])
    guarded.append(double)
    assert double.tags(login) == ["1"]
    (asked,) = double.token_requests()
    assert parse_qs(urlsplit(asked.path).query) == {"a": ["b"], "service": ["s"], "scope": scopes}
