"""Manifests, configs and indexes that lie, nest, repeat, or are no JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.hostile.archives import saved_bytes
from tests.hostile.case import Build, Case, archive, image_of
from tests.images import OCI, Built, descriptor, digest, image, layer, layout_files, step, write_files

_LAYER = layer({"a.txt": "hello\n"})
_BUILT = image(_LAYER)
_INDEX = OCI + "index.v1+json"
_MANIFEST = OCI + "manifest.v1+json"


def layout(files: Mapping[str, bytes]) -> Build:
    """An OCI layout in a folder."""

    def build(folder: Path) -> str:
        return f"oci:{write_files(folder, files)}"

    return build


def altered(change: Callable[[dict[str, Any]], object], built: Built = _BUILT) -> Build:
    """An OCI layout whose manifest is changed, and has the right digest all the same."""
    blobs, root = built.blobs()
    document = json.loads(blobs.pop(root["digest"]))
    change(document)
    data = json.dumps(document).encode()
    return layout(layout_files({**blobs, digest(data): data}, [descriptor(data, _MANIFEST)]))


def with_config(document: Any) -> Build:
    """An image whose config is this, with the right digest."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    blobs, root = _BUILT.blobs()
    old = json.loads(blobs.pop(root["digest"]))
    old["config"] = descriptor(data, OCI + "config.v1+json")
    text = json.dumps(old).encode()
    return layout(layout_files({**blobs, digest(data): data, digest(text): text}, [descriptor(text, _MANIFEST)]))


def config(**more: Any) -> dict[str, Any]:
    return {**_BUILT.config, **more}


def rooted(*roots: Any) -> Build:
    """A layout whose index.json lists these."""
    return layout(layout_files(_BUILT.blobs()[0], list(roots)))


def index(text: bytes) -> Build:
    return layout({**_BUILT.oci_files(), "index.json": text})


def nested(depth: int, width: int) -> Build:
    """Indexes of indexes, each of which lists the next `width` times."""
    blobs, root = _BUILT.blobs()
    for _ in range(depth):
        data = json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [root] * width}).encode()
        blobs[digest(data)] = data
        root = descriptor(data, _INDEX)
    return layout(layout_files(blobs, [root]))


def of_itself() -> Build:
    """An index that lists itself, as far as digests allow: it has not the digest that it is listed under."""
    name = "sha256:" + "a" * 64
    entry = {"mediaType": _INDEX, "digest": name, "size": 100}
    data = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    return layout(layout_files({name: data}, [entry]))


def lying(key: str, value: Any) -> Build:
    return altered(lambda document: document["layers"][0].update({key: value}))


def blob(replace_with: Callable[[Path], None]) -> Build:
    """A layout whose layer is replaced by something that is no plain file, or another."""

    def build(folder: Path) -> str:
        write_files(folder, _BUILT.oci_files())
        path = folder / "blobs/sha256" / digest(_LAYER)[7:]
        path.unlink()
        replace_with(path)
        return f"oci:{folder}"

    return build


def deep(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = {"a": [value]}
    return value


_DEEP_TEXT = b'{"a":' * 100_000 + b"1" + b"}" * 100_000

CASES = (
    Case("an index that lists itself", of_itself(), 2, "digest is"),
    Case("indexes ten deep", nested(10, 1), 2, "(limit index-depth)"),
    Case("indexes that list the next a thousand times", nested(4, 1000), 0),
    Case("an index of 2,000 manifests", nested(1, 2000), 2, "(limit manifests)"),
    Case("an index that lists nothing", rooted(), 2, "no platform"),
    Case("an index that is a list", index(b"[]"), 2, "expected a JSON object"),
    Case("an index that is no JSON", index(b"{"), 2, "not JSON"),
    Case("an index of invalid UTF-8", index(b'{"manifests": ["\xff"]}'), 2, "not JSON"),
    Case("an index 100,000 deep", index(_DEEP_TEXT), 2, "index.json"),
    Case("an index of 33 MB", index(b"{" + b" " * (33 << 20) + b"}"), 2, "too large"),
    Case("a descriptor that is a text", rooted("sha256"), 2, "not a JSON object"),
    Case("a descriptor without a digest", rooted({"mediaType": _MANIFEST, "size": 1}), 2, "digest"),
    Case("a digest that is a number", rooted({"mediaType": _MANIFEST, "digest": 5, "size": 1}), 2, "digest"),
    Case("a digest that leads upward", rooted({"digest": "sha256:../../../../etc/passwd", "size": 1}), 2, "digest"),
    Case("a digest of an unknown kind", rooted({"digest": "md5:" + "a" * 32, "size": 1}), 2, "digest"),
    Case("a manifest that is not there", rooted(descriptor(b"nothing", _MANIFEST)), 2, "lacks blob"),
    Case("a wrong digest of a layer", lying("digest", digest(b"other")), 2, "lacks blob"),
    Case("a wrong size of a layer", lying("size", 5), 2, "size is"),
    Case("a negative size of a layer", lying("size", -5), 2, "size is -5"),
    Case("a size that is a text", lying("size", "5"), 2, "size is '5'"),
    Case("a size that is infinite", lying("size", float("inf")), 2, "size is inf"),
    Case("a size of 10^4000", lying("size", 10**4000), 2, "size is"),
    Case("5,000 layers", altered(lambda d: d.update(layers=d["layers"] * 5000)), 2, "5000 layers"),
    Case("layers that are no list", altered(lambda d: d.update(layers={})), 2, "layers must be a list"),
    Case("a manifest without layers", altered(lambda d: d.pop("layers")), 2, "0 layers"),
    Case("schema 1", altered(lambda d: (d.pop("layers"), d.update(schemaVersion=1))), 2, "schema 1"),
    Case("a config that is a list", with_config([]), 0),
    Case("a config that is no JSON", with_config(b"{{"), 0),
    Case("a config of another image", with_config(image(layer({"b": b"x"})).config), 2, "diff_id is"),
    Case("a config with two layers for one", with_config(config(rootfs={"diff_ids": [digest(b"")] * 2})), 2, "2"),
    Case("a diff_id that is none", with_config(config(rootfs={"diff_ids": ["../x"]})), 2, "diff_ids"),
    Case("diff_ids that are numbers", with_config(config(rootfs={"diff_ids": [5]})), 2, "diff_ids"),
    Case("a history that is a text", with_config(config(history="x" * 100)), 2, "must be lists"),
    Case("a history of odd things", with_config(config(history=[5, None, {"created": 5, "created_by": []}])), 0),
    Case("a history of 50,000 steps", with_config(config(history=[step("RUN x", empty=True)] * 50_000)), 0, "", 250),
    Case("a config 450 deep", with_config(config(config={"Labels": deep(450)})), 0),
    Case("labels that are a list", with_config(config(config={"Labels": ["a"], "Env": {"a": "b"}})), 0),
    Case("half a surrogate", with_config(config(
        config={"Env": ["A=\ud800"], "Labels": {"\udfff": "\ud800"}}, history=[step("RUN \ud800")], os="\ud800",
    )), 0),
    Case("a pipe for a layer", blob(os.mkfifo), 2, "not a plain file"),
    Case("a device for a layer", blob(lambda path: path.symlink_to("/dev/zero")), 2, "not a plain file"),
    Case("a folder for a layer", blob(Path.mkdir), 2, "not a plain file"),
    Case("a link to another file", blob(lambda path: path.symlink_to("/etc/passwd")), 2, "expected"),
    Case("a link that goes round", blob(lambda path: path.symlink_to(path.name)), 2, ""),
    Case("manifest.json that is an object", archive(saved_bytes(manifest=b"{}")), 2, "want a list"),
    Case("manifest.json of numbers", archive(saved_bytes(manifest=b"[1, 2]")), 2, "want a list"),
    Case("manifest.json 100,000 deep", archive(saved_bytes(manifest=b"[" * 100_000)), 2, "manifest.json"),
    Case("members that are no texts", archive(saved_bytes(
        manifest=b'[{"Config": 5, "Layers": [null], "RepoTags": [{}]}]')), 2, "must name members"),
    Case("layers that are a text", archive(saved_bytes(
        manifest=b'[{"Config": "config.json", "Layers": "abc", "RepoTags": 7}]')), 2, ""),
    Case("a platform of odd things", image_of(_LAYER, architecture="\x1b[31m\u202e<b>")  , 0),
)  # fmt: skip
