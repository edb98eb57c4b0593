"""A registry on loopback that sends files: `python -m bench.file_registry FOLDER` prints its port.

The kernel copies a blob from the file to the connection (sendfile), so that the registry takes little of the processor.
One on another machine takes nothing of it. `write` adds images to the folder before.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

from tests.images import OCI, descriptor, digest

_INDEX = "index.json"
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_MANIFEST = OCI + "manifest.v1+json"


def write(folder: Path, repositories: Mapping[str, Mapping[str, Sequence[bytes]]]) -> None:
    """Write the images of a registry: blobs by repository and tag, the config first, then the layers, in gzip."""
    index: dict[str, tuple[str, str, str]] = {}

    def add(path: str, kind: str, data: bytes) -> None:
        (folder / digest(data).rpartition(":")[2]).write_bytes(data)
        index[path] = (kind, digest(data), digest(data).rpartition(":")[2])

    def add_json(path: str, document: object) -> None:
        add(path, "application/json", json.dumps(document).encode())

    add_json("/v2/", {})
    add_json("/v2/_catalog", {"repositories": sorted(repositories)})
    for name, tags in repositories.items():
        add_json(f"/v2/{name}/tags/list", {"name": name, "tags": sorted(tags)})
        for tag, (config, *layers) in tags.items():
            for blob in (config, *layers):
                add(f"/v2/{name}/blobs/{digest(blob)}", "application/octet-stream", blob)
            listed = [descriptor(layer, OCI + "layer.v1.tar+gzip") for layer in layers]
            config_of = descriptor(config, OCI + "config.v1+json")
            document = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config_of, "layers": listed}
            manifest = json.dumps(document).encode()
            for reference in (tag, digest(manifest)):
                add(f"/v2/{name}/manifests/{reference}", _MANIFEST, manifest)
    (folder / _INDEX).write_text(json.dumps(index))


class _Server(ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 100

    def handle_error(self, *_: object) -> None:
        """Say nothing: workers that end reset their connections."""


def serve(folder: Path) -> None:
    """Serve until the process is ended."""
    index: dict[str, tuple[str, str, str]] = json.loads((folder / _INDEX).read_text())
    answers = {path: (_head(*entry, folder), folder / entry[2]) for path, entry in index.items()}

    class Handler(StreamRequestHandler):
        """Answers requests by method and path alone: what http.server does beside takes most of its time."""

        disable_nagle_algorithm = True  # the kernel would hold a body back until the client acknowledges the head

        def handle(self) -> None:
            while request := self.rfile.readline():
                while self.rfile.readline().strip():
                    pass
                method, path, _ = request.split(b" ", 2)
                head, body = answers.get(path.decode().partition("?")[0], (_MISSING, None))
                self.connection.sendall(head)
                if body is not None and method == b"GET":
                    with body.open("rb") as file:
                        self.connection.sendfile(file)

    with _Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


def _head(kind: str, own_digest: str, name: str, folder: Path) -> bytes:
    """Return the head of the response with a file."""
    size = (folder / name).stat().st_size
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n"
        f"Docker-Content-Digest: {own_digest}\r\n\r\n"
    ).encode()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
