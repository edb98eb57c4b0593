"""No expression goes back and forth without bound: steps are counted on texts made to fail late, not timed."""

from __future__ import annotations

import functools
import random
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from detect_secrets.filters import heuristic
from detect_secrets.plugins import keyword

from auditor.core.expression import Expression
from auditor.detect import detect_secrets_plugins
from auditor.detect.detect_secrets_plugins import plugin_rules, secrets_in_line
from auditor.detect.heuristics import file_class, patterns, placeholder
from auditor.detect.rules import builtin_rules
from tests.detect.hostile import windows
from tests.detect.steps import Steps, TooManyError

SIZE, MOST = 80, 20_000
"""Characters of a text, and steps on it: `re` takes a fraction of a millisecond."""
_TEXTS = 60
_WORDS = "my_", "the ", "some-", "=", "token", "a.b", "secret", ": ", "pwd", "'", '"', " ", "ab", "Ab1", "(", "](", "\t"


@pytest.fixture(autouse=True)
def deep() -> Iterator[None]:
    """The search calls itself for each round of a repeat."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    yield
    sys.setrecursionlimit(before)


def expressions(module: ModuleType) -> Iterator[tuple[str, re.Pattern[str]]]:
    for name, value in vars(module).items():
        if isinstance(value, re.Pattern | Expression) and r"\u" not in value.pattern:  # one character, beyond bytes
            compiled = value if isinstance(value, re.Pattern) else re.compile(value.pattern)
            yield f"{module.__name__.rpartition('.')[2]}.{name}", compiled


EXPRESSIONS = dict(
    item for module in (patterns, placeholder, file_class, detect_secrets_plugins) for item in expressions(module)
)


def texts(expression: re.Pattern[str]) -> Iterator[str]:
    """Beginnings of a match over and over, each without an end and with one that does not fit."""
    made = windows(expression.pattern, SIZE)
    for data in made[:: len(made) // _TEXTS + 1]:
        yield data.decode("latin-1")
        yield data.decode("latin-1") + "\0"


steps_of = functools.cache(functools.partial(Steps, most=MOST))


def slow(expression: re.Pattern[Any], text: Any) -> bool:
    try:
        steps_of(expression).search(text)
    except TooManyError:
        return True
    return False


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_takes_few_steps(name: str) -> None:
    assert [text for text in texts(EXPRESSIONS[name]) if slow(EXPRESSIONS[name], text)] == []


@pytest.mark.parametrize("begin", ["my_", "the ", "enter-", "some."])
def test_a_value_that_is_no_placeholder_in_its_last_character_takes_few_steps(begin: str) -> None:
    assert not slow(re.compile(patterns.PLACEHOLDER.pattern), begin + "ab" * 60 + "!")


HEADERS = b"a" + b": " * 45 + b"\n"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("pgp-private-key", b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n" + HEADERS * 5 + b"!"),
        ("ssh2-private-key", b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n" + HEADERS * 4 + b"!"),
    ],
)
def test_headers_of_a_key_are_read_in_one_way(rule: str, text: bytes) -> None:
    pattern = next(one.pattern for one in builtin_rules() if one.id == rule)
    assert not slow(re.compile(pattern.encode()), text)


def test_the_keyword_plugin_takes_few_steps_on_a_long_word() -> None:
    for table in keyword.REGEX_BY_FILETYPE.values():
        for expression in table:
            for line in ("apikey" + "apwd" * 40, "pwd" * 50 + "'", "'" + "apwd" * 40):
                assert not slow(detect_secrets_plugins._bounded(expression), line)


def lines(seed: int, count: int) -> Iterator[str]:
    chance = random.Random(seed)
    for _ in range(count):
        yield "".join(chance.choices(_WORDS, k=chance.randrange(1, 9)))


def test_what_is_bounded_finds_what_the_librarys_own_finds() -> None:
    for line in lines(1, 600):
        assert bool(detect_secrets_plugins._INDIRECT.search(line)) is heuristic.is_indirect_reference(line), line
        for table in keyword.REGEX_BY_FILETYPE.values():
            for expression, group in table.items():
                own, bounded = expression.search(line), detect_secrets_plugins._bounded(expression).search(line)
                assert (own and own[group]) == (bounded and bounded[group]), (expression.pattern, line)


def test_a_secret_is_found_however_many_blanks_stand_before_it() -> None:
    rules = {rule.id for rule in plugin_rules()}
    assert "detect-secrets-keyword" in rules
    for blanks in (1, 7, 9, 41, 300):
        assert secrets_in_line("detect-secrets-keyword", f"password ={' ' * blanks}'f7Kq2Zp9'", "/app/a.py") == [
            "f7Kq2Zp9"
        ]
