"""Random layers of the kinds that engines and scanners may read differently."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.engines.rawtar import Entry, gnu_long, pax, tar
from tests.images import token

_NAMES = ("a", "b", "c", "d", "lib", "etc")
_MODES = (0o644, 0o600, 0o4755, 0o755, 0o2711)
_XATTRS: Sequence[Mapping[str, str]] = (
    {},
    {},
    {"SCHILY.xattr.user.x": "1"},
    {"SCHILY.xattr.user.y": "2", "SCHILY.xattr.security.capability": "\x01\0\0\x02\0\x20" + "\0" * 14},
)


@dataclass
class _Layer:
    """Names of one layer so far, as the tar has them; `aliases` are the links that lead to its folders."""

    folders: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


def stack(seed: int) -> list[bytes]:
    """Return the tars of an image's layers, lowest first. Every file holds a token of its own."""
    random = Random(seed)
    lower: list[str] = []
    layers = []
    for number in range(random.randint(2, 4)):
        entries, made = _layer(random, lower, f"{seed}-{number}")
        layers.append(tar(*entries))
        lower += [*made.files, *made.folders, *made.links]
    return layers


def _layer(random: Random, lower: list[str], label: str) -> tuple[list[Entry], _Layer]:
    made = _Layer()
    entries: list[Entry] = []
    for count in range(random.randint(2, 9)):
        entry = _entry(random, made, lower, f"{label}-{count}")
        if entry is not None:
            entries.append(entry)
    return entries, made


def _entry(random: Random, made: _Layer, lower: list[str], label: str) -> Entry | None:
    kinds = ["file"] * 4 + ["folder"] * 3 + ["symlink"] * 3 + ["hardlink"] * 2 + ["again"] * 3 + ["gone"] * 3
    kind = random.choice([*kinds, "opaque", "opaque", "device", "overlay", "fifo"] if lower else kinds[:12])
    path = random.choice(lower) if kind in ("again", "gone") else _new_path(random, made)
    if kind in ("gone", "opaque"):
        return _whiteout(random, made, lower, path, kind)
    if path in made.names or _clean(path) in made.names:
        return None
    meta: dict[str, Any] = {
        "mode": random.choice(_MODES),
        "uid": random.choice((0, 1000)),
        "gid": random.choice((0, 50)),
        "mtime": random.randrange(1, 10**9),
        "pax": dict(random.choice(_XATTRS)),
    }
    if any(_clean(name).startswith(_clean(path) + "/") for name in made.names) and kind != "folder":
        return None
    made.names.add(_clean(path))
    if kind == "overlay":
        return Entry(_dressed(random, path), b"3")
    if kind == "folder":
        made.folders.append(path)
        if lower and random.random() < 0.1:
            meta["pax"]["SCHILY.xattr.trusted.overlay.opaque"] = "y"
        return _formed(random, path, b"5", b"", **meta)
    if kind == "symlink":
        made.links.append(path)
        leads_to, leads = _target(random, made, path)
        made.aliases += [path] if leads else []
        return _formed(random, path, b"2", leads_to, **{**meta, "pax": {}})
    if kind == "hardlink":
        if not made.files:
            return None
        target = _through(random, made, random.choice(made.files))
        made.files.append(path)
        # An engine looks up the target as it is written when it sets times: through folders that exist.
        return _formed(random, path, b"1", _dressed(random, target).replace(b"zz/../", b""), **meta)
    if kind in ("device", "fifo"):
        return _formed(random, path, b"6" if kind == "fifo" else b"3", b"", **{**meta, "pax": {}, "device": (1, 3)})
    made.files.append(path)
    return _formed(random, path, b"0", b"", data=f"token {token(hash_of(label))}\n".encode(), **meta)


def hash_of(label: str) -> int:
    """Return a seed that is the same in every run."""
    return int.from_bytes(label.encode(), "big") % (1 << 31)


def _clean(path: str) -> str:
    return posixpath.normpath("/" + path).lstrip("/")


def _new_path(random: Random, made: _Layer) -> str:
    parents = ["", *made.folders, *made.aliases, *made.aliases]
    parent = random.choice(parents) if random.random() < 0.95 or not made.links else random.choice(made.links)
    name = random.choice(_NAMES)
    if random.random() < 0.2:
        name = f"{random.choice(_NAMES)}/{name}"
    return f"{parent}/{name}" if parent else name


def _target(random: Random, made: _Layer, path: str) -> tuple[bytes, bool]:
    """Return where a symbolic link leads, by a relative or an absolute path, and whether that is a folder."""
    folders = [*made.folders, *made.folders, *made.aliases]
    leads = bool(folders) and random.random() < 0.85
    place = random.choice(folders if leads else [*made.files, *_NAMES])
    match random.randrange(4):
        case 0:
            return b"/" + place.encode(), leads
        case 1:
            return b"../" * (4 + random.randrange(3)) + place.encode(), leads
        case _ if any(path.startswith(alias + "/") for alias in made.aliases):
            return b"/./" + place.encode(), leads
        case _:
            return posixpath.relpath("/" + place, "/" + posixpath.dirname(path)).encode(), leads


def _through(random: Random, made: _Layer, path: str) -> str:
    """Return a path by way of a symbolic link, where one leads to its folder or may do so."""
    folder, _, name = path.rpartition("/")
    aliases = [alias for alias in made.aliases if folder and random.random() < 0.5]
    if aliases:
        return f"{random.choice(aliases)}/{name}"
    return f"{folder}/{name}" if folder else name


def _whiteout(random: Random, made: _Layer, lower: list[str], path: str, kind: str) -> Entry | None:
    folder, _, name = path.rpartition("/")
    if made.aliases and random.random() < 0.3:
        folder = random.choice(made.aliases)
    if kind == "opaque":
        folder, name = random.choice([*lower, *made.folders, ""]), ".wh..opq"
    full = f"{folder}/.wh.{name}" if folder else f".wh.{name}"
    if _clean(full) in made.names or (kind == "gone" and _clean(path) in made.names):
        return None
    made.names |= {_clean(full), _clean(path)} if random.random() < 0.9 else {_clean(full)}
    return Entry(_dressed(random, full), data=b"")


def _dressed(random: Random, path: str) -> bytes:
    """Write a path in one of the ways that mean the same."""
    match random.randrange(8):
        case 0:
            path = "./" + path
        case 1:
            path = "/" + path
        case 2:
            path = path.replace("/", "//")
        case 3:
            path = f"zz/../{path}"
        case 4:
            path = "../../" + path
    return path.encode()


def _formed(random: Random, path: str, kind: bytes, link: bytes, **meta: Any) -> Entry:
    """Write an entry in one of the forms of tar, some with a name that another header overrides."""
    name = _dressed(random, path)
    if kind == b"5" and random.random() < 0.5:
        name += b"/"
    more = dict(meta, type=kind, link=link)
    match random.randrange(8):
        case 0:
            return Entry(name, form="gnu", **more)
        case 1:
            return Entry(b"other", before=pax({"path": "another"}) + gnu_long(name), **more)
        case 2:
            return Entry(b"other", **{**more, "pax": {**more["pax"], "path": name.decode()}})
        case 3 if b"/" in name.strip(b"/") and not name.startswith(b"/") and kind != b"5":
            prefix, _, base = name.rpartition(b"/")
            return Entry(base, form="star", prefix=prefix, **more)
        case 4 if b"/" in name.strip(b"/") and not name.startswith(b"/") and kind != b"5":
            prefix, _, base = name.rpartition(b"/")
            return Entry(base, prefix=prefix, **more)
        case 5 if not more["pax"]:
            dropped = pax({"path": "dropped"}) + pax({"comment": "x"}, b"g")
            return Entry(name, before=dropped, **more)
        case _:
            return Entry(name, **more)
