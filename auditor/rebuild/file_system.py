"""One of two file systems that are compared: what a name in it shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from auditor.core.digests import Digest
from auditor.core.entries import EntryKind, FileVersion
from auditor.rebuild.extraction import IMPLIED_MODE, SETGID, ExtractedInode, OverlayNode
from auditor.rebuild.layer_writer import ReadableLayers
from auditor.rebuild.tar_headers import EntryMetadata, applied, unpacked_metadata


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One of the two file systems, with its root; `digests` are those of its layers, verified."""

    parts: ReadableLayers
    root: OverlayNode
    digests: tuple[Digest, ...]

    def path(self, at: FileVersion) -> str:
        """Return the path of an entry."""
        return self.parts.listings[at.layer].paths[at.entry]

    def meta(self, inode: ExtractedInode) -> EntryMetadata:
        """Return the metadata that the file system shows."""
        metas = [unpacked_metadata(self.parts.meta(at)) for at in inode.applied]
        if not metas:
            return EntryMetadata(IMPLIED_MODE | SETGID * inode.setgid, 0, 0, 0)
        meta = applied(metas, symlink=inode.kind is EntryKind.SYMLINK)
        timed = unpacked_metadata(self.parts.meta(inode.timed)) if inode.timed is not None else meta
        return replace(meta, mtime_ns=timed.mtime_ns)

    def raw(self, inode: ExtractedInode) -> tuple[bytes, ...]:
        """Return the metadata as it stands: equal, if all is well."""
        timed = () if inode.timed is None else (inode.timed,)
        return tuple(self.parts.meta(at) for at in (*inode.applied, *timed))
