"""A registry in memory with the referrers API, which Debian's docker-registry lacks: OCI distribution-spec v1.1."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.images import OCI, descriptor, digest

INDEX_TYPE = {"Content-Type": OCI + "index.v1+json"}


class ReferrersRegistry:
    """One repository for any name. `manifests` has documents by tag and digest.

    `deletes` allows the deletion of manifests. `referrers` answers the referrers API instead of the registry, if it
    returns an answer for the path and query: status, body, headers. `requests` has methods and paths.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.deletes = True
        self.has_api = True
        self.referrers: Callable[[str], tuple[int, bytes, dict[str, str]] | None] = lambda _: None
        self.requests: list[tuple[str, str]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # headers and body are two packets

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                owner.get(self)

            def do_HEAD(self) -> None:
                owner.get(self)

            def do_POST(self) -> None:
                self.answer(202, headers={"Location": f"http://{owner.address}{self.path}1"})

            def do_DELETE(self) -> None:
                owner.delete(self)

            def do_PUT(self) -> None:
                owner.put(self, self.rfile.read(int(self.headers["Content-Length"])))

            def answer(self, status: int, data: bytes = b"", headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.handler = Handler
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def get(self, request: BaseHTTPRequestHandler) -> None:
        assert isinstance(request, self.handler)
        self.requests.append((request.command, request.path))
        *_, kind, name = urlsplit(request.path).path.split("/")
        if kind == "referrers":
            request.answer(*(self.referrers(request.path) or (200, index_of(self.referring(name)), INDEX_TYPE)))
        elif not name:
            request.answer(200)
        elif (data := (self.blobs if kind == "blobs" else self.manifests).get(name)) is None:
            request.answer(404)
        else:
            kind = "application/octet-stream" if kind == "blobs" else json.loads(data)["mediaType"]
            request.answer(200, data, {"Content-Type": kind, "Docker-Content-Digest": digest(data)})

    def referring(self, subject: str) -> list[dict[str, object]]:
        """Descriptors of the referrers of a digest."""
        return [_listed(data) for data in set(self.manifests.values()) if self._subject(data) == subject]

    def delete(self, request: BaseHTTPRequestHandler) -> None:
        assert isinstance(request, self.handler)
        self.requests.append((request.command, request.path))
        *_, kind, name = urlsplit(request.path).path.split("/")
        if kind != "manifests":
            request.answer(204)
        elif self.deletes:
            data = self.manifests.get(name)
            self.manifests = {key: value for key, value in self.manifests.items() if value != data}
            request.answer(202)
        else:
            request.answer(405)

    def put(self, request: BaseHTTPRequestHandler, data: bytes) -> None:
        assert isinstance(request, self.handler)
        parts = urlsplit(request.path)
        if "/blobs/uploads/" in parts.path:
            self.blobs[parse_qs(parts.query)["digest"][0]] = data
            request.answer(201)
            return
        self.manifests[parts.path.rpartition("/")[2]] = self.manifests[digest(data)] = data
        subject = self._subject(data)
        request.answer(201, headers={"OCI-Subject": subject} if subject and self.has_api else {})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @staticmethod
    def _subject(data: bytes) -> str | None:
        subject: str | None = json.loads(data).get("subject", {}).get("digest")
        return subject


def index_of(manifests: list[dict[str, object]]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": manifests}).encode()


def _listed(data: bytes) -> dict[str, object]:
    document = json.loads(data)
    more = {key: document[key] for key in ("artifactType", "annotations")}
    return descriptor(data, document["mediaType"], **more)


@contextmanager
def referrers_registry() -> Iterator[ReferrersRegistry]:
    made = ReferrersRegistry()
    try:
        yield made
    finally:
        made.close()
