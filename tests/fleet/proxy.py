"""A proxy in front of a registry: counts requests, and injects the failures of networks and servers."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

_MOST = 4
FAULTS = ("status 500", "busy", "slow down", "dropped", "cut", "corrupt")


class Proxy:
    """Forwards GET and HEAD. `faults` is the share of requests that fail, in turn by each of `ways`.

    Of one request so many fail as a client bears: _MOST at most, and damaged bytes once; with `lasting` all do.

    `replaced` are answers of the proxy's own, by path; `retry_after` what a busy registry says of when to come again.
    With `uses`, a token is good for so many requests: then the registry sees them without it, as if it had expired.
    `page` cuts lists of tags into pages of that many, which Docker's registry does not.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.faults = 0.0
        self.lasting = False
        self.ways: tuple[str, ...] = FAULTS
        self.uses = 0
        self.delay_s = 0.0
        self.page = 0
        self.replaced: dict[str, bytes] = {}
        self.retry_after: Callable[[], str] = lambda: "0"
        self.reset()
        owner = self

        class Handler(_Handler):
            proxy = owner

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def reset(self) -> None:
        """Forget what was counted."""
        self.asked: Counter[tuple[str, str]] = Counter()
        self.failed: Counter[str] = Counter()
        self._failed: dict[tuple[str, str], list[str]] = {}
        self.bytes = 0
        self._random = random.Random(1)
        self._lock = threading.Lock()
        self._used: Counter[str | None] = Counter()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def blobs(self) -> Counter[str]:
        """How often each blob was asked for, by digest: layers and configs."""
        return Counter({path.rpartition("/")[2]: n for (_, path), n in self.asked.items() if "/blobs/" in path})

    @property
    def manifests(self) -> Counter[str]:
        """How often each manifest was fetched by its digest."""
        return Counter(
            {
                path.rpartition("/")[2]: n
                for (method, path), n in self.asked.items()
                if method == "GET" and "/manifests/sha256:" in path
            }
        )

    def expired(self, token: str | None) -> bool:
        """Count the use of a token; say whether it is worn."""
        with self._lock:
            self._used[token] += 1
            return bool(self.uses and token and self._used[token] > self.uses)

    def fault(self, method: str, path: str) -> str | None:
        """Count a request; say how it fails."""
        with self._lock:
            self.asked[method, path] += 1
            if path == "/v2/" or self._random.random() >= self.faults:
                return None
            way = self._random.choice(self.ways)
            before = self._failed.setdefault((method, path), [])
            if not self.lasting and (len(before) >= _MOST or (way == "corrupt" and way in before)):
                return None
            before.append(way)
            self.failed[way] += 1
            return way


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        """A client that breaks off is none."""


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        proxy = self.proxy
        way = proxy.fault(self.command, self.path.partition("?")[0])
        if proxy.delay_s:
            time.sleep(proxy.delay_s)
        if (own := proxy.replaced.get(self.path.partition("?")[0])) is not None:
            self._answer(200, own)
        elif way in ("status 500", "busy", "slow down"):
            self._answer({"status 500": 500, "busy": 503, "slow down": 429}[way])
        elif way == "dropped":
            self._drop()
        else:
            self._forward(way)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        if status in (429, 503):
            self.send_header("Retry-After", self.proxy.retry_after())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _forward(self, way: str | None) -> None:
        headers = {key: value for key, value in self.headers.items() if key.lower() != "connection"}
        if self.proxy.expired(headers.get("Authorization")):
            del headers["Authorization"]
        upstream = http.client.HTTPConnection(self.proxy.upstream, timeout=30)
        try:
            upstream.request(self.command, self.path, headers=headers)
            response = upstream.getresponse()
            body = response.read()
        finally:
            upstream.close()
        self.send_response(response.status)
        if self.proxy.page and self.path.partition("?")[0].endswith("/tags/list"):
            body = self._page(json.loads(body))
        for key, value in response.getheaders():
            if key.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                self.send_header(key, value)
        length = response.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if way == "cut" and body:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self._drop()
            return
        if way == "corrupt" and body and response.status == 200:
            at = len(body) // 2
            body = body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]
        self.proxy.bytes += len(body)
        self.wfile.write(body)

    def _page(self, document: dict[str, Any]) -> bytes:
        """Return the page of a list that the query asks for, and send where the next one is."""
        path, _, query = self.path.partition("?")
        last = parse_qs(query).get("last", [""])[0]
        rest = [tag for tag in sorted(document["tags"]) if tag > last]
        shown = rest[: self.proxy.page]
        if shown != rest:
            self.send_header("Link", f'<{path}?last={shown[-1]}>; rel="next"')
        return json.dumps({**document, "tags": shown}).encode()

    def log_message(self, *_: object) -> None:
        pass
