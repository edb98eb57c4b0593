"""Search of a block for all rules: the number of each rule that hits, and the end of the hit.

Token rules, whose secrets have a shape of their own, search every byte, at some 3 GB/s a thread. Keyword rules, which
go by the words around a secret, search text alone: those words are short and common, so that search is several times
slower, and in a program or a picture they mean nothing. Keyword rules that go by the name of a provider are searched
together, see `ProviderRules`.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from auditor.core import cache_keys
from auditor.core.cache_folder import read_cache_file, write_cache_file
from auditor.core.errors import RuleError
from auditor.core.limits import DEFAULT, Limits
from auditor.core.process import trim_heap
from auditor.detect.detect_secrets_plugins import plugin_patterns
from auditor.detect.engines import MatchingEngine, PatternDatabase, matching_engine
from auditor.detect.hits import CASELESS, Expression, Hits, joined_hits
from auditor.detect.path_rules import PathRules, path_expressions
from auditor.detect.prefilter import Prefilter, prefilter
from auditor.detect.provider_rules import (
    ProviderRules,
    assignment_expressions,
    name_expressions,
    provider_patterns,
)
from auditor.detect.rules import Rule, Ruleset

_MIN_LITERAL = 2
"""A token rule with a shorter literal searches text alone: a literal that short slows down the search of all rules."""
_DATABASES = 5


class Matcher:
    """A compiled ruleset. `paths` selects the rules with `paths` for a file.

    `hits` may be called from several threads at once and releases the interpreter lock.
    """

    def __init__(self, ruleset: Ruleset, cache: Path | None = None, limits: Limits = DEFAULT) -> None:
        """Compile, or load the dump that an earlier run left in the folder `cache`.

        Raises RuleError, and MissingLibrary where no matching engine is installed.
        """
        engine = matching_engine()
        cached = cache / f"rules-{_cache_key(ruleset)}.{engine.name}" if cache else None
        databases = _load(engine, read_cache_file(cached)) if cached else None
        if databases is None:
            data = _compile_and_dump(engine, ruleset)
            if cached:
                write_cache_file(cached, data)
            databases = engine.load(data)
        self._token_rules, self._keyword_rules, assignments, names, globs = databases
        self._most = limits.raw_hits
        self._provider_rules = ProviderRules(assignments, names, self._most)
        self.paths = PathRules(globs, limits)

    def token_hits(self, block: memoryview | bytes) -> Hits:
        """Return the raw hits of token rules."""
        return self._token_rules.scan(block, self._most)

    def hits(self, block: memoryview | bytes, text: Sequence[tuple[int, int]] | None = None) -> Hits:
        """Return the raw hits of token rules, then those of keyword rules.

        `text` are the half-open ranges that keyword rules search; None is the whole block.
        """
        found = self._token_rules.scan(block, self._most)
        if text is None:
            return found + self._keyword_hits(block)
        view = memoryview(block)
        pieces = [view[start:end] for start, end in text]
        for (start, _), own in zip(text, joined_hits(self._keyword_hits, pieces), strict=True):
            found += [(rule, start + end) for rule, end in own]
        return found

    def _keyword_hits(self, block: memoryview | bytes) -> Hits:
        return self._keyword_rules.scan(block, self._most) + self._provider_rules.hits(block)


def prefilters(rule: Rule) -> list[Prefilter]:
    """Return the expressions that find candidates of a rule: one, or those of a detect-secrets plugin."""
    patterns = [(rule.pattern, 0)] if rule.detector == "rules" else plugin_patterns(rule.id)
    try:
        return [prefilter(pattern, flags) for pattern, flags in patterns]
    except ValueError as exc:
        raise RuleError(f"rule {rule.id}: {exc}") from None


def _cache_key(ruleset: Ruleset) -> str:
    """Return the name of a compiled ruleset: valid for this code, its libraries and this kind of CPU."""
    made_by = f"{cache_keys.RULES.key} {platform.machine()} {_cpu_flags()}"
    return hashlib.sha256(f"{ruleset.digest} {made_by}".encode()).hexdigest()[:32]


def _cpu_flags() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _load(engine: MatchingEngine, data: bytes | None) -> Sequence[PatternDatabase] | None:
    try:
        databases = engine.load(data) if data else ()
    except ValueError:  # another version or CPU, which the cache key did not tell apart
        return None
    return databases if len(databases) == _DATABASES else None


def _compile_and_dump(engine: MatchingEngine, ruleset: Ruleset) -> bytes:
    """Compile in another thread: it has a heap of its own, which is returned whole and saves 30 MB during the scan."""
    with ThreadPoolExecutor(1, "compile") as pool:
        data = pool.submit(lambda: b"".join(one.dump() for one in _compile(engine, ruleset))).result()
    trim_heap()
    return data


def _compile(engine: MatchingEngine, ruleset: Ruleset) -> list[PatternDatabase]:
    """Compile token rules, keyword rules, both steps of provider rules, and the globs of rules with `paths`."""
    token_rules, keyword_rules = list[Expression](), list[Expression]()
    by_provider = provider_patterns(ruleset)
    for number, rule in enumerate(ruleset.rules):
        for item in prefilters(rule) if not rule.paths and number not in by_provider else ():
            everywhere = _is_token_rule(rule) and item.literal >= _MIN_LITERAL
            expression = Expression(number, item.expression, CASELESS if item.caseless else 0)
            (token_rules if everywhere else keyword_rules).append(expression)
    try:
        provider_rules = assignment_expressions(list(by_provider.values())), name_expressions(by_provider)
        return [
            engine.compile(part) for part in (token_rules, keyword_rules, *provider_rules, path_expressions(ruleset))
        ]
    except ValueError as exc:
        raise RuleError(_refused_rule(engine, ruleset, exc)) from exc


def _is_token_rule(rule: Rule) -> bool:
    """Tell whether the pattern is the secret itself, without words around it."""
    return not rule.generic and rule.detector == "rules" and "(?P<secret>" not in rule.pattern


def _refused_rule(engine: MatchingEngine, ruleset: Ruleset, exc: Exception) -> str:
    """Return a message that names the rule which the engine refuses."""
    for rule in ruleset.rules:
        for item in prefilters(rule):
            try:
                engine.compile([Expression(0, item.expression)])
            except ValueError as cause:
                return f"rule {rule.id}: {cause}"
    return f"the rules together: {exc}"
