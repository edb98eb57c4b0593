"""A registry in memory with the referrers API, which Debian's docker-registry lacks: OCI distribution-spec v1.1."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.images import OCI, descriptor, digest


class ReferrersRegistry:
    """One repository for any name. `manifests` has documents by tag and digest."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                owner.get(self)

            def do_HEAD(self) -> None:
                owner.get(self)

            def do_POST(self) -> None:
                self.answer(202, headers={"Location": f"http://{owner.address}{self.path}1"})

            def do_DELETE(self) -> None:
                self.answer(204)

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
        *_, kind, name = urlsplit(request.path).path.split("/")
        if kind == "referrers":
            found = [data for data in set(self.manifests.values()) if self._subject(data) == name]
            index = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": list(map(_listed, found))}
            request.answer(200, json.dumps(index).encode(), {"Content-Type": OCI + "index.v1+json"})
        elif not name:
            request.answer(200)
        elif (data := (self.blobs if kind == "blobs" else self.manifests).get(name)) is None:
            request.answer(404)
        else:
            kind = "application/octet-stream" if kind == "blobs" else json.loads(data)["mediaType"]
            request.answer(200, data, {"Content-Type": kind, "Docker-Content-Digest": digest(data)})

    def put(self, request: BaseHTTPRequestHandler, data: bytes) -> None:
        assert isinstance(request, self.handler)
        parts = urlsplit(request.path)
        if "/blobs/uploads/" in parts.path:
            self.blobs[parse_qs(parts.query)["digest"][0]] = data
            request.answer(201)
            return
        self.manifests[parts.path.rpartition("/")[2]] = self.manifests[digest(data)] = data
        subject = self._subject(data)
        request.answer(201, headers={"OCI-Subject": subject} if subject else {})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @staticmethod
    def _subject(data: bytes) -> str | None:
        subject: str | None = json.loads(data).get("subject", {}).get("digest")
        return subject


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
