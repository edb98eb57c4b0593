"""Secrets in the tar headers of a layer: paths, link targets, whiteouts, user and group names, PAX records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from auditor.core.dataclass import dataclass
from auditor.detect.hits import Hits, hits_of_pieces
from auditor.detect.matches import Match
from auditor.layers.listing import Listing

_TOGETHER = 4096
"""Number of texts in one search: a call costs as much as searching some kilobytes."""

_LINE_BREAK = ord("\n")

Search = Callable[[bytes | memoryview], Hits]
Confirm = Callable[[bytes, Hits], list[Match]]


@dataclass(frozen=True, slots=True)
class HeaderText:
    """A text of a tar header: its kind (`name`, `link`, `whiteout`, `uname`, …) and its entry, None for a whiteout.

    `path` is that of the entry; for a secret in a path, up to the end of the component that contains it.
    """

    entry: int | None
    part: str
    path: str
    text: str


def search_headers(listing: Listing, search: Search, confirm: Confirm) -> Iterator[tuple[HeaderText, Match]]:
    """Yield the matches in a layer's header texts."""
    paths = listing.paths
    for entry, match in search_lines(paths, search, confirm):
        yield HeaderText(entry, "name", _truncated(paths[entry], match), paths[entry]), match
    entries, targets = list(listing.links), list(listing.links.values())
    for index, match in search_lines(targets, search, confirm):
        yield HeaderText(entries[index], "link", paths[entries[index]], targets[index]), match
    removed = [*listing.whiteouts, *listing.opaque]
    for index, match in search_lines(removed, search, confirm):
        yield HeaderText(None, "whiteout", _truncated(removed[index], match), removed[index]), match
    texts = list(listing.texts.texts.items())
    for index, match in search_lines([text for (_, text), _ in texts], search, confirm):
        (part, text), of = texts[index]
        yield HeaderText(of, part, "" if of is None else paths[of], text), match


def search_lines(texts: Sequence[str], search: Search, confirm: Confirm) -> Iterator[tuple[int, Match]]:
    """Yield the matches in some texts, each with the index of its text."""
    for first in range(0, len(texts), _TOGETHER):
        some = texts[first : first + _TOGETHER]
        data = "\n".join(some).encode("utf-8", "surrogateescape")
        for index, hits in _hits_of_texts(search(data), data, some):
            for match in confirm(some[index].encode("utf-8", "surrogateescape"), hits):
                yield first + index, match


def _hits_of_texts(hits: Hits, data: bytes, texts: Sequence[str]) -> list[tuple[int, Hits]]:
    """Return the hits in each text by its index, ascending. `data` are the texts, joined by line breaks."""
    if data.count(b"\n") >= len(texts):  # a text itself contains a line break
        pieces = [text.encode("utf-8", "surrogateescape") for text in texts]
        return sorted(hits_of_pieces(hits, pieces).items())
    own: dict[int, Hits] = {}
    index = start = at = 0
    places: dict[int, tuple[int, int]] = {}
    for end in sorted({end for _, end in hits}):  # only texts with a hit are looked at
        index += data.count(b"\n", at, end - 1)
        start = data.rfind(b"\n", at, end - 1) + 1 or start
        places[end] = index, start
        at = end - 1
    for rule, end in hits:
        index, start = places[end]
        if data[end - 1] != _LINE_BREAK:
            own.setdefault(index, []).append((rule, end - start))
    return sorted(own.items())


def _truncated(path: str, match: Match) -> str:
    """Return a path up to the end of the component in which a match ends."""
    data = path.encode("utf-8", "surrogateescape")
    end = data.find(b"/", match.end)
    return path if end < 0 else data[:end].decode("utf-8", "surrogateescape")
