"""`--method export`: the engine unpacks the image, and its export becomes the single layer.

`docker export | docker import` loses the config, the times of folders, and files that the engine replaces in every
container; those are taken from the input. The engine truncates times of files to seconds.
"""

from __future__ import annotations

import os
import tempfile

from auditor.codec.file_slices import FileSlice, SharedFile
from auditor.core.entries import EntryKind, FileVersion
from auditor.core.errors import ImageError, UsageError
from auditor.images import daemon
from auditor.images.source import Layer
from auditor.images.transports import TRANSPORTS
from auditor.layers.layer_index import index_layer
from auditor.layers.listing import Listing
from auditor.pipeline import Audit
from auditor.rebuild.extraction import implied_folder_modes
from auditor.rebuild.layer_headers import read_headers
from auditor.rebuild.layer_reader import LayerReader
from auditor.rebuild.merge import merge
from auditor.rebuild.operations import AddFile, AddFolder, AddLink, AddWhiteout, CopyEntry, MergeLayers, Operation
from auditor.rebuild.readable_layers import ReadableLayers

ENGINE_FILES = frozenset(
    (".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "dev/pts", "dev/shm")
)
"""Files that an engine creates in every container. Source: moby daemon/initlayer."""
_CHUNK = 1 << 20


def exported(audit: Audit, readable: ReadableLayers) -> MergeLayers:
    """Export an image from the engine, add the export to `readable` as a further layer, and plan from both.

    Raises UsageError where the target is not in the engine, NotFound, Unreachable.
    """
    layer = _exported_layer(audit)
    number = len(readable.layers)
    with layer.content.open() as stream:
        listing = index_layer(stream, f"{audit.image.target}: its export", readable.limits).listing
    planned = merge([record.listing for record in audit.records], 0, implied_folder_modes(readable.extracted))[0]
    assert isinstance(planned, MergeLayers)  # noqa: S101
    readable.layers.append(layer)
    readable.listings.append(listing)
    keep = {entry for entry, kind in enumerate(listing.kinds) if kind == EntryKind.HARDLINK}
    with LayerReader(layer, f"{audit.image.target}: its export", readable.limits) as reader:
        readable.headers[number] = read_headers(reader, listing, keep.__contains__)
    return MergeLayers(0, tuple(_operations(planned, readable, number)))


def _exported_layer(audit: Audit) -> Layer:
    image = audit.image
    transport = TRANSPORTS[image.transport]
    if not transport.in_engine:
        raise UsageError(
            f"{image.target}: --method export needs an image of the engine. Load it with: docker load -i FILE"
        )
    name = transport.bare(image.target)
    if daemon.inspect(name).diff_ids != tuple(record.diff_id for record in audit.records):
        raise ImageError(f"{name}: the name moved to another image during the run. Run the command again")
    with tempfile.TemporaryFile() as spool, daemon.exported(name) as stream:
        while chunk := stream.read(_CHUNK):
            spool.write(chunk)
        spool.flush()
        file = SharedFile(os.dup(spool.fileno()))
    return Layer(FileSlice(file, 0, file.size), None, None, None)


def _operations(planned: MergeLayers, readable: ReadableLayers, number: int) -> list[Operation]:
    """Yield folders and replaced files from the layers, all other files from the export."""
    listing = readable.listings[number]
    files = {
        p for entry, p in enumerate(listing.paths) if listing.kinds[entry] != EntryKind.DIR and p not in ENGINE_FILES
    }
    own = [(operation, _path(operation, readable.listings)) for operation in planned.operations]
    visible = {path for operation, path in own if not isinstance(operation, AddFolder)}
    copies = [
        CopyEntry(FileVersion(number, e)) for e, path in enumerate(listing.paths) if path in files and path in visible
    ]
    folders = [operation for operation, _ in own if isinstance(operation, AddFolder)]
    return [
        *folders,
        *copies,
        *(operation for operation, path in own if not isinstance(operation, AddFolder) and path not in files),
    ]


def _path(operation: Operation, listings: list[Listing]) -> str:
    match operation:
        case CopyEntry(at) | AddLink(at, _, _):
            return listings[at.layer].paths[at.entry]
        case AddFile(path, _, _) | AddFolder(path, _, _) | AddWhiteout(path):
            return path
