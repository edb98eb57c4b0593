"""Images built in memory: `image(layer({"app/.env": b"…"}), layer(whiteout("app/.env")))`."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import zstandard

from auditor.rulebook.examples import fill

GITHUB_TOKEN = "ghp_{base62:30}{crc32}"
OCI = "application/vnd.oci.image."


def token(seed: int = 0, template: str = GITHUB_TOKEN) -> str:
    """A fresh token that passes its provider's checksum and works nowhere."""
    return fill(template, seed)


@dataclass(frozen=True)
class Item:
    """One tar entry."""

    path: str
    data: bytes = b""
    type: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: float = 1_700_000_000
    pax: Mapping[str, str] = field(default_factory=dict)
    device: tuple[int, int] = (0, 0)


def file(path: str, data: bytes | str = b"", **more: Any) -> Item:
    return Item(path, data.encode() if isinstance(data, str) else data, **more)


def whiteout(path: str) -> Item:
    folder, _, name = path.rpartition("/")
    return Item(f"{folder}/.wh.{name}" if folder else f".wh.{name}")


def opaque(folder: str) -> Item:
    return Item(f"{folder}/.wh..wh..opq" if folder else ".wh..wh..opq")


def symlink(path: str, target: str) -> Item:
    return Item(path, type=tarfile.SYMTYPE, link=target, mode=0o777)


def hardlink(path: str, target: str) -> Item:
    return Item(path, type=tarfile.LNKTYPE, link=target)


def folder(path: str, **more: Any) -> Item:
    return Item(path, type=tarfile.DIRTYPE, **{"mode": 0o755, **more})


def layer(*items: Item | Mapping[str, bytes | str], form: int = tarfile.PAX_FORMAT) -> bytes:
    """The uncompressed tar of a layer; a mapping stands for plain files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape") as tar:
        for item in items:
            for entry in [item] if isinstance(item, Item) else [file(path, data) for path, data in item.items()]:
                info = tarfile.TarInfo(entry.path)
                info.type, info.linkname, info.mode = entry.type, entry.link, entry.mode
                info.uid, info.gid, info.mtime = entry.uid, entry.gid, entry.mtime
                info.size, info.pax_headers = len(entry.data), dict(entry.pax)
                info.devmajor, info.devminor = entry.device
                tar.addfile(info, io.BytesIO(entry.data))
    return out.getvalue()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def gzip_members(data: bytes) -> bytes:
    """Several members, as eStargz writes."""
    third = max(len(data) // 3, 1)
    return b"".join(gzipped(data[at : at + third]) for at in range(0, len(data), third))


def zstd(data: bytes) -> bytes:
    return bytes(zstandard.ZstdCompressor().compress(data))


def zstd_chunked(data: bytes) -> bytes:
    """Several frames, then a skippable one, as zstd:chunked writes."""
    third = max(len(data) // 3, 1)
    frames = b"".join(zstd(data[at : at + third]) for at in range(0, len(data), third))
    return frames + struct.pack("<II", 0x184D2A50, 12) + b"table of con"


COMPRESSIONS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "plain": (lambda data: data, ""),
    "gzip": (gzipped, "+gzip"),
    "gzip-members": (gzip_members, "+gzip"),
    "zstd": (zstd, "+zstd"),
    "zstd-chunked": (zstd_chunked, "+zstd"),
}


@dataclass(frozen=True)
class Built:
    """An image: its layers' tars and its config."""

    layers: tuple[bytes, ...]
    config: dict[str, Any]
    annotations: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ("planted:1",)

    @property
    def config_bytes(self) -> bytes:
        return json.dumps(self.config).encode()

    def blobs(self, compression: str = "plain") -> tuple[dict[str, bytes], dict[str, Any]]:
        """All blobs by digest, and the descriptor of the manifest."""
        squeeze, suffix = COMPRESSIONS[compression]
        stored = [squeeze(data) for data in self.layers]
        blobs = {digest(data): data for data in (*stored, self.config_bytes)}
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI + "manifest.v1+json",
            "config": descriptor(self.config_bytes, OCI + "config.v1+json"),
            "layers": [descriptor(data, OCI + "layer.v1.tar" + suffix) for data in stored],
            "annotations": dict(self.annotations),
        }
        data = json.dumps(manifest).encode()
        blobs[digest(data)] = data
        return blobs, descriptor(data, manifest["mediaType"])  # type: ignore[arg-type]

    def oci_files(self, compression: str = "plain") -> dict[str, bytes]:
        """The files of an OCI layout."""
        blobs, root = self.blobs(compression)
        root["annotations"] = {"org.opencontainers.image.ref.name": self.names[0].rpartition(":")[2]}
        return layout_files(blobs, [root])

    def oci_folder(self, path: Path, compression: str = "plain") -> Path:
        return write_files(path, self.oci_files(compression))

    def oci_archive(self, path: Path, compression: str = "plain") -> Path:
        path.write_bytes(layer(self.oci_files(compression)))
        return path

    def docker_archive(self, path: Path, *, squeeze: Any = None) -> Path:
        """The old form: a folder a layer, manifest.json, links for repeats."""
        items: list[Item] = []
        names: list[str] = []
        seen: dict[bytes, str] = {}
        for number, data in enumerate(self.layers):
            name = f"{number:064x}/layer.tar"
            names.append(name)
            if data in seen:
                items.append(symlink(name, f"../{seen[data]}"))
            else:
                items.append(file(name, data))
                seen[data] = name
            items.append(file(f"{number:064x}/VERSION", "1.0"))
        config_name = digest(self.config_bytes)[7:] + ".json"
        manifest = [{"Config": config_name, "RepoTags": list(self.names), "Layers": names}]
        items += [file(config_name, self.config_bytes), file("manifest.json", json.dumps(manifest))]
        data = layer(*items)
        path.write_bytes(squeeze(data) if squeeze else data)
        return path

    def docker_save(self, path: Path) -> Path:
        """The new form: an OCI layout with a manifest.json beside it, blobs first."""
        files = self.oci_files()
        manifest = [
            {
                "Config": "blobs/sha256/" + digest(self.config_bytes)[7:],
                "RepoTags": list(self.names),
                "Layers": ["blobs/sha256/" + digest(data)[7:] for data in self.layers],
            }
        ]
        path.write_bytes(layer({**files, "manifest.json": json.dumps(manifest).encode()}))
        return path


def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


def layout_files(blobs: Mapping[str, bytes], roots: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    index = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": list(roots)}
    files = {f"blobs/{key.replace(':', '/')}": data for key, data in blobs.items()}
    return {**files, "oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode()}


def write_files(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return path


def step(created_by: str, *, empty: bool = False, comment: str = "") -> dict[str, Any]:
    value: dict[str, Any] = {"created": "2026-01-02T03:04:05Z", "created_by": created_by}
    if comment:
        value["comment"] = comment
    return {**value, "empty_layer": True} if empty else value


def image(
    *layers: bytes,
    history: Sequence[Mapping[str, Any]] | None = None,
    config: Mapping[str, Any] | None = None,
    architecture: str = "amd64",
    **more: Any,
) -> Built:
    """An image of layers; without a history each layer has a step `RUN step N`."""
    steps = [step(f"RUN step {number}") for number in range(len(layers))] if history is None else list(history)
    document = {
        "architecture": architecture,
        "os": "linux",
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in layers]},
        "history": steps,
    }
    return Built(tuple(layers), document, **more)


def story(seed: int = 1) -> tuple[Built, str]:
    """The layer1/layer2 story: a base, a secret added, then deleted; and the secret."""
    secret = token(seed)
    built = image(
        layer(folder("etc"), {"etc/os-release": "ID=planted\n"}),
        layer({"secret.txt": f"my secret {secret}\n"}),
        layer({"secret2.txt": "x\n"}, whiteout("secret.txt")),
        history=[
            step("/bin/sh -c #(nop) ADD file:0 in / "),
            step(f'sh -c echo "my secret {secret}" > /secret.txt'),
            step("sh -c echo x > /secret2.txt; rm /secret.txt"),
        ],
        names=("layer2:latest",),
    )
    return built, secret


def with_names(built: Built, *names: str) -> Built:
    return replace(built, names=names)
