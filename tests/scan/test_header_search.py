"""Search of many short texts at once."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from auditor.detect.hits import Hits, hits_of_pieces
from auditor.detect.matches import Match
from auditor.scan.header_search import search_lines

_PARTS = st.lists(st.sampled_from(["a", "ab", "\n", "", "é", "\udcff", "b"]), max_size=4)


@given(st.lists(_PARTS.map("".join), max_size=8), st.sampled_from([rb"a", rb"ab?", rb"b\n?", rb"(?s)a.b", rb"\n"]))
def test_each_text_is_confirmed_with_the_hits_that_end_in_it(texts: list[str], pattern: bytes) -> None:
    def search(data: bytes | memoryview) -> Hits:
        ends = [match.end() for match in re.finditer(pattern, data)]
        return [(1, end) for end in ends] + [(2, end) for end in reversed(ends)]

    confirmed = list[tuple[bytes, Hits]]()

    def confirm(text: bytes, hits: Hits) -> list[Match]:
        confirmed.append((text, hits))
        return []

    data = [text.encode("utf-8", "surrogateescape") for text in texts]
    hits = search(b"\n".join(data))
    assert list(search_lines(texts, search, confirm)) == []
    assert confirmed == [(data[index], own) for index, own in sorted(hits_of_pieces(hits, data).items())]
