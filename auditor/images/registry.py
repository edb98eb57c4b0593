"""A registry, by the OCI distribution API: no engine needed. Source: OCI distribution-spec v1.1."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, replace
from typing import BinaryIO, ClassVar

import requests
from urllib3.exceptions import HTTPError

from auditor.codec.verify import verified_document
from auditor.errors import ImageError, NotFound, Unreachable
from auditor.images import manifest
from auditor.images.archive import sha256
from auditor.images.client import Client
from auditor.images.login import reason
from auditor.images.manifest import ACCEPT, Descriptor, Origin
from auditor.images.reference import Reference
from auditor.images.source import Image
from auditor.model import Digest

_MAX_NAMES = 1_000_000  # tags of a repository, repositories of a registry
_CATALOG = "registry:catalog:*"
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_KINDS = frozenset(ACCEPT.split(", "))


def read_images(reference: Reference, origin: Origin, *, insecure: bool = False) -> tuple[Image, ...]:
    """Read an image's manifests from its registry; layers are fetched when they are opened.

    Raises NotFound, Unauthorized, Unreachable, Damaged.
    """
    repository = Repository(Client(reference.host, insecure=insecure), reference.repository)
    images = manifest.images(repository, [repository.resolve(reference)], origin)
    return tuple(image if image.names else replace(image, names=(str(reference),)) for image in images)


def repositories(client: Client) -> Iterator[str]:
    """List the catalog, page by page. Raises NotFound or Unauthorized where the registry keeps none, Unreachable."""
    yield from _listed(client, "_catalog?n=1000", _CATALOG, "repositories")


class Repository:
    """The manifest.Store of one repository. `known` are documents by digest, which repositories may share."""

    def __init__(self, client: Client, name: str, known: MutableMapping[Digest, bytes] | None = None) -> None:
        self.client, self.name = client, name
        self._scope = f"repository:{name}:pull"
        self._known: MutableMapping[Digest, bytes] = {} if known is None else known

    def resolve(self, reference: Reference) -> Descriptor:
        """Fetch the manifest that a tag or digest names. Raises NotFound, Damaged."""
        try:
            data, response = self._document(f"manifests/{reference.version}", ACCEPT)
        except NotFound as exc:
            raise NotFound(f"docker://{reference}: no such image ({exc})") from None
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        # Of Docker's schema 1 the digest stated is not that of the bytes, which hold their signature.
        stated = _digest(response.headers.get("Docker-Content-Digest", "")) if media_type in _KINDS else None
        verified_document(data, reference.digest or stated, f"docker://{reference}")
        digest = reference.digest or stated or sha256(data)
        self._known[digest] = data
        return Descriptor(media_type, digest, len(data), {}, None)

    def look_up(self, tag: str) -> Digest | None:
        """Return the digest that a tag names, without its manifest; None where the registry doesn't say.

        Raises NotFound, Unauthorized, Unreachable.
        """
        response = self.client.head(f"{self.name}/manifests/{tag}", self._scope, accept=ACCEPT)
        return _digest(response.headers.get("Docker-Content-Digest", ""))

    def document(self, descriptor: Descriptor) -> bytes:
        """Fetch and verify one JSON blob or manifest."""
        data = self._known.get(descriptor.digest)
        if data is None:
            is_manifest = descriptor.media_type in _KINDS
            path = f"{'manifests' if is_manifest else 'blobs'}/{descriptor.digest}"
            data, _ = self._document(path, ACCEPT if is_manifest else "*/*")
            verified_document(data, descriptor.digest, f"{self.client.host}/{self.name}: {path}")
            self._known[descriptor.digest] = data
        return data

    def content(self, descriptor: Descriptor) -> RemoteBlob:
        """Point to a layer; nothing is fetched yet."""
        return RemoteBlob(self, descriptor.digest)

    def tags(self) -> list[str]:
        """List the tags, all pages of the list. Raises NotFound, Unauthorized, Unreachable."""
        names = _listed(self.client, f"{self.name}/tags/list?n=1000", self._scope, "tags")
        return [name for name in names if _TAG.fullmatch(name)]

    def open_blob(self, digest: Digest) -> BinaryIO:
        """Stream one blob as it is stored."""
        response = self.client.get(f"{self.name}/blobs/{digest}", self._scope, stream=True)
        return io.BufferedReader(_Response(response, self.client), 1 << 16)

    def _document(self, path: str, accept: str) -> tuple[bytes, requests.Response]:
        return self.client.document(f"{self.name}/{path}", self._scope, accept=accept)


@dataclass(frozen=True, slots=True)
class RemoteBlob:
    """A layer in a registry, which is asked for it by its digest."""

    addressed_by_digest: ClassVar[bool] = True

    repository: Repository
    digest: Digest

    def open(self) -> BinaryIO:
        """Start the download. Raises NotFound, Unauthorized, Unreachable."""
        return self.repository.open_blob(self.digest)


class _Response(io.RawIOBase):
    def __init__(self, response: requests.Response, client: Client) -> None:
        self._response, self._client = response, client

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._client.check()
        try:
            return int(self._response.raw.readinto(buffer))
        except (HTTPError, OSError) as exc:
            raise Unreachable(f"registry {self._client.host} breaks off a download: {reason(exc)}") from exc

    def close(self) -> None:
        self._response.close()
        super().close()


def _listed(client: Client, path: str, scope: str, key: str) -> Iterator[str]:
    """Follow a list over its pages."""
    count, seen = 0, set[str]()
    while path and path not in seen and count < _MAX_NAMES:
        seen.add(path)
        data, response = client.document(path, scope)
        names = manifest.parse_object(data, f"{client.host}: {key}").get(key)
        for name in names if isinstance(names, list) else ():
            if isinstance(name, str):
                count += 1
                yield name
        path = response.links.get("next", {}).get("url", "")


def _digest(text: str) -> Digest | None:
    try:
        return Digest(text)
    except ImageError:
        return None
