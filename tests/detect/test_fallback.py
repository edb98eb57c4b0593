"""Without Vectorscan the matcher in Python finds the same, at every byte once, and says that it takes longer."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.core.finding import Confidence
from auditor.detect import python_matcher, vectorscan
from auditor.detect.confirm import Confirmer, Match
from auditor.detect.detect_secrets_plugins import plugin_patterns, plugin_rules
from auditor.detect.engines import SLOW
from auditor.detect.hits import CASELESS
from auditor.detect.matcher import Matcher
from auditor.detect.prefilter import prefilter
from auditor.detect.rules import Ruleset, builtin_rules, load_file, select
from auditor.findings.selection import Selection
from auditor.pipeline import Audit, Request, audit
from auditor.rulebook.examples import fill
from auditor.scan import Scanner
from bench.lab import lab
from tests.conftest import Cli
from tests.detect.hostile import windows
from tests.images import image, layer, story, token, write_files

RULES = builtin_rules()
TEXTS = [fill(text, seed=7) for rule in RULES for text in (*rule.examples, *rule.counterexamples)]


@pytest.fixture(scope="module")
def in_python() -> Iterator[None]:
    """For as long as the module runs, what is compiled anew is compiled for Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auditor.detect.matcher.Pass", python_matcher.Pass)
        patch.setattr("auditor.detect.matcher.MADE_BY", None)
        yield


@pytest.fixture(scope="module")
def fast(ruleset: Ruleset, cache: Path) -> Matcher:
    return Matcher(ruleset, cache)


@pytest.fixture(scope="module")
def slow(ruleset: Ruleset, fast: Matcher, in_python: None) -> Matcher:
    return Matcher(ruleset)


@pytest.fixture(scope="module")
def slow_scanner(ruleset: Ruleset, scanner: Scanner, in_python: None) -> Iterator[Scanner]:
    made = Scanner(ruleset)
    yield made
    made.close()


@pytest.mark.parametrize(("part", "between"), list(enumerate([b"\n", b"\0", b'"', b"", b" ", b"\n", b"\0", b""])))
def test_the_examples_of_all_rules_are_found_alike_in_any_company(
    part: int, between: bytes, fast: Matcher, slow: Matcher, ruleset: Ruleset
) -> None:
    texts = TEXTS[part::8]
    random.Random(part).shuffle(texts)
    block = between.join(text.encode() for text in texts)

    def found(matcher: Matcher) -> list[Match]:
        return Confirmer(ruleset).confirm(block, matcher.hits(block), "/srv/app.conf")

    assert len(found(fast)) > 50
    assert found(slow) == found(fast)


def test_the_same_files_are_called_by_their_paths(fast: Matcher, slow: Matcher) -> None:
    ends = ("", "x", ".bak", "/x")
    paths = [glob.replace("**/", "a/").replace("*", "b") + end for rule in RULES for glob in rule.paths for end in ends]
    assert len(fast.paths.of(paths)) > 100
    assert slow.paths.of(paths) == fast.paths.of(paths)


def test_an_image_of_all_rules_ways_and_places_is_audited_alike(
    scanner: Scanner, slow_scanner: Scanner, tmp_path: Path
) -> None:
    folder = write_files(tmp_path, lab(7).files)
    request = Request(selection=Selection(min_confidence=Confidence.LOW))
    fast, slow = (_shown(audit(str(folder), chosen, request)) for chosen in (scanner, slow_scanner))
    assert len(fast) > 5000
    assert slow == fast


def _shown(audits: Iterable[Audit]) -> list[tuple[object, ...]]:
    """What a report tells of each finding: secrets are sealed with another key each time."""
    return [
        (f.id, f.rule, f.path, f.where, f.member, f.decoded, f.line, f.state, f.confidence, f.check, str(f.secret))
        for one in audits
        for f in one.findings
    ]


def test_what_lies_on_the_border_of_two_blocks_is_found_alike(
    scanner: Scanner, slow_scanner: Scanner, tmp_path: Path
) -> None:
    line = f"password = '{token(5)}' {token(6)} "
    border = line * (8000 // len(line))
    data = bytes((8 << 20) - 4000) + border.encode() + bytes(1 << 20)
    target = image(layer({"srv/core": data, "srv/text": border})).docker_archive(tmp_path / "a.tar")
    fast, slow = (_shown(audit(str(target), chosen, Request())) for chosen in (scanner, slow_scanner))
    assert {path for _, _, path, *_ in fast} == {"/srv/core", "/srv/text"}
    assert slow == fast


EXPRESSIONS = (
    rb"ab{0,3}c",
    rb"a[bc]{1,4}a",
    rb"(?:ab|a)(?:c|bcd)",
    rb"b(?:a|ba){1,3}c",
    rb"\bab(?:c|)",
    rb"[abc]{3}",
)


@given(st.text("abcd ", max_size=60), st.sampled_from(EXPRESSIONS), st.sampled_from([0, CASELESS]))
def test_from_each_byte_the_shortest_match_is_a_hit(text: str, expression: bytes, flags: int) -> None:
    rows, data = [(3, expression, flags)], text.encode()
    ends = set(vectorscan.Pass.compiled(rows).scan(data, 20_000))
    shortest = set(python_matcher.Pass.compiled(rows).scan(data, 20_000))
    assert shortest <= ends
    assert bool(shortest) == bool(ends)
    assert not ends or min(shortest) == min(ends)


def test_a_rule_without_any_fixed_text_is_found_all_the_same(tmp_path: Path, in_python: None) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "- {id: own, name: Own, provider: own, severity: high, confidence: high, pattern: '[A-Z]{3}[0-9a-f]{24}', "
        "keywords: [own], examples: ['own {upper:3}{hex:24}'], counterexamples: ['own {upper:2}{hex:24}']}\n"
    )
    rules = select(load_file(own))
    text = f"own = {fill('{upper:3}{hex:24}')}\n".encode()
    assert [one.rule.id for one in Confirmer(rules).confirm(text, Matcher(rules).hits(text), "/x")] == ["own"]


def test_no_byte_of_a_hostile_text_is_tried_twice() -> None:
    patterns = [(rule.pattern, 0) for rule in RULES]
    patterns += [pattern for rule in plugin_rules() for pattern in plugin_patterns(rule.id)]
    for pattern, flags in patterns:
        row = (0, prefilter(pattern, flags).expression, 0)
        search = python_matcher.Pass.compiled([row])
        for text in windows(pattern, 600)[:6]:
            tried = [start for _, start in search._tries(text)]
            assert len(tried) == len(set(tried)) <= len(text), pattern


class TestCommandLine:
    def test_where_hyperscan_cannot_be_imported_the_report_is_the_same_and_one_line_says_why_it_took_longer(
        self, cli: Cli, tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken"
        broken.mkdir()
        (broken / "hyperscan.py").write_text("raise ModuleNotFoundError('no module')\n")
        built, _ = story(5)
        archive = built.docker_archive(cli.folder / "a.tar")
        fast = cli("scan", archive, "--format", "json", "--no-cache")
        slow = cli("scan", archive, archive, "--format", "json", "--no-cache", PYTHONPATH=str(broken))
        assert fast.status == slow.status == 1
        assert slow.err == f"image-audit: {SLOW}\n"
        assert all(report["findings"] == fast.json["findings"] for report in json.loads(slow.out)["reports"])

    def test_python_may_be_chosen(self, cli: Cli) -> None:
        (cli.folder / "Dockerfile").write_text("FROM scratch\nENV A=1\n")
        assert SLOW in cli("dockerfile", "Dockerfile", IMAGE_AUDIT_MATCHER="python").err
        assert SLOW not in cli("dockerfile", "Dockerfile").err
