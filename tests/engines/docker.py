"""File trees as a Docker engine shows them: layers loaded by the engine, its overlay mounted read-only."""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors


@dataclass(frozen=True)
class Shown:
    """Every attribute that a file system shows of one path. `names` are all paths of the same file."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    link: str
    content: bytes
    device: tuple[int, int]
    names: tuple[str, ...]
    xattrs: tuple[tuple[str, bytes], ...]


Tree = Mapping[str, Shown]


class Refused(Exception):
    """The engine does not load the image."""


def archive(images: Mapping[str, Sequence[bytes]]) -> bytes:
    """Return a docker-archive with several images, each a name and its layers' tars."""
    files: dict[str, bytes] = {}
    manifest = []
    for name, layers in images.items():
        ids = ["sha256:" + hashlib.sha256(data).hexdigest() for data in layers]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"case": name}},
            "rootfs": {"type": "layers", "diff_ids": ids},
            "history": [{"created_by": f"step {number}"} for number in range(len(layers))],
        }
        data = json.dumps(config).encode()
        config_name = hashlib.sha256(data).hexdigest() + ".json"
        files[config_name] = data
        paths = [f"{name[7:]}/layer.tar" for name in ids]
        files.update(zip(paths, layers, strict=True))
        manifest.append({"Config": config_name, "RepoTags": [name], "Layers": paths})
    files["manifest.json"] = json.dumps(manifest).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Engine:
    """A Docker engine whose storage driver is overlay2. Every image it loads is removed."""

    def __init__(self) -> None:
        self._client, self._other_client = (docker.from_env(timeout=600) for _ in range(2))
        self._remover = ThreadPoolExecutor(1)
        self._loaded: list[str] = []

    def driver(self) -> str:
        """Return the name of the storage driver. Raises DockerException where no engine answers."""
        return str(self._client.info()["Driver"])

    def close(self) -> None:
        """Wait until all images are removed."""
        self.clear()
        self._remover.shutdown()
        self._client.close()
        self._other_client.close()

    def clear(self) -> None:
        """Remove the images that were loaded, while the caller goes on: the engine takes a while for each."""
        self._remover.submit(self._remove, tuple(self._loaded))
        self._loaded.clear()

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            with suppress(docker.errors.APIError):  # it was refused
                self._other_client.images.remove(name, force=True)

    def load(self, data: bytes, names: Sequence[str]) -> None:
        """Load an archive. Raise Refused where the engine refuses it."""
        try:
            self._client.images.load(data)
        except (docker.errors.ImageLoadError, docker.errors.APIError) as exc:
            raise Refused(str(exc)) from exc
        finally:
            self._loaded += names

    def tree(self, name: str) -> dict[str, Shown]:
        """Return what the engine shows of an image."""
        data: dict[str, Any] = self._client.images.get(name).attrs["GraphDriver"]["Data"]
        lower = [data["UpperDir"], *(data.get("LowerDir") or "").split(":")]
        with mounted([folder for folder in lower if folder]) as root:
            return read_tree(root)


_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def mounted(folders: Sequence[str]) -> Iterator[Path]:
    """Mount an overlay of folders, highest first, as the engine does."""
    with tempfile.TemporaryDirectory() as base:
        root, empty = Path(base, "root"), Path(base, "empty")
        root.mkdir()
        empty.mkdir()
        links = []
        for number, folder in enumerate([*folders, str(empty)]):
            link = Path(base, str(number))
            link.symlink_to(folder)
            links.append(str(link))
        options = "lowerdir=" + ":".join(links)
        if _libc.mount(b"overlay", os.fsencode(root), b"overlay", 1, options.encode()):
            raise OSError(ctypes.get_errno(), f"mount: {os.strerror(ctypes.get_errno())}: {options}")
        try:
            yield root
        finally:
            _libc.umount2(os.fsencode(root), 2)


def read_tree(root: Path) -> dict[str, Shown]:
    """Read every attribute below a folder; the root is the empty path."""
    tree: dict[str, Any] = {}
    names: dict[tuple[int, int], list[str]] = {}
    for path, info in _walk(root):
        relative = os.path.relpath(path, root)
        relative = "" if relative == "." else relative
        if not stat.S_ISDIR(info.st_mode):
            names.setdefault((info.st_dev, info.st_ino), []).append(relative)
        tree[relative] = path, info
    return {
        relative: _shown(path, info, tuple(sorted(names.get((info.st_dev, info.st_ino), [relative]))))
        for relative, (path, info) in sorted(tree.items())
    }


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    yield folder, folder.lstat()
    for name in sorted(os.listdir(folder)):
        path = folder / name
        try:
            info = path.lstat()
        except FileNotFoundError:  # a whiteout in a folder that only one layer has
            continue
        if stat.S_ISDIR(info.st_mode):
            yield from _walk(path)
        else:
            yield path, info


def _shown(path: Path, info: os.stat_result, names: tuple[str, ...]) -> Shown:
    mode = info.st_mode
    kind = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFCHR: "char",
            stat.S_IFBLK: "block", stat.S_IFIFO: "fifo"}[stat.S_IFMT(mode)]  # fmt: skip
    device = (os.major(info.st_rdev), os.minor(info.st_rdev)) if kind in ("char", "block") else (0, 0)
    xattrs = tuple((name, os.getxattr(path, name, follow_symlinks=False))
                   for name in sorted(os.listxattr(path, follow_symlinks=False)))  # fmt: skip
    return Shown(
        kind,
        stat.S_IMODE(mode),
        info.st_uid,
        info.st_gid,
        info.st_mtime_ns,
        os.readlink(path) if kind == "symlink" else "",
        path.read_bytes() if kind == "file" else b"",
        device,
        names,
        xattrs,
    )
