"""Images that break a rule of their format, and that Docker loads or pulls all the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.images import (
    OCI,
    Built,
    Item,
    descriptor,
    digest,
    folder,
    gzipped,
    hardlink,
    layer,
    story,
    symlink,
    with_names,
)

# Tests that share an engine remove images by their ID: this one is no other's.
NAME = f"odd-{os.getpid()}:1"
BUILT = with_names(story()[0], NAME)
BUILT.config["author"] = NAME
DOCKER = "application/vnd.docker."
Files = dict[str, bytes]


def saved(path: Path, built: Built = BUILT) -> Files:
    """The files of an archive with index.json and manifest.json."""
    import tarfile

    with tarfile.open(built.docker_save(path)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def indexed(text: bytes) -> Callable[[Files], Any]:
    """Beside a good manifest.json an index.json of this text."""
    return lambda files: {**files, "index.json": text}


def listing(**value: Any) -> Callable[[Files], Any]:
    """Beside a good manifest.json an index.json that says this."""
    return indexed(json.dumps({"schemaVersion": 2, **value}).encode())


def entry(change: Callable[[dict[str, Any]], Any]) -> Callable[[Files], Any]:
    """An archive without index.json, whose manifest.json is changed: to other bytes, or to another value."""

    def build(files: Files) -> Files:
        (value,) = json.loads(files["manifest.json"])
        made = change(value)
        text = made if isinstance(made, bytes) else json.dumps([value if made is None else made]).encode()
        return {**_docker(files), "manifest.json": text}

    return build


def _docker(files: Files) -> Files:
    return {name: data for name, data in files.items() if name not in ("index.json", "oci-layout")}


def moved(*links: Item, to: str, late: bool = False) -> Callable[[Files], Any]:
    """The blobs in another folder, to which links lead."""

    def build(files: Files) -> list[Any]:
        blobs = {name.replace("blobs/", to): data for name, data in _docker(files).items()}
        return [blobs, *links] if late else [*links, blobs]

    return build


def linked(*links: Item) -> Callable[[Files], Any]:
    """manifest.json under another name, to which links lead."""
    return lambda files: [{("real" if k == "manifest.json" else k): v for k, v in _docker(files).items()}, *links]


def _other_content(files: Files) -> Files:
    root = json.loads(files["index.json"])["manifests"][0]["digest"]
    return {**files, f"blobs/{root.replace(':', '/')}": b'{"x": 1}'}


def _replaced(files: Files) -> list[Any]:
    good = files.pop("manifest.json")
    return [{"manifest.json": b"[]", "real": good}, _docker(files), symlink("manifest.json", "real")]


# Each is an archive, made of the files of a good one.
ARCHIVES: dict[str, Callable[[Files], Any]] = {
    "an index.json whose manifests are null": listing(manifests=None),
    "an index.json without manifests": listing(),
    "an index.json whose manifests are an object": listing(manifests={}),
    "an index.json that is a list": indexed(b"[]"),
    "an index.json that is null": indexed(b"null"),
    "an index.json of no bytes": indexed(b""),
    "an index.json that is no JSON": indexed(b"\0\1garbage"),
    "an index.json that nests too deep": indexed(b"[" * 10_000),
    "an index.json with no digest": listing(manifests=[{"mediaType": OCI + "manifest.v1+json", "digest": "x"}]),
    "an index.json with a null": listing(manifests=[None]),
    "an index.json with a size that is a text": listing(
        manifests=[{"mediaType": OCI + "manifest.v1+json", "digest": digest(b""), "size": "x"}]
    ),
    "a manifest with the digest of another": _other_content,
    "keys of manifest.json in lower case": entry(lambda e: {key.lower(): value for key, value in e.items()}),
    "text after manifest.json": entry(lambda e: json.dumps([e]).encode() + b" garbage"),
    "a second value in manifest.json": entry(lambda e: json.dumps([e]).encode() + b"[]"),
    "paths from the root": entry(lambda e: e.update(Layers=["/" + path for path in e["Layers"]])),
    "a symlink for the folder of blobs": moved(symlink("blobs", "other"), to="other/"),
    "a symlink that comes after its blobs": moved(symlink("blobs", "other"), to="other/", late=True),
    "blobs written through a symlink": moved(folder("other"), symlink("blobs", "other"), to="blobs/"),
    "a symlink to a symlink": moved(symlink("blobs", "a"), symlink("a", "b/c"), to="b/c/"),
    "a hard link through a symlink": linked(folder("d"), symlink("d/r", "../real"), symlink("e", "d"),
                                            hardlink("manifest.json", "e/r")),
    "a symlink over a file": _replaced,
}  # fmt: skip


def archive(path: Path, name: str) -> Path:
    """Write one of ARCHIVES."""
    made = ARCHIVES[name](saved(path))
    path.write_bytes(layer(*made) if isinstance(made, list) else layer(made))
    return path


Change = Callable[[dict[str, Any]], Any]
"""Changes a JSON object, or returns another."""


def changed(value: dict[str, Any], change: Change) -> dict[str, Any]:
    made = change(value)
    return made if isinstance(made, dict) else value


def typed(media_type: str | None) -> Change:
    """The media type of the config; None leaves it out."""

    def change(manifest: dict[str, Any]) -> None:
        if media_type is None:
            del manifest["config"]["mediaType"]
        else:
            manifest["config"]["mediaType"] = media_type

    return change


def _html_layers(manifest: dict[str, Any]) -> None:
    for item in manifest["layers"]:
        item["mediaType"] = "text/html"


def _odd_rootfs(config: dict[str, Any]) -> None:
    config["ROOTFS"] = {"TYPE": "layers", "Diff_IDs": config.pop("rootfs")["diff_ids"]}


def same(_: dict[str, Any]) -> None:
    """Change nothing."""


CONFIG_TYPES = (
    "application/octet-stream", "text/html", "application/json", "", None, "text/plain", "APPLICATION/JSON",
    DOCKER + "plugin.v1+json", "application/vnd.unknown.config.v1+json",
    OCI + "config.v1+json; charset=utf-8",
)  # fmt: skip
# What is changed of a manifest, and of a config.
MANIFESTS: dict[str, tuple[Change, Change]] = {
    **{f"a config of type {kind}": (typed(kind), same) for kind in CONFIG_TYPES},
    "keys of the manifest in capitals": (lambda m: {key.upper(): item for key, item in m.items()}, same),
    "keys of the config in capitals": (same, _odd_rootfs),
    "a config of size 0": (lambda m: m["config"].update(size=0), same),
    "layers of type text/html": (_html_layers, same),
    "manifests that are null": (lambda m: m.update(manifests=None), same),
}


class Pusher:
    """Stores documents in a registry as they are, right or wrong."""

    def __init__(self, registry: str, repository: str) -> None:
        self.at = f"http://{registry}/v2/{repository}"

    def blob(self, data: bytes) -> None:
        with urlopen(Request(f"{self.at}/blobs/uploads/", method="POST")) as started:
            where = started.headers["Location"]
        mark = "&" if "?" in where else "?"
        kind = {"Content-Type": "application/octet-stream"}
        with urlopen(Request(f"{where}{mark}digest={digest(data)}", data, kind, method="PUT")):
            pass

    def manifest(self, data: bytes, media_type: str, version: str) -> None:
        request = Request(f"{self.at}/manifests/{version}", data, {"Content-Type": media_type}, method="PUT")
        with urlopen(request):
            pass

    def image(self, name: str, kind: str, version: str, built: Built = BUILT) -> None:
        """Push one of MANIFESTS as `kind`, "oci" or "docker"."""
        change, change_config = MANIFESTS[name]
        manifest_type, config_type, layer_type = {
            "oci": (OCI + "manifest.v1+json", OCI + "config.v1+json", OCI + "layer.v1.tar+gzip"),
            "docker": (
                DOCKER + "distribution.manifest.v2+json", DOCKER + "container.image.v1+json",
                DOCKER + "image.rootfs.diff.tar.gzip",
            ),
        }[kind]  # fmt: skip
        layers = [gzipped(data) for data in built.layers]
        config = json.dumps(changed(json.loads(built.config_bytes), change_config)).encode()
        manifest = {
            "schemaVersion": 2, "mediaType": manifest_type, "config": descriptor(config, config_type),
            "layers": [descriptor(data, layer_type) for data in layers],
        }  # fmt: skip
        for data in (*layers, config):
            self.blob(data)
        self.manifest(json.dumps(changed(manifest, change)).encode(), manifest_type, version)
