"""No text makes a rule slow: patterns are bounded, and hostile windows cost what a plain search may cost."""

from __future__ import annotations

import re
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import time
from collections.abc import Callable

import pytest

from auditor.detect.confirm import EDGE
from auditor.detect.prefilter import prefilter
from auditor.detect.rules import Rule, builtin_rules
from tests.detect.hostile import windows
from tests.detect.mutations import REPEATS, walk

RULES = builtin_rules()
_REFERENCE = re.compile(rb"[ab]{0,300}[bc]{0,300}d"), b"ab" * 2100


def cpu_s(work: Callable[[], object], times: int = 1) -> float:
    """The least processor time of some runs, which other programs on the machine hardly change."""
    taken = []
    for _ in range(times):
        start = time.thread_time()
        work()
        taken.append(time.thread_time() - start)
    return min(taken)


@pytest.fixture(scope="module")
def ten_ms() -> float:
    """Processor time here of a search that takes 10 ms on the reference machine, and half as much again.

    The half more is for noise: a neighbour on the machine changes one measurement by that much.
    """
    pattern, text = _REFERENCE
    return 1.5 * cpu_s(lambda: pattern.search(text), 3)


def test_no_pattern_repeats_without_end() -> None:
    assert [rule.id for rule in RULES if _endless(rule)] == []


def _endless(rule: Rule) -> bool:
    tree = parser.parse(rule.pattern.encode())
    return any(kind in REPEATS and value[1] is op.MAXREPEAT for kind, value in walk(tree))


@pytest.mark.parametrize("part", range(16))
def test_no_hostile_window_costs_more_than_10_ms(part: int, ten_ms: float) -> None:
    slow = {}
    for rule in RULES[part::16]:
        pattern, reach = re.compile(rule.pattern.encode()), prefilter(rule.pattern)
        for window in windows(rule.pattern, reach.back + reach.ahead + 2 * EDGE):
            if cpu_s(lambda p=pattern, w=window: list(p.finditer(w))) > ten_ms:  # type: ignore[misc]
                cost = cpu_s(lambda p=pattern, w=window: list(p.finditer(w)), 3)  # type: ignore[misc]
                if cost > ten_ms:
                    slow[rule.id] = f"{cost / ten_ms * 10:.0f} ms on {window[:60]!r}…"
    assert slow == {}


def test_a_hostile_window_of_a_bad_pattern_is_found_out(ten_ms: float) -> None:
    pattern = r"token[\w.]{0,100}[\w-]{0,100}[\w=]{0,100}key"
    compiled = re.compile(pattern.encode())
    assert max(cpu_s(lambda w=w: compiled.search(w)) for w in windows(pattern, 400)) > ten_ms  # type: ignore[misc]
