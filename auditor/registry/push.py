"""Push of an image: blobs that the registry lacks, then manifests. Source: OCI distribution-spec v1.1, "Push"."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from auditor.codec.file_slices import FileSlice
from auditor.codec.hashing import sha256
from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.errors import Unreachable
from auditor.registry.client import Client
from auditor.registry.http_session import with_query
from auditor.registry.reference import Reference
from auditor.registry.response_body import RegistryResponse


@dataclass(slots=True)
class PushCounts:
    """Numbers of blobs that were uploaded, mounted from another repository, or present; bytes uploaded."""

    uploaded: int = 0
    mounted: int = 0
    present: int = 0
    bytes: int = 0


class Pusher:
    """Pushes blobs and manifests to one repository. `origin` is a repository of the same host to mount blobs from."""

    def __init__(self, client: Client, name: str, *, origin: str | None = None) -> None:
        self._client, self._name, self._origin = client, name, origin
        self._scope = f"repository:{self._name}:pull,push"
        self.counts = PushCounts()

    def check(self) -> None:
        """Check the permission to push by starting and cancelling an upload. Raises Unauthorized, Unreachable."""
        self._client.budget().run(self._check)

    def blob(self, digest: Digest, content: FileSlice | bytes, *, mount: bool = False) -> None:
        """Upload a blob unless the registry has it; with `mount`, mount it from `origin`. Raises Unreachable."""
        self._client.budget().run(lambda: self._blob(digest, content, mount=mount))

    def manifest(self, document: bytes, version: str) -> Mapping[str, str]:
        """Store a manifest or an index under its tag or digest; return the headers. Raises Unreachable."""
        kind = json.loads(document)["mediaType"]
        path = f"manifests/{version}"
        # A stream can be sent only once: the requests before this one have authenticated.
        response = self._client.budget().run(
            lambda: self._client.call("PUT", f"{self._name}/{path}", self._scope, document, Content_Type=kind)
        )
        self._expect(response, 201, path)
        return response.headers

    def _check(self) -> None:
        started = self._call("POST", "blobs/uploads/")
        self._expect(started, 202, "an upload")
        self._client.call("DELETE", self._upload_url(started), self._scope)

    def _blob(self, digest: Digest, content: FileSlice | bytes, *, mount: bool) -> None:
        """Upload a blob once. A broken upload starts again, because the number of bytes that arrived is unknown."""
        if self._call("HEAD", f"blobs/{digest}").status == 200:
            self.counts.present += 1
            return
        query = {"mount": digest, "from": self._origin} if mount and self._origin else {}
        started = self._call("POST", with_query("blobs/uploads/", query))
        if started.status == 201:
            self.counts.mounted += 1
            return
        self._expect(started, 202, "an upload")
        size = len(content) if isinstance(content, bytes) else content.size
        url = with_query(self._upload_url(started), {"digest": digest})
        # The stated length prevents that a stream is sent in chunks, which some registries refuse.
        body = content if isinstance(content, bytes) else content.open()
        kind = {"Content_Type": "application/octet-stream", "Content_Length": str(size)}
        self._expect(self._client.call("PUT", url, self._scope, body, **kind), 201, f"blob {digest}")
        self.counts.uploaded += 1
        self.counts.bytes += size

    def _call(self, method: str, path: str) -> RegistryResponse:
        return self._client.call(method, f"{self._name}/{path}", self._scope)

    def _expect(self, answer: RegistryResponse, status: int, what: str) -> None:
        if answer.status != status:
            raise Unreachable(f"{self._client.host}/{self._name} refuses {what}: {answer.message}")

    def _upload_url(self, started: RegistryResponse) -> str:
        """Return the URL of a started upload."""
        url = started.headers.get("Location", "")
        if not url:
            raise Unreachable(f"{self._client.host}/{self._name} starts an upload without a Location header")
        return url


def push(
    reference: Reference,
    images: Sequence[tuple[bytes, bytes, Sequence[tuple[Digest, FileSlice, bool]]]],
    index: bytes | None,
    *,
    insecure: bool,
    origin: str | None,
) -> PushCounts:
    """Push images, each a manifest, a config and layers (the bool allows a mount), then write the tag.

    The tag names `index` if there are several platforms. It is written last, so that an incomplete push has no name.
    Raises Unauthorized, Unreachable.
    """
    pusher = Pusher(
        Client(reference.host, path=reference.repository, insecure=insecure), reference.repository, origin=origin
    )
    for manifest, config, layers in images:
        for digest, content, mount in layers:
            pusher.blob(digest, content, mount=mount)
        pusher.blob(sha256(config), config)
        if index is not None:
            pusher.manifest(manifest, sha256(manifest))
    pusher.manifest(index if index is not None else images[0][0], reference.version)
    return pusher.counts
