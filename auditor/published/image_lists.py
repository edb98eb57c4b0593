"""Package lists of an image's layers, and the packages that they prove."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping

from auditor.core.dataclass import dataclass
from auditor.published.package_list import PackageList, PackageListReader
from auditor.published.release import Release, ReleaseReader

FOLDERS = (b"var/lib/apt/lists/", b"./var/lib/apt/lists/")
"""Starts of the paths of apt's lists in a tar."""
_RELEASE, _LIST = b"_InRelease", b"_Packages"
_MOST_RELEASE = 1 << 20  # bytes; Debian's has 140,000
_MOST_FILES = 16  # in one layer
_MOST_BYTES = 32 << 20  # of the lists of an image; Debian's largest has 3 MB of rows


@dataclass(frozen=True, slots=True)
class _ExpectedFile:
    """A file of apt's lists at the offsets [begin, end) of a layer."""

    begin: int
    end: int
    reader: ReleaseReader | PackageListReader


@dataclass(frozen=True, slots=True)
class PackageLists:
    """Signed releases in one layer, and its package lists that a release there or below names."""

    releases: tuple[Release, ...] = ()
    lists: tuple[PackageList, ...] = ()


class LayerLists:
    """Package lists of one layer and of those below it. Call `close` when the layer was read, or its read failed.

    `below` are the lists of the layers whose read began before.
    """

    def __init__(self, below: Iterable[LayerLists] = ()) -> None:
        self._below = tuple(below)
        self._expected: list[_ExpectedFile] = []
        self._files = 0
        self.releases: list[Release] = []
        """Releases in this layer that a distribution signed."""
        self.lists: list[PackageList] = []
        """Package lists in this layer, signed or not."""
        self.read = threading.Event()
        """Set once the layer is read."""

    def expect(self, path: bytes, begin: int, size: int) -> None:
        """Take the header of a file of apt's lists, of which `size` bytes begin at an offset of the layer.

        Waits until the layers below are read.
        """
        if not size or self._files == _MOST_FILES:
            return
        if path.endswith(_LIST):
            for layer in self._below:
                layer.read.wait()
            if sum(len(known.rows) for layer in (*self._below, self) for known in layer.lists) > _MOST_BYTES:
                return
            self._expected.append(_ExpectedFile(begin, begin + size, PackageListReader()))
        elif path.endswith(_RELEASE) and size <= _MOST_RELEASE:
            self._expected.append(_ExpectedFile(begin, begin + size, ReleaseReader()))
        self._files += 1

    def feed(self, data: memoryview, base: int) -> None:
        """Take the bytes of the layer from the offset `base` on, in order, after the headers in them."""
        end = base + len(data)
        for file in [file for file in self._expected if file.begin < end]:
            file.reader.update(data[max(file.begin - base, 0) : file.end - base])
            if file.end <= end:
                self._expected.remove(file)
                match file.reader.finish():
                    case PackageList() as known:
                        self.lists.append(known)
                    case Release() as release:
                        self.releases.append(release)

    def use(self, known: PackageLists) -> None:
        """Take the lists of a layer that was read before, and close."""
        self.releases, self.lists = list(known.releases), list(known.lists)
        self.read.set()

    def close(self) -> None:
        """Mark the layer as read, and drop the lists that no release names. Waits until the layers below are read."""
        if not self.read.is_set():
            self.lists = list(self.found().lists)
            self.read.set()

    def published(self, sizes: Collection[int]) -> Mapping[bytes, str]:
        """Return publishers by the SHA-256 of the published packages of some sizes in bytes.

        Waits until the layers below are read. Has no package of the lists in this layer that are yet to come.
        """
        return {
            digest: publisher for known, publisher in self.signed() for size in sizes for digest in known.of_size(size)
        }

    def signed(self) -> list[tuple[PackageList, str]]:
        """Return the signed lists with their publishers. Waits as `published` does."""
        for layer in self._below:
            layer.read.wait()
        layers = (*self._below, self)
        lists = {known.digest: known for layer in layers for known in layer.lists}
        releases = [release for layer in layers for release in layer.releases]
        return [
            (known, release.publisher)
            for known in lists.values()
            for release in releases
            if known.digest in release.lists
        ]

    def found(self) -> PackageLists:
        """Return the lists of this layer. Waits as `published` does."""
        own = {known.digest for known in self.lists}
        signed = {known.digest: known for known, _ in self.signed() if known.digest in own}
        return PackageLists(tuple(self.releases), tuple(signed.values()))


class IgnoredLists(LayerLists):
    """Package lists that are not read, so that no package is known to be published."""

    def expect(self, path: bytes, begin: int, size: int) -> None:
        """Ignore the file."""
