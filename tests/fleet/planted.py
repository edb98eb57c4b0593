"""Registry content, built in memory and pushed: many images with shared base layers, some with planted secrets."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.images import OCI, Built, descriptor, digest, gzipped, image, layer, step, token, whiteout


@dataclass
class Content:
    """What was pushed, and what a sweep must find: digests of layers, and secrets by repository."""

    layers: dict[str, int] = field(default_factory=dict)
    images: set[tuple[str, str]] = field(default_factory=set)
    secrets: dict[str, set[str]] = field(default_factory=dict)

    @property
    def all_secrets(self) -> set[str]:
        return set().union(*self.secrets.values())


class Remote:
    """Pushes to a registry as a client without patience would."""

    def __init__(self, address: str, session: requests.Session | None = None, scheme: str = "http") -> None:
        self.base = f"{scheme}://{address}/v2"
        self.session = session or requests.Session()
        self.session.trust_env = False
        self._there: set[tuple[str, str]] = set()
        self._pushing: dict[str, threading.Lock] = {}

    def blob(self, repository: str, data: bytes) -> None:
        name = digest(data)
        with self._pushing.setdefault(name, threading.Lock()):  # the registry loses one that comes twice at a time
            self._push_blob(repository, name, data)

    def _push_blob(self, repository: str, name: str, data: bytes) -> None:
        if (repository, name) in self._there:
            return
        started = self.session.post(f"{self.base}/{repository}/blobs/uploads/")
        assert started.status_code == 202, started.text
        where = started.headers["Location"]
        where += ("&" if "?" in where else "?") + "digest=" + name
        done = self.session.put(where, data=data, headers={"Content-Type": "application/octet-stream"})
        assert done.status_code == 201, done.text
        self._there.add((repository, name))

    def manifest(self, repository: str, version: str, document: Mapping[str, Any] | bytes) -> str:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        kind = json.loads(data)["mediaType"]
        url = f"{self.base}/{repository}/manifests/{version}"
        done = self.session.put(url, data=data, headers={"Content-Type": kind})
        assert done.status_code == 201, done.text
        return digest(data)

    def push(self, repository: str, version: str, built: Built) -> dict[str, Any]:
        """Push an image under a tag; return its descriptor."""
        blobs, root = built.blobs("gzip")
        for name, data in blobs.items():
            if name != root["digest"]:
                self.blob(repository, data)
        self.manifest(repository, version, blobs[root["digest"]])
        return root

    def index(self, repository: str, tag: str, children: list[dict[str, Any]]) -> str:
        document = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": children}
        return self.manifest(repository, tag, document)

    def delete(self, repository: str, version: str) -> None:
        done = self.session.delete(f"{self.base}/{repository}/manifests/{version}")
        assert done.status_code == 202, done.text


def base(number: int, size: int = 20_000) -> bytes:
    """A base layer that many images share."""
    noise = random.Random(number).randbytes(size // 2)
    files = {f"usr/lib/base{number}/{name}": noise.hex()[:200] for name in range(20)}
    return layer({"etc/os-release": f"ID=base{number}\n", **files}, {f"usr/lib/base{number}/blob": noise})


def application(base_number: int, name: str, secret: str | None, *, hidden: bool = True) -> Built:
    """An image on a base; a secret is added by one layer, and deleted by the next where it is hidden."""
    files = {f"app/{name}.txt": f"this is {name}\n"}
    layers = [base(base_number), layer({**files, **({"app/.env": f"GITHUB_TOKEN={secret}\n"} if secret else {})})]
    if secret and hidden:
        layers.append(layer(whiteout("app/.env")))
    return image(*layers, history=[step(f"RUN step {name} {number}") for number in range(len(layers))])


def applications(repositories: int, tags: int, bases: int = 3) -> Iterator[tuple[str, str, Built, str | None]]:
    """Yield repository, tag, image and its secret: one in two images has one, some of them the same."""
    for number in range(repositories):
        repository = f"team{number % 3}/app{number}"
        for version in range(tags):
            seed = None if version % 2 else (7 if version == 0 else 1000 + number * 100 + version)
            secret = None if seed is None else token(seed)
            yield repository, f"1.{version}", application(version % bases, f"{number}-{version}", secret), secret


def fill(remote: Remote, repositories: int = 10, tags: int = 4) -> Content:
    """Push `repositories` times `tags` images."""
    content = Content()
    made = list(applications(repositories, tags))
    with ThreadPoolExecutor(4) as pool:
        roots = list(pool.map(lambda item: remote.push(*item[:3]), made))
    for (repository, _, built, secret), root in zip(made, roots, strict=True):
        content.images.add((repository, root["digest"]))
        content.layers.update({digest(gzipped(data)): len(gzipped(data)) for data in built.layers})
        if secret:
            content.secrets.setdefault(repository, set()).add(secret)
    return content


__all__ = ["Content", "Remote", "application", "applications", "base", "descriptor", "fill"]
