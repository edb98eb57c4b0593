"""Secrets in the names and other header texts of a stack of layers, with what became of the entries that hold them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from auditor.core.entries import FileVersion, Skipped
from auditor.core.limits import Limits, named
from auditor.core.secret import Secret
from auditor.detect.confirm import Match
from auditor.layers.file_history import FileHistory
from auditor.scan import LayerRecord, Scanner
from auditor.scan.header_search import HeaderText

T = TypeVar("T")
Shown = Callable[[str], str]
"""Returns a path, or another text, as it is shown: its secrets masked."""
_KEYED = re.compile(r"(xattrs|pax|global)\[(.*)\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class HeaderSecret:
    """A secret in one text of a layer's headers. `where` is the place for the report, `path` that of the entry.

    `held_by` are the entries, lowest first; `hidden_in` the layer that hides the last of them, None while one is
    visible.
    """

    where: str
    path: str
    found: Match
    secret: Secret
    added_in: int
    hidden_in: int | None
    held_by: tuple[FileVersion, ...]


def in_headers(
    records: Sequence[LayerRecord],
    trace: FileHistory,
    scanner: Scanner,
    seal: Callable[[Secret], Secret],
    shown: Shown,
    skip: Callable[[Skipped], None],
) -> Iterator[HeaderSecret]:
    """Yield the secrets in the headers of all layers: one for each text, however many entries and layers repeat it.

    A text that was hidden before a higher layer holds it again is another one. A whiteout counts where nothing below
    has the name.
    """
    held: dict[tuple[str, str, Secret], list[tuple[int, HeaderText, Match]]] = {}
    removed = []
    for layer, record in enumerate(records):
        if record.listing.texts.full:
            skip(Skipped(None, layer, "owners, extended attributes and pax records: more than are searched"))
        for name, found in _some(scanner.searcher.search_headers(record.listing), scanner.limits, layer, skip):
            key = (name.path, name.part, seal(found.secret))
            if name.part == "whiteout":
                removed.append((key, (layer, name, found)))
            else:
                held.setdefault(key, []).append((layer, name, found))
    for key, whiteout in removed:
        if (key[0], "name", key[2]) not in held:
            held.setdefault(key, []).append(whiteout)
    for (path, part, secret), own in held.items():
        for run in _runs(trace, own):
            layer, _, found = run[0]
            held_by = tuple(FileVersion(at, name.entry) for at, name, _ in run if name.entry is not None)
            where = f"layers[{layer}].{_place(part, path, shown)}"
            yield HeaderSecret(where, path, found, secret, layer, _hidden_in(trace, held_by), held_by)


def _some(items: Iterator[T], limits: Limits, layer: int, skip: Callable[[Skipped], None]) -> Iterator[T]:
    most = limits.findings_layer
    yield from islice(items, most)
    if next(items, None) is not None:
        reason = f"more than {most} secrets in names of the layer; the rest was left out {named('findings-layer')}"
        skip(Skipped(None, layer, reason))


def _runs(
    trace: FileHistory, own: Sequence[tuple[int, HeaderText, Match]]
) -> Iterator[list[tuple[int, HeaderText, Match]]]:
    """Split the entries that hold a text where all before were hidden by a layer below the next one."""
    run: list[tuple[int, HeaderText, Match]] = []
    gone: int | None = -1  # the layer that hides the last of the run; None while one stays visible
    for item in own:
        layer, name, _ = item
        if run and gone is not None and gone < layer:
            yield run
            run, gone = [], -1
        run.append(item)
        hidden = None if name.entry is None else trace.hidden_in(layer, name.entry)
        gone = None if gone is None or hidden is None else max(gone, hidden)
    yield run


def _hidden_in(trace: FileHistory, held_by: Sequence[FileVersion]) -> int | None:
    layers = [trace.hidden_in(version.layer, version.entry) for version in held_by]
    return None if not layers or None in layers else max(layer for layer in layers if layer is not None)


def _place(part: str, path: str, shown: Shown) -> str:
    """Return `entries["/a"].link`, `entries["/a"].xattrs["user.x"]`, `whiteouts["/a"]`, `global["comment"]`."""
    keyed = _KEYED.fullmatch(part)
    if keyed:
        part = f"{keyed[1]}[{_quoted(shown(keyed[2]))}]"
    entry = _quoted(shown("/" + path))
    match part:
        case "whiteout":
            return f"whiteouts[{entry}]"
        case _ if keyed and keyed[1] == "global":
            return part
        case _:
            return f"entries[{entry}].{part}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
