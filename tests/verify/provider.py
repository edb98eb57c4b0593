"""A provider on loopback: a real HTTP server that knows which tokens work, and counts who asks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Provider:
    """`requests` are (method, path, headers, body), in the order they came; `most` ran at once."""

    address: str
    live: set[str] = field(default_factory=set)
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    failures: int = 0
    later: str = "0"
    running: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    ends: threading.Event = field(default_factory=threading.Event)

    def rule(self, path: str = "/user", **change: Any) -> dict[str, Any]:
        """The `verify` of a rule that asks here."""
        return {
            "url": self.address + path,
            "headers": {"Authorization": "Bearer {secret}"},
            "active": {"status": 200},
            "inactive": {"status": 401},
        } | change


@contextmanager
def provider() -> Iterator[Provider]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    made = Provider(f"http://127.0.0.1:{server.server_port}")
    server.provider = made  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        made.ends.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        here: Provider = self.server.provider  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with here.lock:
            here.requests.append((self.command, self.path, dict(self.headers), body))
        try:
            self.answer(here, self.path.partition("?")[0])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_POST(self) -> None:
        self.do_GET()

    def answer(self, here: Provider, path: str) -> None:
        works = self.headers.get("Authorization", "").removeprefix("Bearer ") in here.live
        match path:
            case "/user":
                self.say(200 if works else 401, {"ok": works, "error": None if works else "revoked"})
            case "/same":
                self.say(200, {"ok": works, "errors": [] if works else [{"code": "revoked"}], "count": 1})
            case "/redirect":
                self.say(302, {}, Location=here.address + "/user")
            case "/overloaded":
                here.failures -= 1
                self.say(429 if here.failures >= 0 else 200, {}, **{"Retry-After": "0"})
            case "/unwell":
                self.say(503, {})
            case "/later":
                self.say(429, {}, **{"Retry-After": here.later})
            case "/silent":
                here.ends.wait(20)
            case "/busy":
                with here.lock:
                    here.running += 1
                    here.most = max(here.most, here.running)
                time.sleep(0.1)
                with here.lock:  # before the answer: the next request may come before this method goes on
                    here.running -= 1
                self.say(200, {})
            case "/drip":
                self.pour(here, b" ", 0.05)
            case "/endless":
                self.pour(here, b" " * 65536, 0)
            case "/garbage":
                self.wfile.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            case _:
                self.say(200, {})

    def say(self, status: int, document: Any, **headers: str) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def pour(self, here: Provider, piece: bytes, pause_s: float) -> None:
        self.send_response(200)
        self.end_headers()
        while not here.ends.is_set():
            self.wfile.write(piece)
            time.sleep(pause_s)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return
