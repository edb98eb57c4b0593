"""Every matching engine keeps the same contract; without one, scans stop with a clear error."""

from __future__ import annotations

import dataclasses
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.core.errors import MissingLibrary
from auditor.detect import engines
from auditor.detect.engines import MATCHING_ENGINES, MatchingEngine, matching_engine
from auditor.detect.hits import CASELESS, MULTILINE, Expression
from tests.conftest import Cli
from tests.images import story

PATTERNS = (
    rb"ab{0,3}c",
    rb"a[bc]{1,4}a",
    rb"(?:ab|a)(?:c|bcd)",
    rb"b(?:a|ba){1,3}c",
    rb"\bab(?:c|)",
    rb"[abc]{3}",
)

MOST = 10_000

every_engine = pytest.mark.parametrize("engine", MATCHING_ENGINES, ids=lambda engine: engine.name)


def ends_by_re(pattern: bytes, flags: int, text: bytes) -> set[int]:
    """All ends of all matches, by Python's `re`."""
    compiled = re.compile(pattern, flags)
    return {
        end
        for start in range(len(text))
        for end in range(start + 1, len(text) + 1)
        if _matches(compiled, text, start, end)
    }


def _matches(compiled: re.Pattern[bytes], text: bytes, start: int, end: int) -> bool:
    # Word boundaries depend on the bytes around the match, so these are looked at too.
    ahead = (
        re.compile(b"(?:" + compiled.pattern + rb")(?<=\A[\x00-\xff]{%d})" % end, compiled.flags) if end else compiled
    )
    return ahead.match(text, start) is not None


@every_engine
@given(st.text("abcd ", max_size=24), st.sampled_from(PATTERNS), st.sampled_from([0, CASELESS]))
def test_each_end_of_each_match_is_a_hit(engine: MatchingEngine, text: str, pattern: bytes, flags: int) -> None:
    data = (text.upper() if flags else text).encode()
    hits = engine.compile([Expression(3, pattern, flags)]).scan(data, MOST)
    assert {end for _, end in hits} == ends_by_re(pattern, re.IGNORECASE if flags else 0, data)
    assert {rule for rule, _ in hits} <= {3}
    assert [end for _, end in hits] == sorted(end for _, end in hits)


@every_engine
def test_anchors_are_those_of_lines_under_the_flag(engine: MatchingEngine) -> None:
    database = engine.compile([Expression(1, rb"^ab$", MULTILINE)])
    assert database.scan(b"ab\nxab\nab", MOST) == [(1, 2), (1, 9)]


@every_engine
def test_a_loaded_dump_finds_the_same(engine: MatchingEngine) -> None:
    parts = [[Expression(7, b"abc"), Expression(9, b"bc+")], [], [Expression(300, b"cd", CASELESS)]]
    databases = [engine.compile(part) for part in parts]
    loaded = [
        engine.load(database.dump(), [one.rule for one in part])
        for database, part in zip(databases, parts, strict=True)
    ]
    assert [one.scan(b"abcc CD", MOST) for one in loaded] == [one.scan(b"abcc CD", MOST) for one in databases]
    assert [len(one.scan(b"abcc CD", MOST)) for one in loaded] == [3, 0, 1]


@every_engine
@pytest.mark.parametrize("data", [b"", b"x", b"\1\0\0\0\4\0\0\0\0\0junk"])
def test_a_damaged_dump_is_refused(engine: MatchingEngine, data: bytes) -> None:
    with pytest.raises(ValueError, match="no compiled rules"):
        engine.load(data, [1])


@every_engine
def test_an_expression_that_the_engine_can_not_compile_is_refused(engine: MatchingEngine) -> None:
    with pytest.raises(ValueError, match="refuses the pattern"):
        engine.compile([Expression(0, rb"(a)\1")])


@every_engine
def test_threads_may_share_a_database(engine: MatchingEngine) -> None:
    database = engine.compile([Expression(1, b"ab")])
    with ThreadPoolExecutor(4) as pool:
        assert set(map(len, pool.map(lambda block: database.scan(block, MOST), [b"ab" * 1000] * 50))) == {1000}


def test_the_first_engine_that_can_be_used_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    first = dataclasses.replace(MATCHING_ENGINES[0], name="first", missing="not here")
    monkeypatch.setattr(engines, "MATCHING_ENGINES", (first, *MATCHING_ENGINES))
    assert matching_engine() is MATCHING_ENGINES[0]
    monkeypatch.setattr(engines, "MATCHING_ENGINES", (first,))
    with pytest.raises(MissingLibrary, match=r"^not here\. .*pip install hyperscan"):
        matching_engine()


class TestWithoutHyperscan:
    @pytest.fixture
    def broken(self, tmp_path: Path) -> Path:
        folder = tmp_path / "broken"
        folder.mkdir()
        (folder / "hyperscan.py").write_text("raise ModuleNotFoundError('no module')\n")
        return folder

    def test_a_scan_stops_with_one_line_that_says_what_to_install(self, cli: Cli, broken: Path) -> None:
        archive = story(5)[0].docker_archive(cli.folder / "a.tar")
        done = cli("scan", archive, PYTHONPATH=str(broken))
        assert (done.status, done.out) == (2, "")
        assert done.err.startswith("image-audit: hyperscan can't be imported: no module. ")
        assert "pip install hyperscan" in done.err and done.err.count("\n") == 1

    def test_the_rules_can_be_read(self, cli: Cli, broken: Path) -> None:
        assert cli("rules", "show", "github-pat", PYTHONPATH=str(broken)).status == 0
