"""One of two file systems that are compared: what a name in it shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from auditor.model import Digest, Kind, Version
from auditor.rebuild.headers import IMPLIED, Meta, parsed_meta
from auditor.rebuild.tree import Node, Tree
from auditor.rebuild.writer import Parts

_DEVICES = (Kind.CHAR, Kind.BLOCK)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two file systems; `digests` are those of its layers, verified."""

    parts: Parts
    tree: Tree
    digests: tuple[Digest, ...]

    def path(self, at: Version) -> str:
        """Return the path of an entry."""
        return self.parts.listings[at.layer].paths[at.entry]

    def kind(self, node: Node) -> Kind | None:
        """Return what stands there; None for a hard link that leads nowhere."""
        if node.children is not None:
            return Kind.DIR
        at = node.content
        return None if at is None else Kind(self.parts.listings[at.layer].kinds[at.entry])

    def meta(self, node: Node) -> Meta:
        """Return the metadata that the file system shows."""
        device = self.kind(node) in _DEVICES
        if node.meta is None:
            return IMPLIED
        if node.content is None:
            return parsed_meta(self.parts.meta(node.meta), device=False)
        last = parsed_meta(self.parts.meta(node.meta), device=device and node.meta == node.content)
        first = parsed_meta(self.parts.meta(node.content), device=device)
        return replace(last, device=first.device, xattrs={**first.xattrs, **last.xattrs})

    def raw(self, node: Node) -> tuple[bytes | None, bytes | None]:
        """Return the metadata as it stands: equal, if all is well."""
        metas = self.parts.meta
        return metas(node.meta) if node.meta else None, metas(node.content) if node.content else None

    def link(self, node: Node) -> str | None:
        """Return where a symbolic link leads, or a hard link that leads nowhere."""
        at = node.content or node.entry
        return self.parts.listings[at.layer].links.get(at.entry) if at is not None else None
