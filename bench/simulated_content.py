"""Content of a simulated registry: manifests and configs of any number of images, without layer bytes.

Layers are shared as in practice: three of five come from one of 60 bases, one from the repository, one is the image's
own. Digests of layers are made up, because nobody asks for their bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

BASES, TAGS = 60, 25
SECRET_EVERY = 50
"""One image in so many has a secret in its own layer."""

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_CREATED = "2026-11-20T05:00:00Z"
_STEPS = ("ADD rootfs.tar.xz /", "RUN apt-get install -y ca-certificates", "ENV PATH=/usr/local/bin:/usr/bin",
          "COPY requirements.txt . && RUN pip install -r requirements.txt", "COPY . /srv/app")  # fmt: skip


@dataclass(frozen=True, slots=True)
class FakeLayer:
    """A layer that exists by name only. `secret` is the number of the secret that it adds, None for most layers."""

    digest: str
    diff_id: str
    size: int
    secret: int | None = None


@dataclass(frozen=True, slots=True)
class FakeImage:
    """Documents of an image, and its layers."""

    digest: str
    manifest: bytes
    config_digest: str
    config: bytes
    layers: tuple[FakeLayer, ...]


@dataclass(frozen=True, slots=True)
class FakeRegistry:
    """A registry of `images` images; repositories have 25 tags each."""

    images: int

    @property
    def repositories(self) -> tuple[str, ...]:
        """Names of the repositories, sorted."""
        return tuple(f"team{number // 50:03}/app{number:05}" for number in range(max(1, self.images // TAGS)))

    def image(self, repository: int, tag: int) -> FakeImage:
        """Return one image; a tag from 25 on is a later release."""
        layers = self.layers(repository, tag)
        history = [{"created": _CREATED, "created_by": step, "empty_layer": step.startswith("ENV")} for step in _STEPS]
        history.insert(2, {"created": _CREATED, "created_by": "RUN useradd app"})
        config = _json({
            "architecture": "amd64", "os": "linux", "created": _CREATED,
            "config": {"Env": ["PATH=/usr/local/bin:/usr/bin"], "Cmd": ["/srv/app/run"]},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": history,
        })  # fmt: skip
        described = [{"mediaType": _LAYER, "digest": layer.digest, "size": layer.size} for layer in layers]
        config_digest = _digest(config)
        manifest = _json({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": _CONFIG, "digest": config_digest, "size": len(config)}, "layers": described,
        })  # fmt: skip
        return FakeImage(_digest(manifest), manifest, config_digest, config, layers)

    def layers(self, repository: int, tag: int) -> tuple[FakeLayer, ...]:
        """Return the layers of an image, lowest first."""
        base, number = repository % BASES, repository * TAGS + tag
        secret = (
            number // SECRET_EVERY % max(1, self.images // SECRET_EVERY // 2) if number % SECRET_EVERY == 0 else None
        )
        return (
            *(_layer(f"base {base} {position}") for position in range(3)),
            _layer(f"repository {repository}"),
            _layer(f"image {repository} {tag}", secret),
        )

    def all_layers(self) -> Iterator[FakeLayer]:
        """Yield every layer once, those of the next release of the first repository too."""
        known = set[str]()
        tags = [(number, tag) for number in range(len(self.repositories)) for tag in range(TAGS)]
        for repository, tag in [*tags, (0, TAGS)]:
            for layer in self.layers(repository, tag):
                if layer.digest not in known:
                    known.add(layer.digest)
                    yield layer


def _layer(name: str, secret: int | None = None) -> FakeLayer:
    return FakeLayer(_digest(name.encode()), _digest(f"diff_id of {name}".encode()), 1000 + len(name), secret)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
