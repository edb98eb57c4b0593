"""A registry on loopback that sends files: `python -m bench.file_registry FOLDER` prints its port.

The kernel copies a blob from the file to the connection (sendfile), so that the registry takes little of the processor.
One on another machine takes nothing of it. `write` adds images to the folder before.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.images import OCI, descriptor, digest

_INDEX = "index.json"
_MISSING = ("application/json", "", None)
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


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing: workers that end reset their connections."""


def serve(folder: Path) -> None:
    """Serve until the process is ended."""
    index: dict[str, tuple[str, str, str | None]] = json.loads((folder / _INDEX).read_text())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # the kernel would hold a body back until the client acknowledges the head

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            if name := self._answer():
                with (folder / name).open("rb") as file:
                    self.connection.sendfile(file)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _answer(self) -> str | None:
            """Send the head of a response; return the file of its body."""
            kind, own_digest, name = index.get(self.path.partition("?")[0], _MISSING)
            self.send_response(200 if name else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str((folder / name).stat().st_size if name else 0))
            self.send_header("Docker-Content-Digest", own_digest)
            self.end_headers()
            return name

    with _Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
