"""Check of all invariants of a written archive. Shares no code with the writer.

It lists every violation, as go-containerregistry's `validate` does.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from auditor.codec.compression import compression_of
from auditor.codec.file_slices import SharedFile
from auditor.codec.tar import TarParser
from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.errors import Damaged
from auditor.core.limits import Limits

_CHUNK = 1 << 20
_SUFFIX = {None: "", "gzip": "+gzip", "zstd": "+zstd", "xz": "+xz", "bzip2": "+bzip2"}


@dataclass(frozen=True, slots=True)
class _Member:
    offset: int
    size: int


def violations(path: Path, limits: Limits, verified: Collection[Digest] = ()) -> list[str]:
    """List the violations of an OCI layout in a tar, with or without a manifest.json.

    Blobs with a digest in `verified` were already hashed in this file.
    """
    try:
        checker = _Checker(SharedFile.open(path), limits)
        return [*checker.members(), *checker.blobs(verified), *checker.index(), *checker.docker(), *checker.unused()]
    except (Damaged, ValueError, KeyError, TypeError, AttributeError) as exc:
        return [f"malformed: {type(exc).__name__}: {exc}"]


class _Checker:
    def __init__(self, file: SharedFile, limits: Limits) -> None:
        self._file, self._limits = file, limits
        self._members: dict[str, _Member] = {}
        self._repeated: list[str] = []
        self._used: set[str] = set()
        walker, at = TarParser(limits), 0
        while not walker.ended and at < file.size:
            block = os.pread(file.descriptor, 1 << 16, at)
            for header in walker.feed(memoryview(block), at):
                if header.path in self._members:
                    self._repeated.append(header.path)
                self._members[header.path] = _Member(header.offset, header.size)
            at = at + len(block) if walker.is_mid_entry else walker.position
        walker.finish(file.size)
        self._ended = walker.ended

    def members(self) -> Iterator[str]:
        """Check the members of the tar."""
        yield from (f"{path}: appears twice" for path in self._repeated)
        if not self._ended:
            yield "the archive has no end marker"
        if self._json("oci-layout").get("imageLayoutVersion") != "1.0.0":
            yield "oci-layout: not version 1.0.0"
        known = ("oci-layout", "index.json", "manifest.json")
        other = (path for path in self._members if path not in known and not path.startswith("blobs/"))
        yield from (f"{path}: not part of an image" for path in other)

    def blobs(self, verified: Collection[Digest]) -> Iterator[str]:
        """Check the digest of each blob against its name."""
        for path, member in self._members.items():
            if path.startswith("blobs/"):
                _, algorithm, name = path.split("/")
                if f"{algorithm}:{name}" not in verified and self._hash(member, algorithm) != name:
                    yield f"{path}: digest differs from the name"

    def index(self) -> Iterator[str]:
        """Check index.json and the documents that it leads to."""
        for descriptor in self._json("index.json")["manifests"]:
            yield from self._descriptor(descriptor, "index.json")

    def _descriptor(self, descriptor: Mapping[str, Any], parent: str) -> Iterator[str]:
        path = _place(descriptor["digest"])
        if path not in self._members:
            yield f"{parent}: lists {path}, which is missing"
            return
        self._used.add(path)
        if self._members[path].size != descriptor["size"]:
            yield f"{parent}: {path} has {self._members[path].size} bytes, not {descriptor['size']}"
        document = self._json(path)
        if document.get("mediaType") != descriptor["mediaType"]:
            yield f"{path}: has the media type {document.get('mediaType')}, {parent} says {descriptor['mediaType']}"
        for child in document.get("manifests", ()):
            yield from self._descriptor(child, path)
        if "config" in document:
            yield from self._manifest(document, path)

    def _manifest(self, manifest: Mapping[str, Any], parent: str) -> Iterator[str]:
        for blob in (manifest["config"], *manifest["layers"]):
            path = _place(blob["digest"])
            self._used.add(path)
            if path not in self._members:
                yield f"{parent}: lists {path}, which is missing"
            elif self._members[path].size != blob["size"]:
                yield f"{parent}: {path} has {self._members[path].size} bytes, not {blob['size']}"
            elif blob is not manifest["config"] and not blob["mediaType"].endswith("tar" + self._suffix(path)):
                yield f"{parent}: {path} is not a {blob['mediaType']}"
        yield from self._config(_place(manifest["config"]["digest"]), len(manifest["layers"]))

    def _config(self, path: str, layers: int) -> Iterator[str]:
        config = self._json(path)
        if len(config["rootfs"]["diff_ids"]) != layers or config["rootfs"]["type"] != "layers":
            yield f"{path}: {len(config['rootfs']['diff_ids'])} diff_ids for {layers} layers"

    def docker(self) -> Iterator[str]:
        """Check manifest.json, where it exists."""
        for entry in self._json("manifest.json") if "manifest.json" in self._members else ():
            missing = [path for path in (entry["Config"], *entry["Layers"]) if path not in self._used]
            yield from (f"manifest.json: lists {path}, which the index does not" for path in missing)
            if not missing:
                yield from self._config(entry["Config"], len(entry["Layers"]))

    def unused(self) -> Iterator[str]:
        """List blobs that no image uses."""
        blobs = (path for path in self._members if path.startswith("blobs/"))
        yield from (f"{path}: not used by an image" for path in blobs if path not in self._used)

    def _json(self, path: str) -> Any:
        member = self._members[path]
        if member.size > self._limits.json_bytes:
            raise ValueError(f"{path}: too large for JSON")
        return json.loads(os.pread(self._file.descriptor, member.size, member.offset))

    def _suffix(self, path: str) -> str:
        return _SUFFIX[compression_of(os.pread(self._file.descriptor, 8, self._members[path].offset))]

    def _hash(self, member: _Member, algorithm: str) -> str:
        digest, done = hashlib.new(algorithm), 0
        while done < member.size:
            chunk = os.pread(self._file.descriptor, min(_CHUNK, member.size - done), member.offset + done)
            digest.update(chunk)
            done += len(chunk)
        return digest.hexdigest()


def _place(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
