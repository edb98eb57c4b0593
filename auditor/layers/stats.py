"""What each layer adds, overwrites, deletes and wastes: counts over a trace."""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass

from auditor.codec.tar_headers import BLOCK, padded
from auditor.core.entries import EntryKind, FileVersion
from auditor.layers.file_history import FileHistory
from auditor.layers.listing import Listing


@dataclass(frozen=True, slots=True)
class LayerStats:
    """Entries that are no folders: new paths, lower ones hidden by the same path anew, lower ones removed.

    `hidden_bytes` is the content of this layer's files that the final tree does not show.
    """

    added: int
    overwritten: int
    deleted: int
    hidden_bytes: int


@dataclass(frozen=True, slots=True)
class HiddenFiles:
    """File versions that the final tree does not show, with the largest of them."""

    count: int
    bytes: int
    largest: tuple[FileVersion, ...]


def layer_stats(trace: FileHistory) -> tuple[LayerStats, ...]:
    """Count for every layer of a stack."""
    layers = range(len(trace.layers))
    entries, own = [0 for _ in layers], [0 for _ in layers]
    overwritten, deleted, hidden = [0 for _ in layers], [0 for _ in layers], [0 for _ in layers]
    for layer, listing in enumerate(trace.layers):
        for entry, kind in enumerate(listing.kinds):
            if kind == EntryKind.DIR:
                continue
            entries[layer] += 1
            by, anew = trace.hidden_by(layer, entry)
            if by is None:
                continue
            hidden[layer] += listing.sizes[entry]
            if by == layer:
                own[layer] += 1
            elif anew:
                overwritten[by] += 1
            else:
                deleted[by] += 1
    return tuple(
        LayerStats(max(entries[i] - own[i] - overwritten[i], 0), overwritten[i], deleted[i], hidden[i]) for i in layers
    )


def hidden_files(trace: FileHistory, largest: int = 20) -> HiddenFiles:
    """Sum up the hidden file versions; ties among the largest go by layer and place in the tar."""
    count = total = 0
    heap: list[tuple[int, int, int]] = []
    for layer, listing in enumerate(trace.layers):
        for entry in listing.files():
            if trace.hidden_in(layer, entry) is not None:
                count += 1
                total += listing.sizes[entry]
                item = (listing.sizes[entry], -layer, -entry)
                if len(heap) < largest:
                    heapq.heappush(heap, item)
                elif item > heap[0]:
                    heapq.heapreplace(heap, item)
    order = sorted(heap, reverse=True)
    return HiddenFiles(count, total, tuple(FileVersion(-layer, -entry) for _, layer, entry in order))


def visible_bytes(trace: FileHistory, lowest: int = 0) -> int:
    """Estimate the tar that holds what is visible of the layers from `lowest` up, in bytes."""
    total = 2 * BLOCK
    for layer in range(lowest, len(trace.layers)):
        for entry in range(len(trace.layers[layer])):
            if trace.hidden_in(layer, entry) is None:
                total += _taken(trace.layers[layer], entry)
    return total


def bytes_without(trace: FileHistory, layer: int, size: int, gone: Collection[int]) -> int:
    """Estimate a layer's tar of `size` bytes without some entries, and without what its writer filled it up with."""
    listing = trace.layers[layer]
    end = listing.offsets[-1] + padded(listing.sizes[-1]) if len(listing) else 0
    last = BLOCK * (2 + len(listing.whiteouts) + len(listing.opaque))  # whiteouts may stand after the last entry
    return end + min(size - end, last) - sum(_taken(listing, entry) for entry in gone)


def _taken(listing: Listing, entry: int) -> int:
    """Return what an entry takes in its tar, all its headers included, and a whiteout that stands before it."""
    start = listing.offsets[entry - 1] + padded(listing.sizes[entry - 1]) if entry else 0
    return listing.offsets[entry] + padded(listing.sizes[entry]) - start
