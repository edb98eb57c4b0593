"""Many matches, many hits, many secrets: what is done with each does not depend on how many there are."""

from __future__ import annotations

from pathlib import Path

from auditor.core.finding import Confidence
from auditor.core.secret import Secret
from auditor.detect.matcher import Matcher
from auditor.detect.matches import Match, most_specific
from auditor.detect.rules import Ruleset
from auditor.detect.secret_replacer import SecretReplacer
from bench.work import counted
from tests.images import token


class Place(int):
    """A place that counts how often it is compared."""

    compared = 0

    def __le__(self, other: int) -> bool:
        Place.compared += 1
        return int(self) <= int(other)

    def __lt__(self, other: int) -> bool:
        Place.compared += 1
        return int(self) < int(other)


def found(ruleset: Ruleset, start: int, end: int) -> Match:
    return Match(ruleset.rules[0], Place(start), Place(end), Secret("x" * 20, "x****"), "none", Confidence.HIGH)


def test_matches_that_overlap_are_compared_with_their_neighbours(ruleset: Ruleset) -> None:
    items = [found(ruleset, 10 * n, 10 * n + 9) for n in range(2000)]
    assert most_specific(items) == items
    assert Place.compared < 40 * len(items)


def test_of_matches_that_overlap_the_longest_stays(ruleset: Ruleset) -> None:
    long, inside, after = found(ruleset, 5, 20), found(ruleset, 8, 12), found(ruleset, 20, 25)
    across, before = found(ruleset, 0, 6), found(ruleset, 0, 5)
    assert most_specific([after, inside, across, before, long]) == [before, long, after]


def test_a_long_quoted_text_behind_a_keyword_is_one_hit(ruleset: Ruleset, cache: Path) -> None:
    hits = Matcher(ruleset, cache).hits(b'password = "' + b"x" * 50_000 + b'"\n')
    assert len(hits) < 50


def test_masks_are_put_in_with_one_look_at_a_text() -> None:
    texts = [token(n) for n in range(2000)]
    masker = SecretReplacer(Secret(text, f"{text[:4]}****") for text in texts)
    assert masker.masked(f"a {texts[7]}b{texts[1999]}") == "a ghp_****bghp_****"
    assert masker.masked("") == "" and masker.masked("ghp_") == "ghp_"
    work = counted(lambda: masker.masked(" ".join(texts)))
    assert work.total < 5 * len(" ".join(texts))


def test_of_secrets_that_begin_alike_the_longest_is_masked() -> None:
    masker = SecretReplacer([Secret("abcd", "1"), Secret("abcdef", "2"), Secret("xy", "3")])
    assert masker.masked("abcdefg abcde abc xyx") == "2g 1e abc 3x"
    assert SecretReplacer([]).masked("abc") == "abc"
