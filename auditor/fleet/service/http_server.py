"""Small HTTP server for pages that are only read: health, metrics, the dashboard.

It answers GET and HEAD. Connections are limited in number and duration, so that slow clients can't exhaust the process.
On a loopback address it refuses names of other hosts, so that a web page can't read it by rebinding its DNS name.
"""

from __future__ import annotations

import ipaddress
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, NamedTuple

from auditor.core.errors import UsageError

TEXT = "text/plain; charset=utf-8"
_CONNECTIONS = 32
_READ_S = 10  # timeout of a read or write
_CONNECTION_S = 60  # duration of a connection, which serves one request
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Page(NamedTuple):
    """Status, content type and body of a response."""

    status: int
    kind: str
    body: bytes


class File(NamedTuple):
    """Content type, open file and size in bytes; `policy` replaces the default Content-Security-Policy."""

    kind: str
    file: BinaryIO
    size: int
    policy: str | None = None


Respond = Callable[[str], Page | File]
"""Response to a path without its query."""


def parse_address(text: str) -> tuple[str, int]:
    """Parse HOST:PORT or [IPv6]:PORT; port 0 selects a free one. Raises UsageError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--listen {text!r:.60}: not an address. Use HOST:PORT, like 127.0.0.1:9464.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def by_path(pages: Mapping[str, Callable[[], Page]]) -> Respond:
    """Return a function that responds with one of some pages; to other paths with 404 and the known paths."""
    known = " and ".join(pages)

    def respond(path: str) -> Page:
        page = pages.get(path)
        return page() if page else Page(404, TEXT, f"not found; see {known}\n".encode())

    return respond


@contextmanager
def serve(address: tuple[str, int], respond: Respond) -> Iterator[str]:
    """Serve responses in threads; yield the address. Raises UsageError if the address can't be bound."""
    host, port = address
    try:
        server = _Server(address, respond)
    except OSError as exc:
        raise UsageError(f"--listen {host}:{port}: {exc.strerror or exc}") from exc
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="http")
    thread.start()
    try:
        yield f"[{host}]:{server.server_port}" if ":" in host else f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], respond: Respond) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.respond = respond
        self.hosts = _loopback_names(address[0])
        self._ends: dict[socket.socket, float] = {}
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the thread of a connection, or close it if there are too many."""
        if len(self._ends) >= _CONNECTIONS:
            self.shutdown_request(request)
            return
        self._ends[request] = time.monotonic() + _CONNECTION_S
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._ends.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End connections that take too long; the server calls this every half second."""
        now = time.monotonic()
        for request, end in list(self._ends.items()):
            if end < now:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: Any) -> None:
        """Ignore clients that break the connection."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _READ_S
    server_version, sys_version = "image-audit", ""

    def do_GET(self) -> None:
        if self.server.hosts is not None and _host_name(self.headers.get("Host", "")) not in self.server.hosts:
            self._send(Page(421, TEXT, b"unknown host; use localhost. A proxy must send Host: localhost\n"))
            return
        response = self.server.respond(self.path.partition("?")[0])
        if isinstance(response, Page):
            self._send(response)
            return
        with response.file:
            self._begin(200, response.kind, response.size, response.policy)
            if self.command != "HEAD":
                shutil.copyfileobj(response.file, self.wfile)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Respond to other methods and to malformed requests, without repeating them."""
        page = Page(405, TEXT, b"only GET and HEAD are served\n") if code == 501 else Page(code, TEXT, b"bad request\n")
        self.close_connection = True
        self._send(page)

    def _send(self, page: Page) -> None:
        self._begin(page.status, page.kind, len(page.body))
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def _begin(self, status: int, kind: str, size: int, policy: str | None = None) -> None:
        self.send_response(status)
        headers = {**_HEADERS, "Content-Type": kind, "Content-Length": str(size)}
        if policy is not None:
            headers["Content-Security-Policy"] = policy
        if status == 405:
            headers["Allow"] = "GET, HEAD"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log no requests."""


def _loopback_names(host: str) -> frozenset[str] | None:
    """Return the host names that a server on a loopback address answers to; None for other addresses."""
    with suppress(ValueError):
        if not ipaddress.ip_address(host).is_loopback:
            return None
        return frozenset({"localhost", "127.0.0.1", "::1", host})
    return frozenset({"localhost", "127.0.0.1", "::1"}) if host == "localhost" else None


def _host_name(header: str) -> str:
    """Return the name in a Host header, without port and brackets."""
    host = header if header.endswith("]") else header.rpartition(":")[0] or header
    return host.removeprefix("[").removesuffix("]").lower()
