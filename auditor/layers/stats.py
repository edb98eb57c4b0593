"""Counts of each layer: entries added, overwritten and deleted, and hidden bytes."""

from __future__ import annotations

import heapq
from collections.abc import Collection

from auditor.codec.tar_headers import BLOCK, padded
from auditor.core.dataclass import dataclass
from auditor.core.entries import EntryKind, FileVersion
from auditor.layers.file_history import FileHistory
from auditor.layers.listing import Listing


@dataclass(frozen=True, slots=True)
class LayerStats:
    """Entries of a layer without folders: new paths, and entries of lower layers that it overwrites or deletes.

    `hidden_bytes` is the size of this layer's files that are hidden in the final tree.
    """

    added: int
    overwritten: int
    deleted: int
    hidden_bytes: int


@dataclass(frozen=True, slots=True)
class HiddenFiles:
    """File versions hidden in the final tree, and the largest of them."""

    count: int
    bytes: int
    largest: tuple[FileVersion, ...]


def layer_stats(history: FileHistory) -> tuple[LayerStats, ...]:
    """Return the counts of every layer of a stack."""
    layers = range(len(history.layers))
    entries, own = [0 for _ in layers], [0 for _ in layers]
    overwritten, deleted, hidden = [0 for _ in layers], [0 for _ in layers], [0 for _ in layers]
    for layer, listing in enumerate(history.layers):
        entries[layer] = len(listing) - listing.kinds.count(EntryKind.DIR)
        for entry in history.hidden_entries(layer):
            if listing.kinds[entry] == EntryKind.DIR:
                continue
            by, is_overwritten = history.hidden_by(layer, entry)
            assert by is not None  # noqa: S101 - it is hidden
            hidden[layer] += listing.sizes[entry]
            if by == layer:
                own[layer] += 1
            elif is_overwritten:
                overwritten[by] += 1
            else:
                deleted[by] += 1
    return tuple(
        LayerStats(max(entries[i] - own[i] - overwritten[i], 0), overwritten[i], deleted[i], hidden[i]) for i in layers
    )


def hidden_files(history: FileHistory, largest: int = 20) -> HiddenFiles:
    """Count the hidden file versions. Of equal size, those of lower layers and earlier in the tar come first."""
    count = total = 0
    heap: list[tuple[int, int, int]] = []
    for layer, listing in enumerate(history.layers):
        for entry in history.hidden_entries(layer):
            if listing.kinds[entry] == EntryKind.FILE:
                count += 1
                total += listing.sizes[entry]
                item = (listing.sizes[entry], -layer, -entry)
                if len(heap) < largest:
                    heapq.heappush(heap, item)
                elif item > heap[0]:
                    heapq.heapreplace(heap, item)
    order = sorted(heap, reverse=True)
    return HiddenFiles(count, total, tuple(FileVersion(-layer, -entry) for _, layer, entry in order))


def visible_bytes(history: FileHistory, lowest: int = 0) -> int:
    """Estimate the size, in bytes, of a tar of the visible entries of the layers from `lowest` up."""
    total = 2 * BLOCK
    for layer in range(lowest, len(history.layers)):
        listing = history.layers[layer]
        total += _end(listing) - sum(_size_in_tar(listing, entry) for entry in history.hidden_entries(layer))
    return total


def bytes_without(history: FileHistory, layer: int, size: int, removed: Collection[int]) -> int:
    """Estimate the size of a layer's tar, now `size` bytes, without the `removed` entries and padding at its end."""
    listing = history.layers[layer]
    end = _end(listing)
    last = BLOCK * (2 + len(listing.whiteouts) + len(listing.opaque))  # whiteouts may stand after the last entry
    return end + min(size - end, last) - sum(_size_in_tar(listing, entry) for entry in removed)


def _end(listing: Listing) -> int:
    """Return the end of the last entry in the tar of a layer, in bytes."""
    return listing.offsets[-1] + padded(listing.sizes[-1]) if len(listing) else 0


def _size_in_tar(listing: Listing, entry: int) -> int:
    """Return the bytes of an entry in its tar, with its headers and any whiteouts directly before it."""
    start = listing.offsets[entry - 1] + padded(listing.sizes[entry - 1]) if entry else 0
    return listing.offsets[entry] + padded(listing.sizes[entry]) - start
