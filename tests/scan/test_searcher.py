"""Searcher: matches in texts, files, lines and headers."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.core.limits import Limits
from auditor.detect.rules import Ruleset
from auditor.layers.listing import Listing
from auditor.layers.path_list import PathList
from auditor.scan.search_text import SearchText
from auditor.scan.searcher import Searcher
from tests.images import token

TOKEN = token(11)
PASSWORD = b'password = "c0rrect-h0rse-batt3ry"\n'


def test_a_match_has_the_offsets_of_the_secret(searcher: Searcher) -> None:
    (match,) = searcher.search_text(f"see {TOKEN} there")
    assert (match.start, match.end, match.rule.id) == (4, 4 + len(TOKEN), "github-pat")


def test_each_text_of_one_search_gets_its_own_matches(searcher: Searcher) -> None:
    texts = [SearchText(data, "/a.txt") for data in (b"nothing", TOKEN.encode(), b"", f"x {TOKEN}".encode())]
    assert [[match.start for match in found] for found in searcher.search_texts(texts)] == [[], [0], [], [2]]


def test_keyword_rules_do_not_search_large_opaque_files_and_token_rules_do(searcher: Searcher) -> None:
    size = 64 << 10
    program = SearchText(b"\x7fELF" + bytes(size) + b"\n" + PASSWORD + TOKEN.encode(), "/srv/program")
    text = SearchText(b"text" + b"\n" * size + PASSWORD + TOKEN.encode(), "/srv/config.conf")
    assert program.token_rules_only and not text.token_rules_only
    in_program, in_text = searcher.search_texts([program, text])
    assert [match.rule.id for match in in_program] == ["github-pat"]
    assert {match.rule.id for match in in_text} > {"github-pat"}


@pytest.mark.parametrize(
    ("head", "token_rules_only"),
    [
        (b"\x1f\x8b\x08\0", True),
        (b"PK\3\4\x14\0\0\0\x08\0", True),
        (b"\xca\xfe\xba\xbe\0\0\0\x34", True),
        (b"BZh91AY&SY", True),
        (b"BZh_PASSWORD=", False),  # the magic of bzip2 as text
        (b"\x7fELF\2\1\1\0", False),  # a small program, whose words its author wrote
    ],
    ids=["gzip", "zip", "class", "bzip2", "text", "program"],
)
def test_keyword_rules_do_not_search_compressed_files_of_any_size(head: bytes, token_rules_only: bool) -> None:
    assert SearchText(head.ljust(512, b"x"), "/srv/file").token_rules_only is token_rules_only


def test_lines_are_returned_by_their_index(searcher: Searcher) -> None:
    lines = ["nothing"] * 5000
    lines[4500] = f"a/{TOKEN}/b"
    assert [(index, match.start) for index, match in searcher.search_lines(lines)] == [(4500, 2)]


def test_a_secret_in_a_header_names_its_part_and_entry(searcher: Searcher) -> None:
    listing = Listing(
        PathList(["a", f"keys/{TOKEN}/b", "link"]), links={2: f"/x/{TOKEN}"}, whiteouts={f"gone-{TOKEN}": None}
    )
    found = [(header.part, header.entry, header.path) for header, _ in searcher.search_headers(listing)]
    assert found == [("name", 1, f"keys/{TOKEN}"), ("link", 2, "link"), ("whiteout", None, f"gone-{TOKEN}")]
    assert searcher.has_header_secret(listing) and not searcher.has_header_secret(Listing(PathList(["a"])))


def test_a_rule_with_too_many_hits_is_reported(ruleset: Ruleset, cache: Path) -> None:
    searcher, reported = Searcher(ruleset, cache, Limits(raw_hits=4)), list[str]()
    searcher.search_text("\n".join(token(seed) for seed in range(20)), reported.append)
    assert "github-pat" in reported
