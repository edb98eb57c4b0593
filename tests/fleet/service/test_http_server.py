"""The HTTP server of health pages and of the dashboard: addresses, methods, headers, limits."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest

from auditor.core.errors import UsageError
from auditor.fleet.service import http_server
from auditor.fleet.service.health import health
from auditor.fleet.service.http_server import TEXT, Page, by_path, parse_address, serve

PAGES = by_path({"/healthz": lambda: health(failing=None), "/livez": lambda: Page(200, TEXT, b"ok\n")})
Answer = tuple[http.client.HTTPResponse, bytes]


def ask(address: str, method: str = "GET", path: str = "/livez", **headers: str) -> Answer:
    """Send one request. `headers` may replace the Host header."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serve(("127.0.0.1", 0), PAGES) as own:
        yield own


def test_pages_are_served_on_ipv6_too() -> None:
    with serve(parse_address("[::1]:0"), PAGES) as own:
        assert own.startswith("[::1]:")
        assert ask(own, path="/healthz")[0].status == 200
        response, body = ask(own, path="/")
        assert (response.status, body) == (404, b"not found; see /healthz and /livez\n")


@pytest.mark.parametrize("text", ["9464", "localhost", "127.0.0.1:", "127.0.0.1:99999", ":9464"])
def test_an_invalid_address_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--listen .*: not an address"):
        parse_address(text)


def test_a_port_in_use_is_a_usage_error(address: str) -> None:
    with (
        pytest.raises(UsageError, match=f"^--listen {address}: Address already in use$"),
        serve(parse_address(address), PAGES),
    ):
        pass


def test_head_has_the_headers_of_get_and_no_body(address: str) -> None:
    (get, body), (head, nothing) = ask(address), ask(address, "HEAD")
    assert (body, nothing) == (b"ok\n", b"")
    names = ("Content-Length", "Content-Type", "Content-Security-Policy")
    assert [head.headers[name] for name in names] == [get.headers[name] for name in names]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "<b>"])
def test_other_methods_are_refused_and_not_repeated(address: str, method: str) -> None:
    response, body = ask(address, method)
    assert (response.status, response.headers["Allow"], body) == (405, "GET, HEAD", b"only GET and HEAD are served\n")


@pytest.mark.parametrize("path", ["/livez", "/nothing"])
def test_every_response_has_the_security_headers(address: str, path: str) -> None:
    headers = ask(address, path=path)[0].headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert (headers["X-Content-Type-Options"], headers["X-Frame-Options"]) == ("nosniff", "DENY")
    assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert headers["Server"].strip() == "image-audit"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:9464"])
def test_local_names_reach_a_server_on_loopback(address: str, host: str) -> None:
    assert ask(address, Host=host)[0].status == 200


@pytest.mark.parametrize("host", ["rebound.example.com", "127.0.0.1.example.com", "", "localhost@example.com:80"])
def test_a_page_of_another_host_cannot_read_a_server_on_loopback(address: str, host: str) -> None:
    response, body = ask(address, Host=host)
    assert response.status == 421 and b"localhost" in body and (not host or host.encode() not in body)


def test_a_server_on_other_addresses_has_any_name() -> None:
    assert http_server._loopback_names("0.0.0.0") is None and http_server._loopback_names("::") is None
    assert "127.0.0.2" in (http_server._loopback_names("127.0.0.2") or ())


@pytest.mark.parametrize("line", [b"nonsense\r\n\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"])
def test_a_malformed_request_is_refused(address: str, line: bytes) -> None:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(line)
        assert b"bad request" in client.makefile("rb").read()


def test_connections_are_limited_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_CONNECTIONS", 1)
    with serve(("127.0.0.1", 0), PAGES) as own:
        host, _, port = own.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10), pytest.raises(ConnectionError):
            ask(own)


def test_a_connection_is_limited_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_CONNECTION_S", 0)
    with serve(("127.0.0.1", 0), PAGES) as own:
        host, _, port = own.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as idle:
            idle.sendall(b"GET ")
            assert idle.recv(1) == b""
