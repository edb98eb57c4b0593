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
    """A hard link without a target, which no engine loads."""


def unpacked(layers: Iterable[bytes]) -> Shown:
    """Unpack each tar by itself, and lay it over those before."""
    tree: Shown = {}
    for data in layers:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", errors="surrogateescape") as tar:
            members = [(member, _body(tar, member)) for member in tar]
        own: Shown = {}
        gone: set[str] = set()
        emptied: set[str] = set()
        for member, body in members:
            name = _real(own, member.name.strip("/"))
            folder, _, base = name.rpartition("/")
            if base == ".wh..wh..opq":
                emptied |= {folder} if folder and folder not in gone else set()
            elif base.startswith(".wh."):
                gone.add(f"{folder}/{base[4:]}" if folder else base[4:])
            elif name not in ("", "."):
                _write(own, tree, name, member, body)
                gone -= {name} if member.isdir() else set()
        for marker in [*gone, *(folder + "/x" for folder in emptied)]:
            _parents(own, marker)
        _lay(own, tree, gone, emptied)
    return tree


def _real(own: Shown, name: str) -> str:
    """Follow the symbolic links among a name's parents, which are relative here; in a loop none."""
    folder, _, base = name.rpartition("/")
    names, real, left = folder.split("/")[::-1] if folder else [], list[str](), 40
    while names:
        one = names.pop()
        if one == "..":
            real = real[:-1]
            continue
        link = own.get("/".join([*real, one]), {}).get("link")
        if link is None:
            real.append(one)
        elif left:
            names, left = names + link.split("/")[::-1], left - 1
        else:
            return name
    return "/".join([*real, base])


def _lay(own: Shown, tree: Shown, gone: set[str], emptied: set[str]) -> None:
    """Change the tree to what an overlay of it and a layer shows."""
    for path in [p for p in tree if any(p.startswith(folder + "/") for folder in emptied)]:
        del tree[path]
    for path in gone:
        _drop(tree, path)
    for path, node in own.items():
        if not node["kind"] == tree.get(path, {"kind": ""})["kind"] == "folder":
            _drop(tree, path)
        tree[path] = node


def _body(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member) if member.isreg() else None
    return stream.read() if stream else b""


def _drop(tree: Shown, victim: str) -> None:
    for path in [p for p in tree if p == victim or p.startswith(victim + "/")]:
        del tree[path]


def _parents(tree: Shown, name: str) -> None:
    for parent in itertools.accumulate(name.split("/")[:-1], lambda a, b: f"{a}/{b}"):
        if tree.get(parent, IMPLIED)["kind"] != "folder":
            _drop(tree, parent)
        tree.setdefault(parent, dict(IMPLIED))


def _write(tree: Shown, below: Shown, name: str, member: tarfile.TarInfo, body: bytes) -> None:
    _parents(tree, name)
    link = _real(tree, member.linkname) if member.islnk() else ""
    target = tree.get(link, below.get(link))
    if not (member.isdir() and tree.get(name, {"kind": ""})["kind"] == "folder"):
        _drop(tree, name)
    xattrs = {k: v for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")}
    shown: dict[str, Any] = {"mode": member.mode, "uid": member.uid, "gid": member.gid, "mtime": float(member.mtime)}
    if member.islnk():
        if target is None or target["kind"] == "folder" or link == name:
            raise Refused
        if target["kind"] == "symlink":  # its mode and time stay
            shown = {"uid": member.uid, "gid": member.gid}
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
