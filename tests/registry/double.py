"""A registry on loopback that behaves as one of the known ones: a base class with what they share.

Subclasses in `doubles` set what differs, each from the documentation of its registry.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote

from tests.images import OCI

USER = "reader"
PASSWORD = "a password of the doubles"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
BEARER = "Bearer "


@dataclass(frozen=True)
class Asked:
    """A request: `path` without the query, still encoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def login(self) -> str:
        return self.headers.get("Authorization", "")


@dataclass(frozen=True)
class Answer:
    """A response with a JSON document, or with a text or bytes as they are."""

    content: object = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Double:
    """Serves `images`, tags by repository, and grants tokens to `USER`; with a context by TLS.

    Keeps the requests in `asked`, and the names in the clients' certificates in `peers`.
    """

    images: Mapping[str, Sequence[str]] = {"team/app": ("1", "2", "3"), "team/web": ("1",), "other/tool": ("1",)}
    token_path = "/token"
    service = "double"
    page = 2
    """Names of a page of tags and of the catalog."""
    most_tags = 10_000
    """Largest `n`; a larger one is refused."""
    greeting: Mapping[str, str] = {}
    blobs: Mapping[str, bytes] = {}
    """Content of all images, by digest; `root` is the digest of their manifest."""
    root = ""
    scopes: frozenset[str] | None = None
    """The scopes that the login gets, None for all."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        owner = self
        self.asked: list[Asked] = []
        self.peers: list[str] = []

        class Handler(_Handler):
            double = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.origin = f"{'https' if context else 'http'}://{self.address}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def paths(self, part: str = "") -> list[str]:
        """Return the paths of the requests that contain a text."""
        return [asked.path for asked in self.asked if part in asked.path]

    def challenge(self, scope: str = "") -> str:
        text = f'Bearer realm="{self.origin}{self.token_path}",service="{self.service}"'
        return f'{text},scope="{scope}"' if scope else text

    def error(self, status: int, code: str, message: str, **headers: str) -> Answer:
        """An error in the registry's form; by default OCI's."""
        return Answer({"errors": [{"code": code, "message": message}]}, status, headers)

    def unauthorized(self, scope: str = "") -> Answer:
        answer = self.error(401, "UNAUTHORIZED", "authentication required")
        return Answer(answer.content, 401, {"WWW-Authenticate": self.challenge(scope), **self.greeting})

    def allows(self, asked: Asked, scope: str) -> bool:
        if not asked.login.startswith(BEARER):
            return False
        return base64.b64decode(asked.login.removeprefix(BEARER)).decode() == scope

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/v2/":
            return self.unauthorized()
        if asked.path == self.token_path:
            return self.token(asked)
        if asked.path == "/v2/_catalog":
            scope = "registry:catalog:*"
            return self.catalog(asked) if self.allows(asked, scope) else self.unauthorized(scope)
        if asked.path.startswith("/v2/"):
            name = asked.path.removeprefix("/v2/")
            name = re.split("/(?:tags|manifests|blobs)/", name)[0]
            scope = f"repository:{name}:pull"
            return self.repository(asked, name) if self.allows(asked, scope) else self.unauthorized(scope)
        return self.api(asked)

    def token(self, asked: Asked) -> Answer:
        scope = asked.query.get("scope", "")
        if asked.login != BASIC:
            return Answer({"details": "incorrect username or password"}, 401)
        if self.scopes is not None and scope not in self.scopes:
            scope = "none"  # a token without access, as token servers grant it
        return Answer({"token": base64.b64encode(scope.encode()).decode()})

    def catalog(self, asked: Asked) -> Answer:
        return self.listed(asked, "repositories", list(self.images))

    def repository(self, asked: Asked, name: str) -> Answer:
        if name not in self.images:
            return self.error(404, "NAME_UNKNOWN", "repository name not known to registry")
        if "/tags/list" in asked.path:
            if int(asked.query.get("n", 0)) > self.most_tags:
                return self.error(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
            return self.listed(asked, "tags", self.images[name])
        kind, _, version = asked.path.removeprefix(f"/v2/{name}/").partition("/")
        wanted = self.root if kind == "manifests" and version in self.images[name] else version
        if wanted not in self.blobs:
            return self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type = OCI + "manifest.v1+json" if kind == "manifests" else "application/octet-stream"
        return Answer(self.blobs[wanted], 200, {"Content-Type": media_type, "Docker-Content-Digest": wanted})

    def listed(self, asked: Asked, key: str, names: Sequence[str]) -> Answer:
        """A page of a list behind `last`, with the next one in a Link header."""
        rest = [name for name in names if name not in names[: names.index(asked.query["last"]) + 1]] if (
            "last" in asked.query
        ) else list(names)  # fmt: skip
        page = rest[: self.page]
        more = page != rest
        link = {"Link": f'<{asked.path}?last={quote(page[-1], safe="")}&n={self.page}>; rel="next"'} if more else {}
        return Answer({key: page}, 200, link)

    def api(self, asked: Asked) -> Answer:
        """The registry's own API."""
        return Answer("<html>Not Found</html>", 404)


def numbered(asked: Asked, items: Sequence[object], size: str, *, total: bool = False) -> Answer:
    """A page of items by its number, with Link and perhaps X-Total-Count."""
    number, count = int(asked.query.get("page", 1)), int(asked.query.get(size, 20))
    page = items[(number - 1) * count : number * count]
    query = {**asked.query, "page": str(number + 1)}
    text = "&".join(f"{key}={value}" for key, value in query.items())
    headers = {"X-Total-Count": str(len(items))} if total else {}
    if number * count < len(items):
        headers["Link"] = f'<{asked.path}?{text}>; rel="next"'
    return Answer(list(page), 200, headers)


class _Handler(BaseHTTPRequestHandler):
    double: Double
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        fields = {key: values[0] for key, values in parse_qs(query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(self.command, path, fields, dict(self.headers.items()), body)
        self.double.asked.append(asked)
        self.double.peers.append(self._peer())
        answer = self.double.answer(asked)
        content = answer.content
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        data = text if isinstance(text, bytes) else text.encode()
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _peer(self) -> str:
        """The name in the client's certificate; an empty text without one."""
        certificate = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        return str(certificate["subject"][0][0][1]) if certificate else ""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass
