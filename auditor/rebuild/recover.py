"""Recover a file version from the layer that holds it, hidden or visible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from auditor.codec.sparse import expanded, real_size
from auditor.codec.tar_headers import Header, normalise
from auditor.core.dataclass import dataclass
from auditor.core.entries import EntryKind, FileVersion
from auditor.core.errors import RecoverError
from auditor.core.globs import matches_masked
from auditor.core.limits import Limits
from auditor.core.text import display_path
from auditor.extract.member_extractor import MemberExtractor
from auditor.images.source import Image, Layer
from auditor.layers.file_history import FileHistory
from auditor.layers.layer_index import LayerIndex, index_layer, read_content
from auditor.layers.listing import plain_file
from auditor.pipeline import check_digests


@dataclass(frozen=True, slots=True)
class RecoverableVersion:
    """One file version: its layer, its number among the entries of the path there (from 1), and its state."""

    layer: int
    nth: int
    size: int
    mode: int
    state: str
    version: FileVersion


class PathVersions:
    """All versions of one path in an image. Its layers are read again."""

    def __init__(self, image: Image, path: str, limits: Limits) -> None:
        """Index all layers and verify their digests. Raises Damaged."""
        self._image, self._path, self._limits = image, path, limits
        self._names = {path, normalise(path)}
        self._shown = display_path(normalise(path))
        self._indexes = [self._index(number, layer) for number, layer in enumerate(image.layers)]
        self._history = FileHistory([index.listing for index in self._indexes], stacked=image.stacked)

    def _index(self, number: int, layer: Layer) -> LayerIndex:
        what = f"{self._image.target}: layer {number}"
        with layer.content.open() as stream:
            index = index_layer(
                stream,
                what,
                self._limits,
                layer.digest.algorithm if layer.digest else "sha256",
                lambda h: h.kind in _CONTENT_KINDS,
            )
        check_digests(layer, index, what)
        if not index.is_tar:
            index.listing.paths = plain_file(layer.title or f"layer-{number}", 0).paths
        return index

    def versions(self) -> list[RecoverableVersion]:
        """List the versions of the path, lowest first. Raises RecoverError where no layer has it."""
        found = []
        for layer, index in enumerate(self._indexes):
            nth = 0
            # The path may pass a symbolic link of its layer.
            names = {*self._names, index.listing.real(normalise(self._path))}
            for entry, own in enumerate(index.listing.paths):
                if own in names or matches_masked(self._shown, display_path(own)):
                    nth += 1
                    if index.listing.kinds[entry] in _CONTENT_KINDS or index.listing.sizes[entry]:
                        found.append(self._recoverable(layer, entry, nth))
        if not found:
            raise RecoverError(
                f"{self._image.target}: no layer has a file {display_path(self._path.lstrip('/'))}{self._hint()}"
            )
        return found

    def _hint(self) -> str:
        for layer, index in enumerate(self._indexes):
            for entry, own in enumerate(index.listing.paths):
                if own in self._names:
                    target = index.listing.links.get(entry)
                    if target is not None:
                        return f". In layer {layer} it is a link to {target}"
                    return f". In layer {layer} it is not a regular file"
        return ". `image-audit scan` lists hidden files"

    def _recoverable(self, layer: int, entry: int, nth: int) -> RecoverableVersion:
        by, is_overwritten = self._history.hidden_by(layer, entry)
        state = "present" if by is None else f"{'overwritten' if is_overwritten else 'deleted'} in layer {by}"
        version = FileVersion(layer, entry)
        content = self._history.content(version)
        if content is None:
            return RecoverableVersion(layer, nth, 0, 0o644, state + ", a hard link without a target", version)
        header = self._indexes[content.layer].headers.get(content.entry)
        if header is None:
            return RecoverableVersion(layer, nth, self._indexes[layer].listing.sizes[entry], 0o644, state, version)
        return RecoverableVersion(layer, nth, real_size(header), header.mode, state, version)

    def read(self, chosen: RecoverableVersion) -> Iterator[bytes]:
        """Yield the content of a version. Raises RecoverError for a hard link without a target."""
        content = self._history.content(chosen.version)
        if content is None:
            raise RecoverError(
                f"{display_path(self._path.lstrip('/'))}: the hard link in layer {chosen.layer} has no target"
            )
        layer, index = self._image.layers[content.layer], self._indexes[content.layer]
        header = index.headers.get(content.entry)
        what = f"{self._image.target}: layer {content.layer}"
        offset, size = index.listing.offsets[content.entry], index.listing.sizes[content.entry]
        with layer.content.open() as stream:
            if header is None or not header.sparse:
                yield from read_content(stream, offset, size, what, self._limits)
            else:
                yield from self._sparse(stream, header, what)

    def _sparse(self, stream: BinaryIO, header: Header, what: str) -> Iterator[bytes]:
        yield from expanded(
            header, read_content(stream, header.offset, header.size, what, self._limits), header.extension
        )


_MAX_ARCHIVE = 256 << 20
_CONTENT_KINDS = (EntryKind.FILE, EntryKind.HARDLINK)


def split_member(path: str) -> tuple[str, str | None]:
    """Split `PATH!member`, the form of a finding inside an archive."""
    outer, separator, member = path.partition("!")
    return (outer, member) if separator and outer else (path, None)


def member_of(path: str, chunks: Iterator[bytes], member: str, limits: Limits) -> bytes:
    """Return one member of the archive at `path` with the content `chunks`. Raises RecoverError."""
    pieces, size = list[bytes](), 0
    for chunk in chunks:
        pieces.append(chunk)
        size += len(chunk)
        if size > _MAX_ARCHIVE:
            raise RecoverError(
                f"{path}: more than {_MAX_ARCHIVE} bytes. Recover the whole archive to a file, without !{member}"
            )
    found = MemberExtractor(limits).member_content(path, b"".join(pieces), member)
    if found is None:
        raise RecoverError(f"{path}: has no member {member}. `image-audit scan` lists members with findings")
    return found


def choose(versions: Sequence[RecoverableVersion], layer: int | None, nth: int | None, path: str) -> RecoverableVersion:
    """Return the version that the options select. Raises RecoverError with a list of all unless it is exactly one."""
    chosen = [v for v in versions if layer in (None, v.layer) and nth in (None, v.nth)]
    if layer is not None and nth is None and chosen:
        chosen = chosen[-1:]  # the visible one of the layer
    if len(chosen) == 1:
        return chosen[0]
    listed = "; ".join(f"--layer {v.layer}{_nth(v, versions)}: {v.size} bytes, {v.state}" for v in versions)
    if not chosen:
        raise RecoverError(f"{path}: not in layer {layer}. Existing versions: {listed}")
    raise RecoverError(f"{path}: {len(chosen)} versions. Choose one: {listed}")


def _nth(version: RecoverableVersion, versions: Sequence[RecoverableVersion]) -> str:
    is_multi_platform = sum(other.layer == version.layer for other in versions) > 1
    return f" --nth {version.nth}" if is_multi_platform else ""
