"""Judgement of what a pattern matches: entropy, keywords, plausibility, offline check."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from auditor.core.finding import GUESSABLE, Confidence
from auditor.core.secret import Secret
from auditor.detect.detect_secrets_plugins import secrets_in_line
from auditor.detect.heuristics.placeholder import is_placeholder, is_sample, is_typed
from auditor.detect.heuristics.plausibility import entropy, guessable_confidence, looks_random, rejecting_heuristic
from auditor.detect.matches import Match, Rejection, mask
from auditor.detect.rules import CHECKS, Rule

CONTEXT = 4096
"""Bytes on each side of a match within which one of the rule's keywords must stand."""


def judge(rule: Rule, match: re.Match[bytes], low: int, text: memoryview | bytes, path: str) -> list[Match | Rejection]:
    """Judge each group of a match whose name begins with `secret`, else the whole match."""
    groups: list[str | int] = [name for name in match.re.groupindex if name.startswith("secret") and match[name]]
    outcomes = list[Match | Rejection]()
    for group in groups or [0]:
        outcomes.append(_judge_group(rule, match, group, low, text, path))
        if isinstance(outcomes[-1], Rejection) and outcomes[-1].step == "heuristic" and len(groups) > 1:
            break  # the name before it, which is that of all groups, is far from the others
    return outcomes


def _judge_group(
    rule: Rule, match: re.Match[bytes], group: str | int, low: int, text: memoryview | bytes, path: str
) -> Match | Rejection:
    """Apply the conditions of a rule beyond its pattern to a match in the bytes of `text` from `low` on."""
    start, end = match.start(group) + low, match.end(group) + low
    value = match[group].decode("utf-8", "replace")
    if rule.entropy and entropy(value) < rule.entropy:
        return Rejection(rule, start, end, value, "entropy")
    if rule.random and not looks_random(value):
        return Rejection(rule, start, end, value, "random")
    if rule.keywords and not keyword_near(rule, text, start, end):
        return Rejection(rule, start, end, value, "keywords")
    if rule.generic:
        line = line_at(text, match.start() + low, end)
        heuristic = rejecting_heuristic(value, line, path)
        if heuristic and not heuristic.guessable:
            return Rejection(rule, start, end, value, "heuristic", heuristic)
        if heuristic:
            confidence = guessable_confidence(value, line, path)
            return Match(rule, start, end, Secret(value, "****"), GUESSABLE, confidence, match.end() - match.start())
    elif is_placeholder(value):
        return Rejection(rule, start, end, value, "placeholder")
    passed = CHECKS[rule.check](value) if rule.check else None
    check = {True: "passed", False: "failed", None: "none"}[passed]
    is_refuted = passed is False or is_sample(value) or (rule.is_token and is_typed(value))
    confidence = Confidence.LOW if is_refuted else rule.confidence
    secret = Secret(value, mask(value, rule))
    return Match(rule, start, end, secret, check, confidence, match.end() - match.start())


def judge_line(rule: Rule, text: memoryview | bytes, end: int, path: str) -> Iterator[Match | Rejection]:
    """Judge what a plugin of detect-secrets finds in the line around a raw hit, by the hit's end."""
    low, high = _line_start(text, end), line_end(text, end)
    raw = bytes(text[low:high])
    line = raw.decode("utf-8", "replace")
    for value in secrets_in_line(rule.id, line, path):
        data = value.encode("utf-8", "replace")
        at = raw.find(data)
        if at < 0:
            continue
        start = low + at
        heuristic = rejecting_heuristic(value, line, path)
        if heuristic:  # a guessable value is a rule's to report
            yield Rejection(rule, start, start + len(data), value, "heuristic", heuristic)
        else:
            secret = Secret(value, mask(value, rule))
            confidence = Confidence.LOW if is_typed(value) or is_sample(value) else rule.confidence
            yield Match(rule, start, start + len(data), secret, "none", confidence)


def _line_start(text: memoryview | bytes, at: int) -> int:
    low = max(0, at - CONTEXT)
    return low + bytes(text[low:at]).rfind(b"\n") + 1


def line_end(text: memoryview | bytes, at: int) -> int:
    """Return the end of the line with the byte at an offset, at most CONTEXT bytes behind it."""
    piece = bytes(text[at : at + CONTEXT])
    cut = piece.find(b"\n")
    return at + (len(piece) if cut < 0 else cut)


def line_at(text: memoryview | bytes, start: int, end: int) -> str:
    """Return the line or lines that hold the bytes [start, end), at most CONTEXT on each side."""
    return bytes(text[_line_start(text, start) : line_end(text, end)]).decode("utf-8", "replace")


def keyword_near(rule: Rule, text: memoryview | bytes, start: int, end: int) -> bool:
    """Tell whether one of a rule's keywords stands within CONTEXT bytes of [start, end)."""
    near, (words, have_letters) = bytes(text[max(0, start - CONTEXT) : end + CONTEXT]), lowered_words(rule.keywords)
    if have_letters:
        near = near.lower()
    return any(map(near.__contains__, words))


@lru_cache(1024)
def lowered_words(words: tuple[str, ...]) -> tuple[tuple[bytes, ...], bool]:
    """Return words in lower case, and whether they have letters at all: a large text is lowered for nothing else."""
    lowered = tuple(word.lower().encode() for word in words)
    return lowered, any(word != word.swapcase() for word in words)
