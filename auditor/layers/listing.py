"""A layer's entries in columns. A million files must fit in memory, so there is no object for each."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import InitVar, dataclass, field

from auditor.codec.tar_headers import Header
from auditor.core.entries import EntryKind
from auditor.core.limits import DEFAULT, Limits
from auditor.layers.header_texts import HeaderTexts
from auditor.layers.path_resolver import PathResolver

# OCI image spec, layer.md#whiteouts.
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_XATTR = "SCHILY.xattr."
_OPAQUE_XATTR = _XATTR + "trusted.overlay.opaque"
_STEERING = tuple(
    f"{space}.overlay.{name}"
    for space in ("trusted", "user")
    for name in ("opaque", "redirect", "metacopy", "whiteout")
)


@dataclass(slots=True)
class Listing:
    """Entries in the order of the tar; column `i` of each belongs to entry `i`.

    `paths` are real paths: symbolic links of the layer among an entry's parents are followed, as engines do. `sizes`
    are body bytes in the tar, `offsets` where bodies start in it; `links` holds the targets of links, of hard links as
    real paths. `whiteouts` are the paths that the layer removes from those below, `opaque` the folders that it empties.
    An entry of kind WHITEOUT is a whiteout that is a device, or a body that is never extracted; the path is its own.
    `texts` are further texts of the headers.
    """

    paths: list[str] = field(default_factory=list)
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
        return len(self.paths)

    def add(self, header: Header) -> None:
        """Append an entry, or note what it removes. How many there may be, the walker of the tar says."""
        entry, path = len(self.paths), self._resolver.real(header.path)
        if header.kind is EntryKind.FILE and path and WHITEOUT not in path and path not in self._resolver.noted:
            self._append(path, EntryKind.FILE, header)
        else:
            self._add(path, header)
        self.texts.note(header, entry if len(self.paths) > entry else None, linked=entry in self.links)

    def _add(self, path: str, header: Header) -> None:
        kind, link = header.kind, header.link
        if WHITEOUT in path and self._removes(path):
            if header.size:  # never extracted, and still in the tar
                self._append(path, EntryKind.WHITEOUT, header)
            return
        if not path and kind is not EntryKind.DIR:  # nothing but a folder can be the root: engines pass it over
            if header.size:
                self._append(path, EntryKind.WHITEOUT, header)
            return
        target = None
        if kind is EntryKind.SYMLINK:
            self.links[len(self.paths)] = target = link
        elif kind is EntryKind.HARDLINK:
            self.links[len(self.paths)] = link = self._resolver.real(link)
            target = self._resolver.link_at(link)
        if (kind is EntryKind.CHAR and header.device == (0, 0)) or (
            kind is EntryKind.HARDLINK and link in self.whiteouts
        ):
            kind = EntryKind.WHITEOUT
            self.links.pop(len(self.paths), None)
            self.whiteouts[path] = None
        elif kind is EntryKind.DIR:
            # A folder made where a whiteout stood is a new folder, through which those of lower layers show.
            if path in self.whiteouts:
                del self.whiteouts[path]
            if header.pax.get(_OPAQUE_XATTR) == "y" and path:
                self.opaque.append(path)
        self._resolver.put(path, target, folder=kind is EntryKind.DIR)
        self._append(path, kind, header)

    def _append(self, path: str, kind: EntryKind, header: Header) -> None:
        self.paths.append(path)
        self.kinds.append(kind)
        self.sizes.append(header.size)
        self.offsets.append(header.offset)

    def _removes(self, path: str) -> bool:
        """Note what a whiteout or an opaque whiteout removes; False where the path is neither."""
        folder, _, name = path.rpartition("/")
        if name == OPAQUE:
            if folder and folder not in self.whiteouts:  # overlay file systems heed none at the root
                self.opaque.append(folder)
            return True
        if not name.startswith(WHITEOUT):
            return False
        removed = name[len(WHITEOUT) :]
        if removed not in ("", ".", ".."):  # engines refuse these
            self.whiteouts[f"{folder}/{removed}" if folder else removed] = None
        return True

    def real(self, path: str) -> str:
        """Return where a path leads by the symbolic links that the layer has at its end, its own name kept."""
        return self._resolver.real(path)

    def become(self, other: Listing) -> None:
        """Take another listing's entries in place of one's own."""
        self.paths[:], self.kinds[:] = other.paths, other.kinds
        self.sizes[:], self.offsets[:] = other.sizes, other.offsets

    def at(self, offset: int) -> int:
        """Return the entry whose body holds the tar's byte `offset`, or -1."""
        entry = bisect_right(self.offsets, offset) - 1
        return entry if entry >= 0 and offset < self.offsets[entry] + self.sizes[entry] else -1

    def files(self) -> Iterator[int]:
        """Yield the entries that have content of their own."""
        return (entry for entry, kind in enumerate(self.kinds) if kind == EntryKind.FILE)


def listing_of(headers: Iterable[Header]) -> Listing:
    """Collect headers into a listing."""
    listing = Listing()
    for header in headers:
        listing.add(header)
    return listing


def overlay_attributes(header: Header) -> tuple[str, ...]:
    """Return the extended attributes by which an overlay file system would show other files, and that are not followed.

    Those are redirected folders, files that keep their data elsewhere, and the attributes of mounts for unprivileged
    users. Source: overlayfs in the Linux kernel's documentation.
    """
    if not header.pax:
        return ()
    names = [name for name in _STEERING if header.pax.get(_XATTR + name)]
    return tuple(name for name in names if _XATTR + name != _OPAQUE_XATTR or header.pax[_OPAQUE_XATTR] != "y")


def plain_file(path: str, size: int) -> Listing:
    """Return the listing of a blob that is no tar: one file."""
    listing = Listing([path], bytearray([EntryKind.FILE]))
    listing.sizes.append(size)
    listing.offsets.append(0)
    return listing
