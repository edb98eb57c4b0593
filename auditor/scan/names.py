"""Secrets in the names of a layer: paths, targets of links, whiteouts, and further texts of its tar headers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from auditor.detect.confirm import Match
from auditor.detect.hits import Hits, joined_hits
from auditor.layers.listing import Listing

_TOGETHER = 4096
"""Texts that are searched together: a call costs as much as some kilobytes do."""


@dataclass(frozen=True, slots=True)
class Name:
    """A text of an entry's header, or of a whiteout, which has none. `part` says which: `name`, `link`, `uname`, …

    `path` is that of the entry; of a secret in a path, up to the name that holds it.
    """

    entry: int | None
    part: str
    path: str
    text: str


Search = Callable[[bytes | memoryview], Hits]
Confirm = Callable[[bytes, Hits], list[Match]]


def secrets_in_names(listing: Listing, search: Search, confirm: Confirm) -> Iterator[tuple[Name, Match]]:
    """Yield the secrets of a layer's names."""
    paths = listing.paths
    for entry, found in secrets_in_lines(paths, search, confirm):
        yield Name(entry, "name", _up_to(paths[entry], found), paths[entry]), found
    entries, targets = list(listing.links), list(listing.links.values())
    for at, found in secrets_in_lines(targets, search, confirm):
        yield Name(entries[at], "link", paths[entries[at]], targets[at]), found
    removed = [*listing.whiteouts, *listing.opaque]
    for at, found in secrets_in_lines(removed, search, confirm):
        yield Name(None, "whiteout", _up_to(removed[at], found), removed[at]), found
    texts = list(listing.texts.texts.items())
    for at, found in secrets_in_lines([text for (_, text), _ in texts], search, confirm):
        (part, text), of = texts[at]
        yield Name(of, part, "" if of is None else paths[of], text), found


def secrets_in_lines(texts: Sequence[str], search: Search, confirm: Confirm) -> Iterator[tuple[int, Match]]:
    """Yield the secrets in some texts, with the number of each text."""
    for first in range(0, len(texts), _TOGETHER):
        data = [text.encode("utf-8", "surrogateescape") for text in texts[first : first + _TOGETHER]]
        if not search(b"\n".join(data)):
            continue
        for at, hits in enumerate(joined_hits(search, data)):
            for found in confirm(data[at], hits) if hits else ():
                yield first + at, found


def _up_to(path: str, found: Match) -> str:
    """Return a path up to the end of the name that a secret ends in."""
    data = path.encode("utf-8", "surrogateescape")
    end = data.find(b"/", found.end)
    return path if end < 0 else data[:end].decode("utf-8", "surrogateescape")
