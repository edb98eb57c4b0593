"""Entries of a layer, in columns: a million of them must fit in memory, so an entry is no object of its own."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import InitVar, field

from auditor.codec.tar_headers import Header
from auditor.core.dataclass import dataclass
from auditor.core.entries import EntryKind
from auditor.core.limits import DEFAULT, Limits
from auditor.layers.header_texts import HeaderTexts
from auditor.layers.path_list import PathList
from auditor.layers.path_resolver import PathResolver

# OCI image spec, layer.md#whiteouts.
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_XATTR = "SCHILY.xattr."
_OPAQUE_XATTR = _XATTR + "trusted.overlay.opaque"
_OVERLAY_NAMES = tuple(
    f"{space}.overlay.{name}"
    for space in ("trusted", "user")
    for name in ("opaque", "redirect", "metacopy", "whiteout")
)


@dataclass(slots=True)
class Listing:
    """Entries of a layer in the order of the tar: index `i` of each column belongs to entry `i`.

    paths       real paths: symbolic links of the layer among an entry's parents are followed, as engines do
    sizes       bytes of the body in the tar
    offsets     start of the body in the tar
    links       targets by entry; of hard links as real paths
    whiteouts   paths that the layer deletes from lower layers
    opaque      folders whose content in lower layers it hides
    texts       further texts of the headers

    An entry of kind WHITEOUT is a whiteout device, or a file that engines never extract, under its own path.
    """

    paths: PathList = field(default_factory=PathList)
    kinds: bytearray = field(default_factory=bytearray)
    sizes: array[int] = field(default_factory=lambda: array("q"))
    offsets: array[int] = field(default_factory=lambda: array("q"))
    links: dict[int, str] = field(default_factory=dict)
    whiteouts: dict[str, None] = field(default_factory=dict)
    opaque: list[str] = field(default_factory=list)
    texts: HeaderTexts = field(default_factory=HeaderTexts, compare=False, repr=False)
    limits: InitVar[Limits] = DEFAULT
    _resolver: PathResolver = field(init=False, compare=False, repr=False)

    def __post_init__(self, limits: Limits) -> None:
        self._resolver = PathResolver(limits)

    def __len__(self) -> int:
        return len(self.kinds)

    def add(self, header: Header) -> None:
        """Append an entry, or record a whiteout. The parser of the tar limits their number."""
        entry, path = len(self.kinds), self._resolver.real(header.path)
        if header.kind is EntryKind.FILE and path and WHITEOUT not in path and path not in self._resolver.tracked:
            self._append(path, EntryKind.FILE, header)
        else:
            self._add(path, header)
        self.texts.add(header, entry if len(self.kinds) > entry else None, linked=entry in self.links)

    def _add(self, path: str, header: Header) -> None:
        kind, link = header.kind, header.link
        if WHITEOUT in path and self._add_whiteout(path):
            if header.size:  # engines never extract the body, but it is in the tar
                self._append(path, EntryKind.WHITEOUT, header)
            return
        if not path and kind is not EntryKind.DIR:  # engines ignore a root that is no folder
            if header.size:
                self._append(path, EntryKind.WHITEOUT, header)
            return
        target = None
        if kind is EntryKind.SYMLINK:
            self.links[len(self.kinds)] = target = link
        elif kind is EntryKind.HARDLINK:
            self.links[len(self.kinds)] = link = self._resolver.real(link)
            target = self._resolver.link_at(link)
        if (kind is EntryKind.CHAR and header.device == (0, 0)) or (
            kind is EntryKind.HARDLINK and link in self.whiteouts
        ):
            kind = EntryKind.WHITEOUT
            self.links.pop(len(self.kinds), None)
            self.whiteouts[path] = None
        elif kind is EntryKind.DIR:
            # A folder behind its own whiteout is a new folder that merges with lower layers' folder.
            if path in self.whiteouts:
                del self.whiteouts[path]
            if header.pax.get(_OPAQUE_XATTR) == "y" and path:
                self.opaque.append(path)
        self._resolver.add(path, target, folder=kind is EntryKind.DIR)
        self._append(path, kind, header)

    def _append(self, path: str, kind: EntryKind, header: Header) -> None:
        self.paths.append(path)
        self.kinds.append(kind)
        self.sizes.append(header.size)
        self.offsets.append(header.offset)

    def _add_whiteout(self, path: str) -> bool:
        """Record a whiteout or an opaque whiteout; return False for any other path."""
        folder, _, name = path.rpartition("/")
        if name == OPAQUE:
            if folder and folder not in self.whiteouts:  # overlay file systems ignore one at the root
                self.opaque.append(folder)
            return True
        if not name.startswith(WHITEOUT):
            return False
        removed = name[len(WHITEOUT) :]
        if removed not in ("", ".", ".."):  # engines refuse these
            self.whiteouts[f"{folder}/{removed}" if folder else removed] = None
        return True

    def behind(self) -> Listing:
        """Return an empty listing for the entries behind those of this one, by which links and whiteouts are known."""
        listing = Listing(whiteouts=self.whiteouts, opaque=self.opaque)
        listing._resolver = self._resolver
        return listing

    def affects(self, other: Listing) -> bool:
        """Whether entries that were listed on their own would be others behind the entries of this listing.

        The answer may be true where they would be the same, never the other way round.
        """
        if not self.whiteouts and not self._resolver.tracked:
            return False
        targets = [link for entry, link in other.links.items() if other.kinds[entry] == EntryKind.HARDLINK]
        paths = [*other.paths, *targets]
        names = [*paths, *other.whiteouts, *other.opaque]
        if not self.whiteouts.keys().isdisjoint(names):
            return True
        return self._resolver.affects(paths, [*_folders(names), *other.opaque], other._resolver)

    def append(self, other: Listing) -> None:
        """Append the entries of a listing that `affects` is false of, or that `behind` returned. Raises Damaged."""
        first = len(self)
        self.paths.extend(other.paths)
        self.kinds += other.kinds
        self.sizes += other.sizes
        self.offsets += other.offsets
        self.links.update((first + entry, link) for entry, link in other.links.items())
        self.texts.append(other.texts, first)
        if other._resolver is not self._resolver:
            self.whiteouts |= other.whiteouts
            self.opaque += other.opaque
            self._resolver.append(other._resolver)

    def real(self, path: str) -> str:
        """Return a path with the symbolic links among its parents resolved, by all links of the layer."""
        return self._resolver.real(path)

    def at(self, offset: int) -> int:
        """Return the entry with the byte of the tar at an offset in its body, or -1."""
        entry = bisect_right(self.offsets, offset) - 1
        return entry if entry >= 0 and offset < self.offsets[entry] + self.sizes[entry] else -1

    @property
    def file_count(self) -> int:
        """Number of regular files, which have content."""
        return self.kinds.count(EntryKind.FILE)


def _folders(paths: Iterable[str]) -> set[str]:
    """Return all folders above some paths."""
    folders: set[str] = set()
    above = {path.rpartition("/")[0] for path in paths}
    while above := above - folders - {""}:
        folders |= above
        above = {folder.rpartition("/")[0] for folder in above}
    return folders


def listing_of(headers: Iterable[Header]) -> Listing:
    """Return the listing of some headers."""
    listing = Listing()
    for header in headers:
        listing.add(header)
    return listing


def overlay_attributes(header: Header) -> tuple[str, ...]:
    """Return the extended attributes that make an overlay file system show other files than the audit assumes.

    Those are redirected folders, files with data in another layer, and the attributes of unprivileged mounts.
    Source: overlayfs in the Linux kernel's documentation.
    """
    if not header.pax:
        return ()
    names = [name for name in _OVERLAY_NAMES if header.pax.get(_XATTR + name)]
    return tuple(name for name in names if _XATTR + name != _OPAQUE_XATTR or header.pax[_OPAQUE_XATTR] != "y")


def plain_file(path: str, size: int) -> Listing:
    """Return the listing of a blob that is one file instead of a tar."""
    listing = Listing(PathList([path]), bytearray([EntryKind.FILE]))
    listing.sizes.append(size)
    listing.offsets.append(0)
    return listing
