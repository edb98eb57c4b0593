"""Records of written layers, derived from the records of the input's layers without a second scan.

Equal bytes under an equal path hold equal secrets. The plan names the input file that each output file is a copy of;
`comparison` proves that on the written bytes before any result of a derived record counts.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, chain
from typing import Any

from auditor.core.dataclass import dataclass
from auditor.core.entries import FileVersion
from auditor.core.errors import FlattenError
from auditor.layers.layer_index import LayerIndex
from auditor.layers.listing import Listing
from auditor.layers.path_list import PathList
from auditor.rebuild.operations import (
    NO_VERSION,
    AddFile,
    AddWhiteout,
    CopyEntry,
    ExciseLayer,
    MergeLayers,
    Operation,
    pack_version,
    unpack_version,
)
from auditor.scan import LayerMatch, LayerRecord


def copy_sources(plan: MergeLayers | ExciseLayer, listings: Sequence[Listing], scanned: int) -> array[int] | None:
    """Return the packed input version that each entry of the written layer is a copy of, else NO_VERSION.

    Return None where the written layer needs a scan: a file gets another path, which rules may judge differently, or
    comes from a layer beyond the first `scanned`.
    """
    copied_from = array("q")
    for operation in _operations(plan, listings):
        match operation:
            case AddWhiteout():
                continue
            case CopyEntry(at) if at.layer < scanned:
                copied_from.append(pack_version(at))
            case AddFile(path, at, _) if at.layer < scanned and path == listings[at.layer].paths[at.entry]:
                copied_from.append(pack_version(at))
            case CopyEntry() | AddFile():
                return None
            case _:
                copied_from.append(NO_VERSION)
    return copied_from


def _operations(plan: MergeLayers | ExciseLayer, listings: Sequence[Listing]) -> Iterator[Operation]:
    if isinstance(plan, MergeLayers):
        yield from plan.operations
        return
    for entry in range(len(listings[plan.number])):
        yield from plan.replacements.get(entry, (CopyEntry(FileVersion(plan.number, entry)),))


def derived_record(
    index: LayerIndex, copied_from: array[int], records: Sequence[LayerRecord], what: str
) -> LayerRecord:
    """Return the record of a written layer from those of the input; `copied_from` maps its entries to versions there.

    Raises FlattenError where the layer has another number of entries.
    """
    if len(copied_from) != len(index.listing):
        raise FlattenError(f"{what}: has {len(index.listing)} entries, the plan has {len(copied_from)}")
    by_entry = [_RecordByEntry.of(record) for record in records]
    known = {pack_version(FileVersion(layer, entry)) for layer, one in enumerate(by_entry) for entry in one.entries()}
    places = [(entry, unpack_version(source)) for entry, source in enumerate(copied_from) if source in known]
    used = {unpack_version(source).layer for source in copied_from if source != NO_VERSION}
    return LayerRecord(
        index.digest,
        index.size,
        index.diff_id,
        index.uncompressed,
        _with_shared_paths(index.listing, copied_from, records),
        tuple(replace(match, entry=e) for e, at in places for match in by_entry[at.layer].matches.get(at.entry, ())),
        (
            *(skipped for layer in sorted(used) for skipped in by_entry[layer].skipped.get(NO_VERSION, ())),
            *(skipped for _, at in places for skipped in by_entry[at.layer].skipped.get(at.entry, ())),
        ),
        index.is_tar,
        checksums=dict(_by_new_entry("checksums", records, places)),
        package_databases=dict(_by_new_entry("package_databases", records, places)),
        transient=any(records[layer].transient for layer in used),
    )


@dataclass(frozen=True, slots=True)
class _RecordByEntry:
    """Content of a record by entry; skipped items that belong to no entry are under NO_VERSION."""

    record: LayerRecord
    matches: Mapping[int, list[LayerMatch]]
    skipped: Mapping[int, list[tuple[str | None, str]]]

    @classmethod
    def of(cls, record: LayerRecord) -> _RecordByEntry:
        matches: dict[int, list[LayerMatch]] = {}
        for match in record.matches:
            matches.setdefault(match.entry, []).append(match)
        return cls(record, matches, skipped_by_entry(record))

    def entries(self) -> Iterator[int]:
        known = (self.matches, self.skipped, self.record.checksums, self.record.package_databases)
        return (entry for entry in chain(*known) if entry != NO_VERSION)


def skipped_by_entry(record: LayerRecord) -> dict[int, list[tuple[str | None, str]]]:
    """Group skipped items by entry; `/file!member` belongs to `/file`."""
    if not record.skipped:
        return {}
    names: dict[str, list[tuple[str | None, str]]] = {}
    for skipped in record.skipped:
        for outer in accumulate((skipped[0] or "").lstrip("/").split("!"), "{}!{}".format):
            names.setdefault(outer, []).append(skipped)
    grouped = {entry: names[path] for entry, path in enumerate(record.listing.paths) if path in names}
    placed = {skipped for group in grouped.values() for skipped in group}
    return {**grouped, NO_VERSION: [skipped for skipped in record.skipped if skipped not in placed]}


def _by_new_entry(
    column: str, records: Sequence[LayerRecord], places: Iterable[tuple[int, FileVersion]]
) -> Iterator[Any]:
    for entry, at in places:
        known = getattr(records[at.layer], column)
        if at.entry in known:
            yield entry, known[at.entry]


def _with_shared_paths(listing: Listing, copied_from: array[int], records: Sequence[LayerRecord]) -> Listing:
    """Share path strings with the listings of the input: an image has some hundred thousand."""
    paths = list(listing.paths)
    for entry, source in enumerate(copied_from):
        if source != NO_VERSION:
            at = unpack_version(source)
            path = records[at.layer].listing.paths[at.entry]
            if paths[entry] == path:
                paths[entry] = path
    listing.paths = PathList(paths)
    return listing
