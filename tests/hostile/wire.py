"""A registry that answers whatever it is told to, byte by byte, and remembers what it was asked."""

from __future__ import annotations

import base64
import json
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

from tests.images import OCI, Built, digest

LOGIN = ("user-of-the-test", "a password of the test, and of nobody else")


@dataclass(frozen=True)
class Asked:
    """A request; names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def has_login(self) -> bool:
        return "authorization" in self.headers


Answer = bytes | Iterable[bytes]
"""What goes over the wire; an endless one is sent until nobody listens."""


@dataclass
class Registry:
    """Answers by the first of `rules` whose expression matches `METHOD /path`, at an address; then with 404.

    Where `login` is set, requests without one get 401. `leaks` tells that no login must come here.
    """

    rules: dict[str, Callable[[Asked], Answer]]
    host: str = "127.0.0.1"
    login: str | None = None
    leaks: bool = False
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with suppress(OSError, ValueError):
                    owner._handle(self.rfile, self.wfile)

        self._server = _Server((self.host, 0), Handler)
        self.address = f"{self.host}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        RUNNING.append(self)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, incoming: Iterable[bytes], outgoing: socketserver._BufferedIOBase) -> None:  # type: ignore[name-defined]
        lines = iter(incoming)
        method, path, _ = next(lines).decode().split(" ", 2)
        headers = dict[str, str]()
        for line in lines:
            if line in (b"\r\n", b"\n"):
                break
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        asked = Asked(method, path, headers)
        self.asked.append(asked)
        answer = self._answer(asked)
        for piece in [answer] if isinstance(answer, bytes) else answer:
            outgoing.write(piece)
            outgoing.flush()

    def _answer(self, asked: Asked) -> Answer:
        if self.login is not None and not asked.has_login:
            return reply(b"{}", "401 Unauthorized", f"WWW-Authenticate: {self.login}")
        found = (rule for place, rule in self.rules.items() if re.search(place, f"{asked.method} {asked.path}"))
        rule = next(found, None)
        return reply(b"{}", "404 Not Found") if rule is None else rule(asked)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address = True, True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


RUNNING: list[Registry] = []


def reply(body: Answer = b"", status: str = "200 OK", *headers: str) -> Answer:
    """An answer with a body of a length that is known, or else of none: until the connection is closed."""
    length = [f"Content-Length: {len(body)}"] if isinstance(body, bytes) else []
    head = "\r\n".join((f"HTTP/1.1 {status}", *length, *headers, "Connection: close", "", ""))
    data = head.encode("latin-1")
    return data + body if isinstance(body, bytes) else joined(data, body)


def joined(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def endless(piece: bytes = bytes(1 << 16)) -> Iterable[bytes]:
    return repeat(piece)


def redirect(place: str, status: str = "307 Temporary Redirect") -> Answer:
    return reply(b"", status, f"Location: {place}")


def serving(built: Built, **more: Callable[[Asked], Answer]) -> dict[str, Callable[[Asked], Answer]]:
    """The rules of an honest registry with one image, `app:1`; `manifest`, `config`, `blob`, `ping` are replaced."""
    blobs, root = built.blobs()
    kinds = {root["digest"]: OCI + "manifest.v1+json"}
    layers = {digest(data) for data in built.layers}

    def blob(asked: Asked) -> Answer:
        name = asked.path.rpartition("/")[2]
        return reply(blobs[name]) if name in blobs else reply(b"{}", "404 Not Found")

    def manifest(asked: Asked) -> Answer:
        name = asked.path.rpartition("/")[2]
        name = root["digest"] if name == "1" else name
        return reply(blobs[name], "200 OK", f"Content-Type: {kinds[name]}", f"Docker-Content-Digest: {name}")

    def config_or_layer(asked: Asked) -> Answer:
        chosen = "layer" if asked.path.rpartition("/")[2] in layers else "config"
        return more.get(chosen, blob)(asked)

    return {
        r"/v2/$": more.get("ping", lambda _: reply(b"{}")),
        r"/v2/_catalog": more.get("catalog", lambda _: reply(b'{"repositories": ["app"]}')),
        r"/v2/app/tags/list": more.get("tags", lambda _: reply(b'{"name": "app", "tags": ["1"]}')),
        r"/v2/app/manifests/": more.get("manifest", manifest),
        r"/v2/app/blobs/uploads": more.get("upload", lambda _: reply(b"{}", "404 Not Found")),
        r"/v2/app/blobs/": config_or_layer,
    }


def keep_logins(folder: Path) -> None:
    """Write a Docker config with a login for all that run."""
    login = base64.b64encode(":".join(LOGIN).encode()).decode()
    folder.mkdir(exist_ok=True)
    auths = {registry.address: {"auth": login} for registry in RUNNING}
    (folder / "config.json").write_text(json.dumps({"auths": auths}))


def own_address() -> str:
    """An address of this machine that is not of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; RFC 5737's network is nobody's
        address: str = probe.getsockname()[0]
    assert not address.startswith("127."), "want a network"
    return address
