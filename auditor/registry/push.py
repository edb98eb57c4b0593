"""Bringing an image into a registry: only what it lacks is sent. Source: OCI distribution-spec v1.1, "Push"."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urlencode

from auditor.codec.file_slices import FileSlice
from auditor.core.digests import Digest
from auditor.core.errors import Unreachable
from auditor.registry.client import Answer, Client
from auditor.registry.reference import Reference


@dataclass(slots=True)
class Sent:
    """How many blobs were uploaded, were mounted from another repository, or were there already; bytes uploaded."""

    uploaded: int = 0
    mounted: int = 0
    present: int = 0
    bytes: int = 0


class Pusher:
    """Sends the blobs and manifests of one repository. `origin` is a repository of the same host to mount from."""

    def __init__(self, reference: Reference, *, insecure: bool = False, origin: str | None = None) -> None:
        self._client = Client(reference.host, insecure=insecure)
        self._name, self._origin = reference.repository, origin
        self._scope = f"repository:{self._name}:pull,push"
        self.sent = Sent()

    def check(self) -> None:
        """See that we may push: an upload is begun, and given up. Raises Unauthorized, Unreachable."""
        self._client.budget().run(self._check)

    def blob(self, digest: Digest, content: FileSlice | bytes, *, mount: bool = False) -> None:
        """See that the registry has a blob; with `mount` it may come from `origin`. Raises Unreachable."""
        self._client.budget().run(lambda: self._blob(digest, content, mount=mount))

    def manifest(self, document: bytes, version: str) -> None:
        """Store a manifest or an index under its tag or digest. Raises Unreachable."""
        kind = json.loads(document)["mediaType"]
        path = f"manifests/{version}"
        # A login may be asked for: that is settled by the requests before this one.
        response = self._client.budget().run(
            lambda: self._client.call("PUT", f"{self._name}/{path}", self._scope, document, Content_Type=kind)
        )
        self._expect(response, 201, path)

    def _check(self) -> None:
        started = self._call("POST", "blobs/uploads/")
        self._expect(started, 202, "an upload")
        self._client.call("DELETE", self._place(started), self._scope)

    def _blob(self, digest: Digest, content: FileSlice | bytes, *, mount: bool) -> None:
        """Try once: an upload that broke off is begun again, since how much of it arrived is not known."""
        if self._call("HEAD", f"blobs/{digest}").status == 200:
            self.sent.present += 1
            return
        query = {"mount": digest, "from": self._origin} if mount and self._origin else {}
        started = self._call("POST", f"blobs/uploads/?{urlencode(query)}")
        if started.status == 201:
            self.sent.mounted += 1
            return
        self._expect(started, 202, "an upload")
        size = len(content) if isinstance(content, bytes) else content.size
        where = self._place(started)
        where += ("&" if "?" in where else "?") + urlencode({"digest": digest})
        body: Any = content
        if isinstance(content, FileSlice):
            body = _Sized(content.open(), size) if size else b""
        kind = {"Content_Type": "application/octet-stream", "Content_Length": str(size)}
        self._expect(self._client.call("PUT", where, self._scope, body, **kind), 201, f"blob {digest}")
        self.sent.uploaded += 1
        self.sent.bytes += size

    def _call(self, method: str, path: str) -> Answer:
        return self._client.call(method, f"{self._name}/{path}", self._scope)

    def _expect(self, answer: Answer, status: int, what: str) -> None:
        if answer.status != status:
            raise Unreachable(f"{self._client.host}/{self._name} refuses {what}: {answer.words}")

    def _place(self, started: Answer) -> str:
        """Return where the registry wants an upload."""
        place = started.headers.get("Location", "")
        if not place:
            raise Unreachable(f"{self._client.host}/{self._name} takes an upload, and does not say where")
        return place


class _Sized:
    """A stream that knows its length, so that it is not sent in chunks, which not all registries take."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._left = stream, size

    def __len__(self) -> int:
        return self._left

    def read(self, count: int = -1) -> bytes:
        data = self._stream.read(count if count >= 0 else self._left)
        self._left -= len(data)
        return data


def push(
    reference: Reference,
    images: Sequence[tuple[bytes, bytes, Sequence[tuple[Digest, FileSlice, bool]]]],
    index: bytes | None,
    *,
    insecure: bool,
    origin: str | None,
) -> Sent:
    """Push images, each with its manifest, its config and its layers (the bool: may be mounted), then name them.

    `index` is what the tag names where there are several platforms. The tag comes last: what breaks off before it
    leaves nothing that has a name. Raises Unauthorized, Unreachable.
    """
    from auditor.codec.hashing import sha256

    pusher = Pusher(reference, insecure=insecure, origin=origin)
    for manifest, config, layers in images:
        for digest, content, mount in layers:
            pusher.blob(digest, content, mount=mount)
        pusher.blob(sha256(config), config)
        if index is not None:
            pusher.manifest(manifest, sha256(manifest))
    pusher.manifest(index if index is not None else images[0][0], reference.version)
    return pusher.sent
