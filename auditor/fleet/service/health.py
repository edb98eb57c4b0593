"""Health endpoint of a watch: `/healthz` and `/metrics`, with numbers and times but no findings."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from auditor.core.errors import UsageError

Page = tuple[int, str, bytes]
"""Status, content type, body."""

_SLOW_S = 10  # timeout of a client


def parse_address(text: str) -> tuple[str, int]:
    """Parse HOST:PORT or [IPv6]:PORT; port 0 selects a free one. Raises UsageError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--listen {text!r:.60}: not an address. Use HOST:PORT, like 127.0.0.1:9464.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def health(*, failing: str | None, **more: Any) -> Page:
    """Return the page /healthz: status 200, or 503 with the reason if the last sweep failed."""
    body = {"status": "failing" if failing else "ok", "reason": failing, **more}
    return 503 if failing else 200, "application/json", json.dumps(body).encode()


@contextmanager
def serve(address: tuple[str, int], pages: Mapping[str, Callable[[], Page]]) -> Iterator[str]:
    """Serve pages by their paths; yield the address. Raises UsageError if the address can't be bound."""

    class Handler(_Handler):
        known = pages

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Ignore clients that break the connection."""

    try:
        server = Server(address, Handler)
    except OSError as exc:
        raise UsageError(f"--listen {address[0]}:{address[1]}: {exc.strerror or exc}") from exc
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="health")
    thread.start()
    try:
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    known: Mapping[str, Callable[[], Page]]
    timeout = _SLOW_S
    server_version, sys_version = "image-audit", ""

    def do_GET(self) -> None:
        page = self.known.get(self.path.partition("?")[0])
        status, kind, body = page() if page else (404, "text/plain", b"not found; see /healthz and /metrics\n")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log no requests."""
