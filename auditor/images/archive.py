"""Images in a tar: what `docker save`, `podman save` and `skopeo` write, old form and OCI layout.

A plain file is read where it lies. What can't be read twice (standard input, an engine's export, a compressed
archive) is read in one pass: documents are kept, and every other member goes to a visitor as it arrives.
Sources: Docker image spec v1.2 ("Combined image JSON + filesystem changeset"), OCI image-layout.md.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from auditor.codec.compression import compression_of, decompressed
from auditor.codec.descriptors import Descriptor, parse_config, parse_descriptors, platform_matches, strings
from auditor.codec.file_slices import Content, FileSlice, SharedFile
from auditor.codec.hashing import sha256, verified_document
from auditor.codec.json_documents import DocumentBudget, canonical_keys, key_names, parse_json, parse_object
from auditor.codec.tar import BLOCK, Header, TarParser, is_header, normalise, padded
from auditor.core.digests import Digest
from auditor.core.entries import EntryKind, Skipped
from auditor.core.errors import Damaged, ImageError, NotAnImage, NotFound
from auditor.core.limits import Limits, named
from auditor.images import manifest
from auditor.images.manifest import Origin
from auditor.images.members import Held, Member, Members
from auditor.images.source import Image, Layer, Passed

Visit = Callable[[BinaryIO, str, Digest | None], Any]
"""Reads a layer's stored bytes to their end and returns what it made of them; it is given their name for errors, and
the digest that their place in the archive claims them to have."""

_CHUNK = 1 << 20
_ENTRY = key_names("Config", "RepoTags", "Layers", "Parent", "LayerSources")
_INDEX = key_names("manifests", "annotations")


def read_images(file: SharedFile, origin: Origin, tag: str | None, visit: Visit | None) -> tuple[Image, ...]:
    """Read the images of a tar file, compressed or not.

    Raises NotAnImage, Damaged, NotFound for the tag or platform.
    """
    stream = file.stream()
    if file.size and compression_of(stream.peek(8)[:8]) is None:
        return images_of(_index(file, origin), origin, tag)
    return read_stream(decompressed(stream, origin.limits), origin, tag, visit)


def read_stream(stream: BinaryIO, origin: Origin, tag: str | None, visit: Visit | None) -> tuple[Image, ...]:
    """Read the images of a tar that comes as a stream, in one pass.

    Without a visitor the tar is first kept in an unlinked temporary file, for callers that need to go back.
    """
    if visit is None:
        return images_of(_index(_spooled(stream), origin), origin, tag)
    return images_of(_pass(stream, origin, visit), origin, tag)


def _spooled(stream: BinaryIO) -> SharedFile:
    with tempfile.TemporaryFile() as spool:
        while chunk := stream.read(_CHUNK):
            spool.write(chunk)
        spool.flush()
        return SharedFile(os.dup(spool.fileno()))


def _index(file: SharedFile, origin: Origin) -> Members:
    """List a tar's members as slices."""
    what = origin.target
    walker, members = TarParser(origin.limits), Members(what, origin.limits)
    size, at = file.size, 0
    first = os.pread(file.descriptor, BLOCK, 0)
    _require_tar(first, what)
    while not walker.ended and at < size:
        block = os.pread(file.descriptor, 1 << 16, at)
        if not block:
            raise Damaged(f"{what}: became shorter while it was read")
        for header in _headers(walker, block, at, what):
            if header.offset + header.size > size:
                raise Damaged(f"{what}: cut off in member {header.path!r:.200}, at byte {size}")
            members.add(header, FileSlice(file, header.offset, header.size))
        at = at + len(block) if walker.is_mid_entry else walker.position
    _finish(walker, size, what)
    return members


def _pass(stream: BinaryIO, origin: Origin, visit: Visit) -> Members:
    what, limits = origin.target, origin.limits
    members, kept = Members(what, limits), 0
    for header, body in walk_stream(stream, what, limits):
        if header.kind is not EntryKind.FILE:
            members.add(header, None)
            continue
        reader = io.BufferedReader(body, 1 << 16)
        if header.size <= limits.json_bytes and reader.peek(1)[:1] in (b"{", b"[", b""):
            data = reader.read()
            kept += len(data)
            if kept > limits.json_total:
                raise Damaged(f"{what}: more than {limits.json_total} bytes of JSON documents {named('json-total')}")
            members.add(header, Held(data))
        else:
            members.add(header, Passed(visit(reader, f"{what}: {header.path}", _claimed(header.path))))
    return members


def walk_stream(stream: BinaryIO, what: str, limits: Limits) -> Iterator[tuple[Header, io.RawIOBase]]:
    """Yield each header of a tar stream with its body, which is read before the next header is asked for."""
    walker, at = TarParser(limits), 0
    while not walker.ended:
        block = stream.read(BLOCK)
        if at == 0:
            _require_tar(block, what)
        if not block:
            break
        for header in _headers(walker, block, at, what):
            body = _Body(stream, header.size, f"{what}: {header.path}")
            yield header, body
            body.drain(padded(header.size))
            at = walker.position - len(block)
        at += len(block)
    _finish(walker, at, what)
    while stream.read(_CHUNK):  # to the end, so that what follows is checked too
        pass


def _headers(walker: TarParser, block: bytes, at: int, what: str) -> Iterator[Header]:
    """Yield a block's headers. Raises Damaged, which names the archive."""
    try:
        yield from walker.feed(memoryview(block), at)
    except Damaged as exc:
        raise Damaged(f"{what}: {exc}") from None


def _finish(walker: TarParser, size: int, what: str) -> None:
    try:
        walker.finish(size)
    except Damaged as exc:
        raise Damaged(f"{what}: {exc}") from None


class _Body(io.RawIOBase):
    def __init__(self, stream: BinaryIO, size: int, what: str) -> None:
        self._stream, self._size, self._what = stream, size, what
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        want = min(len(buffer), self._size - self._read)
        if want <= 0:
            return 0
        got: int = self._stream.readinto(memoryview(buffer)[:want])  # type: ignore[attr-defined]
        if not got:
            raise Damaged(f"{self._what}: cut off after {self._read} of {self._size} bytes")
        self._read += got
        return got

    def drain(self, end: int) -> None:
        """Read on up to byte `end` of the body and its padding."""
        self._size, spare = end, memoryview(bytearray(min(_CHUNK, max(end - self._read, 1))))
        while self.readinto(spare):
            pass


def _require_tar(block: bytes, what: str) -> None:
    if len(block) < BLOCK or not is_header(block):
        raise NotAnImage(f"{what}: not an image: neither a tar archive nor an OCI layout folder")


def images_of(members: Members, origin: Origin, tag: str | None) -> tuple[Image, ...]:
    """Make images of an archive's members: all that index.json and manifest.json name, for engines read one or other.

    Where one of the two can't be used, what it may have held is skipped.
    """
    archive = _Archive(members, origin.target, origin.limits)
    has_index, has_manifest = (members.get(name) is not None for name in ("index.json", "manifest.json"))
    if not (has_index or has_manifest):
        raise NotAnImage(
            f"{origin.target}: a tar, but not an image: no manifest.json or index.json; docker save writes one"
        )
    wrong: list[ImageError] = []
    found = list(_tried(lambda: archive.oci_images(origin, tag), wrong)) if has_index else []
    own = _tried(lambda: archive.docker_images(origin, tag if not found else None), wrong) if has_manifest else []
    listed = {image.id: image for image in own}
    found = [
        replace(image, names=tuple(dict.fromkeys((*listed[image.id].names, *image.names))))
        if image.id in listed
        else image
        for image in found
    ]
    known = {image.id for image in found}
    found += [image for image in listed.values() if image.id not in known and not (tag and known)]
    damage = [error for error in wrong if not isinstance(error, NotFound)]
    if not found:
        none = NotFound(f"{origin.target}: holds no image{f' named {tag}' if tag else ''}{archive.names()}")
        raise next(iter((*damage, *reversed(wrong))), none)
    skipped = tuple(Skipped(None, None, str(error)) for error in damage)
    return tuple(replace(image, skipped=(*image.skipped, *skipped)) for image in found)


def _tried(read: Callable[[], Sequence[Image]], wrong: list[ImageError]) -> Sequence[Image]:
    """Return what is read; an error is kept, and gives nothing."""
    try:
        return read()
    except ImageError as exc:
        wrong.append(exc)
        return ()


class _Archive:
    """The index.Store of an archive's members."""

    def __init__(self, members: Members, what: str, limits: Limits) -> None:
        self._members, self._what, self._limits = members, what, limits
        self._tally = DocumentBudget(what, limits)

    def document(self, descriptor: Descriptor) -> bytes:
        data = self._bytes(_blob_path(descriptor.digest))
        return verified_document(data, descriptor.digest, f"{self._what}: blob {descriptor.digest}")

    def content(self, descriptor: Descriptor) -> Content | Passed:
        return self._member(_blob_path(descriptor.digest))

    def _member(self, path: str) -> Member:
        member = self._members.get(path)
        if member is None:
            raise NotFound(f"{self._what}: the archive lacks {path}")
        return member

    def _bytes(self, path: str) -> bytes:
        member = self._member(normalise(path))
        if isinstance(member, Passed):
            raise Damaged(f"{self._what}: {path} is no JSON document, or too large for one {named('json-bytes')}")
        if isinstance(member, FileSlice) and member.size > self._limits.json_bytes:
            raise Damaged(f"{self._what}: {path} is too large for a JSON document {named('json-bytes')}")
        with member.open() as stream:
            return stream.read()

    def oci_images(self, origin: Origin, tag: str | None) -> tuple[Image, ...]:
        roots = layout_roots(self._bytes("index.json"), origin.target, self._limits, tag)
        return manifest.images(self, roots.descriptors, origin, roots.annotations, roots.skipped)

    def docker_images(self, origin: Origin, tag: str | None) -> list[Image]:
        every, failures = list[Image](), list[tuple[str, Exception]]()
        for number, entry in enumerate(self._entries()):
            try:
                every.append(self._docker_image(entry, origin))
            except ImageError as exc:
                failures.append((f"image {number}", exc))
        origin.tell(failures, alone=not every)
        named = [image for image in every if tag is None or any(names_match(name, tag) for name in image.names)]
        wanted = [image for image in named if platform_matches(origin.platform, image.config.platform)]
        if named and not wanted:
            have = ", ".join(dict.fromkeys(str(image.config.platform) for image in named))
            raise NotFound(f"{origin.target}: no platform {origin.platform}; it has {have}")
        return wanted

    def names(self) -> str:
        try:
            names = [name for entry in self._entries() for name in _tags(entry)]
        except ImageError:
            return ""
        return f"; it has {', '.join(names[:10])}" if names else ""

    def _entries(self) -> list[dict[str, Any]]:
        """Return what manifest.json lists. Raises Damaged."""
        if self._members.get("manifest.json") is None:
            return []
        what = f"{self._what}: manifest.json"
        entries = parse_json(self._bytes("manifest.json"), what, self._limits, first=True)  # Docker reads no further
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise Damaged(f"{what}: want a list of objects")
        if len(entries) > self._limits.manifests:
            raise Damaged(f"{what}: lists {len(entries)} images {named('manifests')}")
        return [canonical_keys(entry, _ENTRY, what) for entry in entries]

    def _docker_image(self, entry: dict[str, Any], origin: Origin) -> Image:
        what = f"{self._what}: manifest.json"
        config_path, paths = entry.get("Config"), entry.get("Layers") or []
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in (config_path, *paths)):
            raise Damaged(f"{what}: Config and Layers must name members")
        if len(paths) > self._limits.layers:
            raise Damaged(f"{what}: {len(paths)} layers {named('layers')}")
        data = self._tally.take(self._bytes(str(config_path)), parsed=True)
        config = parse_config(data, f"{self._what}: {config_path}", self._limits)
        if len(config.diff_ids) != len(paths):
            raise Damaged(f"{what}: {len(paths)} layers, but the config names {len(config.diff_ids)}")
        layers = [
            self._docker_layer(normalise(path), diff_id) for path, diff_id in zip(paths, config.diff_ids, strict=True)
        ]
        return Image(origin.target, origin.transport, sha256(data), None, config, tuple(layers), _tags(entry))

    def _docker_layer(self, path: str, diff_id: Any) -> Layer:
        member = self._member(path)
        return Layer(member, diff_id, _claimed(path), member.size if isinstance(member, FileSlice) else None)


def _tags(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names that manifest.json gives an image."""
    found = entry.get("RepoTags")
    return tuple(name for name in found if isinstance(name, str)) if isinstance(found, list) else ()


def _claimed(path: str) -> Digest | None:
    """Return the digest that a blob's place in an OCI layout names; None where it names none."""
    folder, _, name = path.rpartition("/")
    try:
        return Digest(f"sha256:{name}") if folder == "blobs/sha256" else None
    except ImageError:
        return None


@dataclass(frozen=True, slots=True)
class Roots:
    """An index.json: the descriptors that are wanted, its annotations, and what of it is malformed."""

    descriptors: list[Descriptor]
    annotations: Mapping[str, str]
    skipped: tuple[Skipped, ...]


def layout_roots(index: bytes, what: str, limits: Limits, tag: str | None) -> Roots:
    """Read an index.json, of which a tag chooses. Raises NotFound, Damaged."""
    document = canonical_keys(parse_object(index, f"{what}: index.json", limits), _INDEX, what)
    entries = document.get("manifests")
    if entries is not None and not isinstance(entries, list):
        raise Damaged(f"{what}: index.json lists no manifests")
    skipped: list[Skipped] = []
    parsed = parse_descriptors(entries or (), f"{what}: index.json", skipped)
    return Roots(_tagged(parsed, what, tag), strings(document.get("annotations")), tuple(skipped))


def _tagged(parsed: list[Descriptor], what: str, tag: str | None) -> list[Descriptor]:
    if tag is None:
        return parsed
    keys = (manifest.REF_NAME, manifest.CONTAINERD_NAME)
    chosen = [d for d in parsed if any(key in d.annotations and names_match(d.annotations[key], tag) for key in keys)]
    if not chosen:
        have = sorted({d.annotations[key] for d in parsed for key in keys if key in d.annotations})
        raise NotFound(f"{what}: no image {tag!r}; it has {', '.join(have[:10]) or 'none with a name'}")
    return chosen


def names_match(name: str, wanted: str) -> bool:
    """Tell whether what the user typed names an archive's image: in full, completed with `latest`, or by tag alone."""
    full = wanted if ":" in wanted.rpartition("/")[2] else f"{wanted}:latest"
    return name in (wanted, full) or name.endswith("/" + full) or name.rpartition(":")[2] == wanted


def _blob_path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def require_regular(path: Path) -> None:
    """Raise ImageError unless the path is a plain file: a hostile layout may hold a pipe or a device."""
    import stat

    try:
        mode = path.stat().st_mode
    except OSError as exc:
        raise ImageError(f"{path}: can't be read: {exc.strerror}") from exc
    if not stat.S_ISREG(mode):
        raise ImageError(f"{path}: not a plain file")
