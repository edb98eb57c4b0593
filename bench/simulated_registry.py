"""A simulated registry on loopback, in a process of its own: tag lists, manifests and configs, no layers.

`python -m bench.simulated_registry IMAGES` prints its port. All responses are made before, so that the registry takes
little of the time of a request.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from urllib.parse import parse_qs

from bench.simulated_content import MANIFEST, TAGS, FakeImage, FakeRegistry

_PAGE = 1000
_NEW_TAG = "1.25"


class Responses:
    """Bodies by path, and the number of requests by kind."""

    def __init__(self, registry: FakeRegistry) -> None:
        self.names = registry.repositories
        self._bodies: dict[str, tuple[str, str, bytes]] = {}
        self.counts = {"lists": 0, "HEAD": 0, "GET": 0}
        for number, name in enumerate(self.names):
            for tag in range(TAGS):
                self._add(name, f"1.{tag}", registry.image(number, tag))
            self._list(name, TAGS)
        self._later = registry.image(0, TAGS)

    def respond(self, method: str, target: str) -> bytes:
        """Return the whole response to a request."""
        path, _, query = target.partition("?")
        if path == "/publish":  # a new tag in the first repository
            self._add(self.names[0], _NEW_TAG, self._later)
            self._list(self.names[0], TAGS + 1)
            return _response(b"{}")
        if path == "/counts":
            counts, self.counts = self.counts, dict.fromkeys(self.counts, 0)
            return _response(json.dumps({**counts, "cpu_s": time.process_time()}).encode())
        if path == "/v2/_catalog":
            self.counts["lists"] += 1
            return self._catalog(parse_qs(query).get("last", [""])[0])
        found = self._bodies.get(path)
        if path == "/v2/":
            return _response(b"{}")
        if found is None:
            return _response(b'{"errors":[{"code":"NOT_FOUND"}]}', status="404 Not Found")
        kind, digest, body = found
        self.counts[method if digest else "lists"] += 1
        more = f"Docker-Content-Digest: {digest}\r\n" if digest else ""
        return _response(body, kind, more, with_body=method == "GET")

    def _catalog(self, last: str) -> bytes:
        left = [name for name in self.names if name > last]
        page = left[:_PAGE]
        more = f'Link: </v2/_catalog?last={page[-1]}&n={_PAGE}>; rel="next"\r\n' if len(left) > _PAGE else ""
        return _response(json.dumps({"repositories": page}).encode(), more=more)

    def _add(self, name: str, tag: str, image: FakeImage) -> None:
        manifest = (MANIFEST, image.digest, image.manifest)
        self._bodies[f"/v2/{name}/manifests/{tag}"] = self._bodies[f"/v2/{name}/manifests/{image.digest}"] = manifest
        self._bodies[f"/v2/{name}/blobs/{image.config_digest}"] = (
            "application/octet-stream", image.config_digest, image.config,
        )  # fmt: skip

    def _list(self, name: str, count: int) -> None:
        tags = [f"1.{tag}" for tag in range(count)]
        body = json.dumps({"name": name, "tags": tags}).encode()
        self._bodies[f"/v2/{name}/tags/list"] = ("application/json", "", body)


class Connection(asyncio.Protocol):
    """Answers the requests of one connection, which have no bodies."""

    def __init__(self, responses: Responses) -> None:
        self._responses, self._received = responses, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head, self._received = self._received[:end], self._received[end + 4 :]
            method, target, _ = head[: head.find(b"\r\n")].decode("latin-1").split(" ")
            assert isinstance(self._transport, asyncio.Transport)
            self._transport.write(self._responses.respond(method, target))


def _response(
    body: bytes, kind: str = "application/json", more: str = "", status: str = "200 OK", *, with_body: bool = True
) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"Docker-Distribution-Api-Version: registry/2.0\r\nX-Content-Type-Options: nosniff\r\n"
        f"Date: Fri, 20 Nov 2026 05:00:00 GMT\r\n{more}\r\n"
    )
    return head.encode() + (body if with_body else b"")


async def serve(images: int) -> None:
    """Serve until the process is ended."""
    responses = Responses(FakeRegistry(images))
    server = await asyncio.get_running_loop().create_server(lambda: Connection(responses), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
