"""Paths of a layer's entries, in little memory: an image may have a million."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, overload

from isal import isal_zlib

_TOGETHER = 512
"""Paths of a packed block."""

_END = "\0"


class PathList(Sequence[str]):
    """A list of paths to which paths are added.

    Packed, paths take a tenth of the memory of strings, as neighbours have the same folders. To read packed paths in
    order is fast; any other read unpacks a block.
    """

    __slots__ = ("_blocks", "_ends", "_rest", "_unpacked")

    def __init__(self, paths: Iterable[str] = ()) -> None:
        """Make a list of paths that are not packed."""
        self._blocks: list[bytes | list[str]] = []
        self._ends = array("q")  # number of paths up to the end of each block
        self._rest = list(paths)
        self._unpacked: tuple[int, list[str]] = (-1, [])  # number and paths of the block read last

    def append(self, path: str) -> None:
        """Add a path."""
        self._rest.append(path)

    def extend(self, other: PathList) -> None:
        """Add the paths of another list. Both are packed."""
        self.pack()
        other.pack()
        count = len(self)
        self._blocks += other._blocks
        self._ends.extend(count + end for end in other._ends)

    def pack(self) -> None:
        """Pack all paths."""
        for at in range(0, len(self._rest), _TOGETHER):
            some = self._rest[at : at + _TOGETHER]
            self._ends.append((self._ends[-1] if self._ends else 0) + len(some))
            self._blocks.append(_packed(some))
        self._rest = []

    def unpack(self) -> None:
        """Make all paths strings again, to be read in any order."""
        self._rest = list(self)
        self._blocks, self._ends, self._unpacked = [], array("q"), (-1, [])

    def __len__(self) -> int:
        return (self._ends[-1] if self._ends else 0) + len(self._rest)

    def __iter__(self) -> Iterator[str]:
        return self._from_block(0)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if not self._ends:
            return self._rest[index]
        if isinstance(index, slice):
            return self._slice(range(len(self))[index])
        index = range(len(self))[index]
        number = bisect_right(self._ends, index)
        return self._block(number)[index - self._start(number)]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, PathList) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"PathList({list(self)!r})"

    def __getstate__(self) -> tuple[Any, ...]:
        self.pack()
        return self._blocks, self._ends

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._blocks, self._ends = state
        self._rest, self._unpacked = [], (-1, [])

    def _slice(self, indices: range) -> list[str]:
        if indices.step != 1:
            return [self[index] for index in indices]
        number = bisect_right(self._ends, indices.start)
        skipped = indices.start - self._start(number)
        return list(islice(self._from_block(number), skipped, skipped + len(indices)))

    def _from_block(self, number: int) -> Iterator[str]:
        return chain.from_iterable(map(self._block, range(number, len(self._blocks) + 1)))

    def _start(self, number: int) -> int:
        return self._ends[number - 1] if number else 0

    def _block(self, number: int) -> list[str]:
        """Return the paths of a block; those that are not packed are the last block."""
        if number == len(self._blocks):
            return self._rest
        known, paths = self._unpacked
        if known != number:
            paths = _unpacked(self._blocks[number])
            self._unpacked = (number, paths)
        return paths


def _packed(paths: list[str]) -> bytes | list[str]:
    """Return the paths compressed; as they are if one contains the byte that ends a path, as a PAX record may."""
    text = _END.join(paths)
    if text.count(_END) >= len(paths):
        return paths
    return isal_zlib.compress(text.encode("utf-8", "surrogatepass"), 1)


def _unpacked(block: bytes | list[str]) -> list[str]:
    if isinstance(block, list):
        return block
    return isal_zlib.decompress(block).decode("utf-8", "surrogatepass").split(_END)
