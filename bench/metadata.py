"""An image's places outside its files: config, history, annotations, attestations, a build cache's config."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.images import OCI, Built, descriptor, digest, layer, layout_files, step

PLACES = (
    "environment",
    "command",
    "build argument",
    "history comment",
    "history author",
    "label",
    "onbuild",
    "annotation",
    "build attestation",
    "sbom attestation",
    "cache config",
)
ONCE = ("author", "comment")
"""Places of which an image has one each."""


@dataclass
class Metadata:
    """Collects texts; `put` says where a finding must see each. `history` begins with the steps of the layers."""

    history: list[dict[str, Any]]
    env: list[str] = field(default_factory=lambda: ["PATH=/usr/bin:/bin"])
    labels: dict[str, str] = field(default_factory=dict)
    onbuild: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    once: dict[str, str] = field(default_factory=dict)
    build_arguments: dict[str, str] = field(default_factory=dict)
    packages: list[dict[str, str]] = field(default_factory=list)
    cached: list[dict[str, str]] = field(default_factory=list)

    def put(self, place: str, number: int, text: str) -> str:
        """Put a text in a place and return its name in a report."""
        name = f"plant-{number}"
        match place:
            case "author" | "comment":
                self.once[place] = text
                return place
            case "command":
                return self._step(f"RUN /bin/sh -c setup {text} # buildkit", "created_by")
            case "build argument":
                return self._step(f"RUN |1 PLANT_{number}={text} /bin/sh -c make # buildkit", "created_by")
            case "history comment" | "history author":
                return self._step("CMD []", place.removeprefix("history "), text)
            case "label":
                self.labels[name] = text
                return f"config.Labels.{name}"
            case "onbuild":
                self.onbuild.append(f"RUN {text}")
                return f"config.OnBuild[{len(self.onbuild) - 1}]"
            case "annotation":
                self.annotations[name] = text
                return f"annotations.{name}"
            case "build attestation":
                self.build_arguments[f"build-arg:{name}"] = text
                return f"attestation[0].predicate.buildDefinition.externalParameters.request.args.build-arg:{name}"
            case "sbom attestation":
                self.packages.append({"name": name, "downloadLocation": text})
                return f"attestation[1].predicate.packages[{len(self.packages) - 1}].downloadLocation"
            case "cache config":
                self.cached.append({"digest": name, "description": text})
                return f"config.records[{len(self.cached) - 1}].description"
        self.env.append(f"PLANT_{number}={text}")
        return f"config.Env[{len(self.env) - 1}]"

    def _step(self, created_by: str, key: str, text: str | None = None) -> str:
        made = step(created_by, empty=True)
        self.history.append(made if text is None else {**made, key: text})
        return f"history[{len(self.history) - 1}].{key}"

    @property
    def config(self) -> dict[str, Any]:
        """The part of an image's config that is a container's."""
        return {"Env": self.env, "Labels": self.labels, "OnBuild": self.onbuild}

    def layout(self, built: Built) -> dict[str, bytes]:
        """Return the OCI layout of an image with its attestations, and of the cache of its build beside it."""
        blobs, root = built.blobs("gzip")
        args = {"externalParameters": {"request": {"args": self.build_arguments}}}
        statements = [{"predicate": {"buildDefinition": args}}, {"predicate": {"packages": self.packages}}]
        bodies = [json.dumps(statement).encode() for statement in statements]
        attestation = _manifest([descriptor(body, "application/vnd.in-toto+json") for body in bodies])
        note = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": root["digest"]}
        cached = layer({"cached": "x\n"})
        records = json.dumps({"layers": [], "records": self.cached}).encode()
        cache = _index(
            descriptor(cached, OCI + "layer.v1.tar"), descriptor(records, "application/vnd.buildkit.cacheconfig.v0")
        )
        blobs |= {digest(data): data for data in (*bodies, attestation, b"{}", cached, records, cache)}
        roots = [
            root,
            descriptor(attestation, OCI + "manifest.v1+json", annotations=note),
            descriptor(cache, OCI + "index.v1+json"),
        ]
        return layout_files(blobs, roots)


def _manifest(layers: Sequence[dict[str, Any]]) -> bytes:
    config = descriptor(b"{}", OCI + "config.v1+json")
    return json.dumps({"schemaVersion": 2, "config": config, "layers": list(layers)}).encode()


def _index(*manifests: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": manifests}).encode()
