"""URLs of single requests: what is sent for them, and over which connections."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from urllib3 import Timeout

from auditor.registry.client import Client
from auditor.registry.connection import ConnectionRules
from auditor.registry.http_session import FAILURES, HttpSession, with_query
from auditor.registry.repository import repositories
from auditor.registry.tls import default_context
from tests.hostile.wire import Registry, reply
from tests.registry.double import Double

Start = Callable[..., Double]
LogIn = Callable[..., None]


@pytest.fixture
def server() -> Iterator[Registry]:
    """A server that answers everything."""
    running = Registry({"": lambda _: reply(b"{}")})
    yield running
    running.close()


def session(origins: list[str] | None = None) -> HttpSession:
    """Return a session, which adds the origins that it connects to."""

    def rules_of(origin: str) -> ConnectionRules:
        if origins is not None:
            origins.append(origin)
        return ConnectionRules(None, 10, 1 << 16)

    return HttpSession(rules_of, default_context)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v2/", "/v2/"),
        ("/v2/team/app/tags/list?n=2&last=a", "/v2/team/app/tags/list?n=2&last=a"),
        ("", "/"),
        ("?a=b", "/?a=b"),
        ("/a/../b/./c", "/b/c"),
        ("/a b/ü?c=d e#fragment", "/a%20b/%C3%BC?c=d%20e"),
        ("/a%2Fb?c=%zz", "/a%2Fb?c=%25zz"),
    ],
)
def test_the_target_of_a_url_is_sent_in_valid_form(server: Registry, path: str, target: str) -> None:
    session().send("GET", f"http://{server.address}{path}", {}, Timeout(10)).close()
    assert [asked.path for asked in server.asked] == [target]


def test_a_login_in_a_url_is_not_sent(server: Registry) -> None:
    session().send("GET", f"http://user:open-sesame@{server.address}/v2/", {}, Timeout(10)).close()
    assert [sorted(asked.headers) for asked in server.asked] == [["accept", "accept-encoding", "host", "user-agent"]]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/v2/",
        "http://",
        "http:///v2/",
        "ftp://127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://[::1/",
        "http://a b/",
    ],
)
def test_a_malformed_url_is_a_failure(url: str) -> None:
    with pytest.raises(FAILURES):
        session().send("GET", url, {}, Timeout(1))


def test_an_origin_has_one_pool_of_connections(server: Registry) -> None:
    origins = list[str]()
    own = session(origins)
    for path in ("/v2/", "/v2/a b", "/v2/?a=b", "#fragment"):
        own.send("GET", f"http://{server.address}{path}", {}, Timeout(10)).close()
    assert origins == [f"http://{server.address}"]


@pytest.mark.parametrize("name", ["registry.example.com", "Registry.Example.com"])
def test_a_registry_with_a_private_address_may_be_named_in_capitals(
    start: Start, log_in: LogIn, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    double = start(Double)
    port = double.address.rpartition(":")[2]
    log_in(f"{name}:{port}")
    found = socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert len(list(repositories(Client(f"{name}:{port}", insecure=True)))) == 3


def test_fields_are_added_to_a_query() -> None:
    assert with_query("https://a.example.com/token", {"scope": "a b"}) == "https://a.example.com/token?scope=a+b"
    assert with_query("https://a.example.com/token?x=y", {"b": "&"}) == "https://a.example.com/token?x=y&b=%26"
