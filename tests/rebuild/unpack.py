"""What an engine makes of layers, by `tarfile` and a dictionary: nothing here is shared with the code under test."""

from __future__ import annotations

import io
import itertools
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Shown = dict[str, dict[str, Any]]
"""By path what a file system shows; hard links of one file share an object `inode`."""
IMPLIED = {"kind": "folder", "mode": 0o755, "uid": 0, "gid": 0, "mtime": 0.0, "xattrs": {}}


class Refused(Exception):
    """A hard link that leads nowhere: no engine loads such an image."""


def unpacked(layers: Iterable[bytes]) -> Shown:
    """Unpack whole tars over one another."""
    tree: Shown = {}
    for data in layers:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", errors="surrogateescape") as tar:
            members = [(member, _body(tar, member)) for member in tar]
        # A marker makes the folder that it stands in, also where a whiteout beside it removes that of lower layers.
        for name in sorted((m.name.strip("/") for m, _ in members), key=lambda name: name.endswith(".wh..wh..opq")):
            _hide(tree, name)
        for member, body in members:
            name = member.name.strip("/")
            if not name.rpartition("/")[2].startswith(".wh.") and name not in ("", "."):
                _write(tree, name, member, body)
    return tree


def _body(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member) if member.isreg() else None
    return stream.read() if stream else b""


def _hide(tree: Shown, name: str) -> None:
    folder, _, base = name.rpartition("/")
    if base == ".wh..wh..opq":
        _parents(tree, folder + "/x" if folder else "x")
        for path in [p for p in tree if p.startswith(folder + "/") or not folder]:
            del tree[path]
    elif base.startswith(".wh."):
        _parents(tree, name)
        _drop(tree, f"{folder}/{base[4:]}" if folder else base[4:])


def _drop(tree: Shown, victim: str) -> None:
    for path in [p for p in tree if p == victim or p.startswith(victim + "/")]:
        del tree[path]


def _parents(tree: Shown, name: str) -> None:
    for parent in itertools.accumulate(name.split("/")[:-1], lambda a, b: f"{a}/{b}"):
        if tree.get(parent, IMPLIED)["kind"] != "folder":
            _drop(tree, parent)
        tree.setdefault(parent, dict(IMPLIED))


def _write(tree: Shown, name: str, member: tarfile.TarInfo, body: bytes) -> None:
    _parents(tree, name)
    target = tree.get(member.linkname) if member.islnk() else None
    if not (member.isdir() and tree.get(name, {"kind": ""})["kind"] == "folder"):
        _drop(tree, name)
    xattrs = {k: v for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")}
    shown: dict[str, Any] = {"mode": member.mode, "uid": member.uid, "gid": member.gid, "mtime": float(member.mtime)}
    if member.islnk():
        if target is None or target["kind"] == "folder" or member.linkname == name:
            raise Refused
        target |= {**shown, "xattrs": {**target.get("xattrs", {}), **xattrs}}
        tree[name] = target
        return
    kind = {b"5": "folder", b"2": "symlink", b"3": "char", b"4": "block", b"6": "fifo"}.get(member.type, "file")
    more: dict[str, Any] = {"link": member.linkname} if kind == "symlink" else {}
    if kind in ("char", "block"):
        more = {"device": (member.devmajor, member.devminor)}
    tree[name] = {"kind": kind, **shown, "xattrs": xattrs, **more, **({"data": body} if kind == "file" else {})}


def comparable(tree: Shown) -> Mapping[str, Any]:
    """Return a tree that compares by value, hard links by the first of their names."""
    first: dict[int, str] = {}
    for path in sorted(tree):
        first.setdefault(id(tree[path]), path)
    return {path: {**node, "inode": first[id(node)]} for path, node in sorted(tree.items())}


def layers_of(archive: bytes) -> Sequence[tuple[list[bytes], dict[str, Any]]]:
    """Return the uncompressed layers and the config of each image of a written archive."""
    import gzip
    import json

    import zstandard

    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        files = {member.name: _body(tar, member) for member in tar}
    found = []

    def plain(data: bytes) -> bytes:
        if data[:2] == b"\x1f\x8b":
            return gzip.decompress(data)
        return (
            zstandard.ZstdDecompressor().decompressobj().decompress(data) if data[:4] == b"\x28\xb5\x2f\xfd" else data
        )

    def blob(digest: str) -> bytes:
        return files["blobs/" + digest.replace(":", "/")]

    def follow(document: dict[str, Any]) -> None:
        for child in document.get("manifests", ()):
            follow(json.loads(blob(child["digest"])))
        if "layers" in document:
            layers = [plain(blob(layer["digest"])) for layer in document["layers"]]
            found.append((layers, json.loads(blob(document["config"]["digest"]))))

    follow(json.loads(files["index.json"]))
    return found
