"""Images of an archive, from its index.json and manifest.json.

Sources: Docker image spec v1.2 ("Combined image JSON + filesystem changeset"), OCI image-layout.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from auditor.codec.descriptors import Descriptor, parse_config, platform_matches
from auditor.codec.file_slices import Content, FileSlice
from auditor.codec.hashing import sha256, verified_document
from auditor.codec.json_documents import DocumentBudget, canonical_keys, key_names, parse_json
from auditor.codec.tar_headers import normalise
from auditor.core.digests import Digest
from auditor.core.entries import Skipped
from auditor.core.errors import Damaged, ImageError, NotAnImage, NotFound
from auditor.core.limits import Limits, limit_note
from auditor.images import manifest
from auditor.images.layout_index import names_match, read_layout_index
from auditor.images.manifest import Origin
from auditor.images.members import Member, Members
from auditor.images.source import Image, Layer, LayerRef

_ENTRY = key_names("Config", "RepoTags", "Layers", "Parent", "LayerSources")


def images_of(members: Members, origin: Origin, tag: str | None) -> tuple[Image, ...]:
    """Return the images that index.json and manifest.json name. Some engines read the one, some the other.

    If one of the two is damaged, its images are reported as skipped.
    """
    archive = _Archive(members, origin.target, origin.limits)
    has_index, has_manifest = (members.get(name) is not None for name in ("index.json", "manifest.json"))
    if not (has_index or has_manifest):
        raise NotAnImage(
            f"{origin.target}: a tar without manifest.json or index.json, so not an image; `docker save` writes one"
        )
    errors: list[ImageError] = []
    found = list(_tried(lambda: archive.oci_images(origin, tag), errors)) if has_index else []
    docker_images = (
        _tried(lambda: archive.docker_images(origin, tag if not found else None), errors) if has_manifest else []
    )
    listed = {image.id: image for image in docker_images}
    found = [
        replace(image, names=tuple(dict.fromkeys((*listed[image.id].names, *image.names))))
        if image.id in listed
        else image
        for image in found
    ]
    known = {image.id for image in found}
    found += [image for image in listed.values() if image.id not in known and not (tag and known)]
    damage = [error for error in errors if not isinstance(error, NotFound)]
    if not found:
        none = NotFound(f"{origin.target}: no image{f' named {tag}' if tag else ''}{archive.names()}")
        raise next(iter((*damage, *reversed(errors))), none)
    skipped = tuple(Skipped(None, None, str(error)) for error in damage)
    return tuple(replace(image, skipped=(*image.skipped, *skipped)) for image in found)


def _tried(read: Callable[[], Sequence[Image]], errors: list[ImageError]) -> Sequence[Image]:
    """Return the images; on an error none, and add it to `errors`."""
    try:
        return read()
    except ImageError as exc:
        errors.append(exc)
        return ()


class _Archive:
    """The blob store of an archive, with the images of both its lists."""

    def __init__(self, members: Members, what: str, limits: Limits) -> None:
        self._members, self._what, self._limits = members, what, limits
        self._documents = DocumentBudget(what, limits)

    def document(self, descriptor: Descriptor) -> bytes:
        data = self._bytes(_blob_path(descriptor.digest))
        return verified_document(data, descriptor.digest, f"{self._what}: blob {descriptor.digest}")

    def content(self, descriptor: Descriptor) -> Content:
        return self._member(_blob_path(descriptor.digest))

    def _member(self, path: str) -> Member:
        member = self._members.get(path)
        if member is None:
            raise NotFound(f"{self._what}: the archive lacks {path}")
        return member

    def _bytes(self, path: str) -> bytes:
        member = self._member(normalise(path))
        if isinstance(member, LayerRef):
            raise Damaged(f"{self._what}: {path} is not a JSON document, or too large {limit_note('json-bytes')}")
        if isinstance(member, FileSlice) and member.size > self._limits.json_bytes:
            raise Damaged(f"{self._what}: {path} is too large for a JSON document {limit_note('json-bytes')}")
        with member.open() as stream:
            return stream.read()

    def oci_images(self, origin: Origin, tag: str | None) -> tuple[Image, ...]:
        index = read_layout_index(self._bytes("index.json"), origin.target, self._limits, tag)
        return manifest.images(self, index.descriptors, origin, index.annotations, index.skipped)

    def docker_images(self, origin: Origin, tag: str | None) -> list[Image]:
        every, failures = list[Image](), list[tuple[str, Exception]]()
        for number, entry in enumerate(self._entries()):
            try:
                every.append(self._docker_image(entry, origin))
            except ImageError as exc:
                failures.append((f"image {number}", exc))
        origin.report(failures, alone=not every)
        named = [image for image in every if tag is None or any(names_match(name, tag) for name in image.names)]
        chosen = [image for image in named if platform_matches(origin.platform, image.config.platform)]
        if named and not chosen:
            available = ", ".join(dict.fromkeys(str(image.config.platform) for image in named))
            raise NotFound(f"{origin.target}: no platform {origin.platform}; it has {available}")
        return chosen

    def names(self) -> str:
        try:
            names = [name for entry in self._entries() for name in _tags(entry)]
        except ImageError:
            return ""
        return f"; it has {', '.join(names[:10])}" if names else ""

    def _entries(self) -> list[dict[str, Any]]:
        """Return the entries of manifest.json. Raises Damaged."""
        if self._members.get("manifest.json") is None:
            return []
        what = f"{self._what}: manifest.json"
        entries = parse_json(self._bytes("manifest.json"), what, self._limits, first=True)  # Docker reads no further
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise Damaged(f"{what}: want a list of objects")
        if len(entries) > self._limits.manifests:
            raise Damaged(f"{what}: lists {len(entries)} images {limit_note('manifests')}")
        return [canonical_keys(entry, _ENTRY, what) for entry in entries]

    def _docker_image(self, entry: dict[str, Any], origin: Origin) -> Image:
        what = f"{self._what}: manifest.json"
        config_path, paths = entry.get("Config"), entry.get("Layers") or []
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in (config_path, *paths)):
            raise Damaged(f"{what}: Config and Layers must name members")
        if len(paths) > self._limits.layers:
            raise Damaged(f"{what}: {len(paths)} layers {limit_note('layers')}")
        data = self._documents.add(self._bytes(str(config_path)), parsed=True)
        config = parse_config(data, f"{self._what}: {config_path}", self._limits)
        if len(config.diff_ids) != len(paths):
            raise Damaged(f"{what}: {len(paths)} layers, but the config names {len(config.diff_ids)}")
        layers = [
            self._docker_layer(normalise(path), diff_id) for path, diff_id in zip(paths, config.diff_ids, strict=True)
        ]
        return Image(origin.target, origin.transport, sha256(data), None, config, tuple(layers), _tags(entry))

    def _docker_layer(self, path: str, diff_id: Any) -> Layer:
        member = self._member(path)
        return Layer(member, diff_id, digest_in_path(path), member.size if isinstance(member, FileSlice) else None)


def _tags(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of an entry of manifest.json."""
    found = entry.get("RepoTags")
    return tuple(name for name in found if isinstance(name, str)) if isinstance(found, list) else ()


def digest_in_path(path: str) -> Digest | None:
    """Return the digest in a blob's path in an OCI layout; None for another path."""
    folder, _, name = path.rpartition("/")
    try:
        return Digest(f"sha256:{name}") if folder == "blobs/sha256" else None
    except ImageError:
        return None


def _blob_path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"
