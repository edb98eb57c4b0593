"""Search of a block for all rules: the number of each rule that hits, and the end of the hit.

Token rules, whose secrets have a shape of their own, search every byte, at some 2 GB/s a thread. Keyword rules, which
go by the words around a secret, search text alone: those words are short and common, so that search is several times
slower, and in a program or a picture they mean nothing. Keyword rules that go by the name of a secret or of a provider
are searched together, see `NameRules` and `ProviderRules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from auditor.core.errors import RuleError
from auditor.core.limits import DEFAULT, Limits
from auditor.core.progress import Progress, Silent
from auditor.detect.compiled_rules import compiled_rules
from auditor.detect.detect_secrets_plugins import plugin_patterns
from auditor.detect.engines import MatchingEngine, matching_engine
from auditor.detect.hits import CASELESS, NO_RULE, Expression, Hits, joined_hits
from auditor.detect.name_rules import NameRules, name_end_expressions, name_patterns, tail_expressions
from auditor.detect.path_rules import PathRules, path_expressions
from auditor.detect.prefilter import MIN_LITERAL, Prefilter, prefilter
from auditor.detect.provider_rules import (
    ASSIGNMENT,
    ProviderRules,
    assignment_expressions,
    name_expressions,
    provider_patterns,
)
from auditor.detect.rules import Rule, Ruleset


class Matcher:
    """A compiled ruleset. `paths` selects the rules with `paths` for a file; `reaches` are for the confirmation.

    `hits` may be called from several threads at once and releases the interpreter lock.
    """

    def __init__(
        self,
        ruleset: Ruleset,
        cache: Path | None = None,
        limits: Limits = DEFAULT,
        progress: Progress | None = None,
        jobs: int = 1,
    ) -> None:
        """Compile with up to `jobs` processes, or load the dump that an earlier run left in the folder `cache`.

        Raises RuleError, and MissingLibrary where no matching engine is installed.
        """
        engine = matching_engine()

        def expressions() -> list[list[Expression]]:
            (progress or Silent()).compiling()
            return _expressions(ruleset)

        try:
            databases, self.reaches = compiled_rules(engine, ruleset.digest, expressions, cache, jobs)
        except ValueError as exc:
            raise RuleError(_refused_rule(engine, ruleset, exc)) from exc
        tokens, own_tokens, keywords, own_keywords, tails, providers, globs = databases
        self._token_rules, self._keyword_rules = (tokens, own_tokens), (keywords, own_keywords)
        self._most = limits.raw_hits
        self._name_rules = NameRules(tails, self._most)
        self._provider_rules = ProviderRules(providers, self._most)
        self.paths = PathRules(globs, limits)

    def token_hits(self, block: memoryview | bytes) -> Hits:
        """Return the raw hits of token rules."""
        tokens, own = self._token_rules
        return tokens.scan(block, self._most) + own.scan(block, self._most)

    def hits(self, block: memoryview | bytes, text: Sequence[tuple[int, int]] | None = None) -> Hits:
        """Return the raw hits of token rules, then those of keyword rules.

        `text` are the half-open ranges that keyword rules search; None is the whole block.
        """
        found = self.token_hits(block)
        if text is None:
            return found + self._keyword_hits(block)
        view = memoryview(block)
        pieces = [view[start:end] for start, end in text]
        for (start, _), own in zip(text, joined_hits(self._keyword_hits, pieces), strict=True):
            found += [(rule, start + end) for rule, end in own]
        return found

    def _keyword_hits(self, block: memoryview | bytes) -> Hits:
        keywords, own = self._keyword_rules
        found, names, assignments = list[tuple[int, int]](), list[tuple[int, int]](), list[tuple[int, int]]()
        for hit in keywords.scan(block, self._most):
            (found if hit[0] < NO_RULE else assignments if hit[0] == ASSIGNMENT else names).append(hit)
        found += own.scan(block, self._most)
        return found + self._name_rules.hits(block, names) + self._provider_rules.hits(block, assignments)


def prefilters(rule: Rule) -> list[Prefilter]:
    """Return the expressions that find candidates of a rule: one, or those of a detect-secrets plugin."""
    patterns = [(rule.pattern, 0)] if rule.detector == "rules" else plugin_patterns(rule.id)
    try:
        return [prefilter(pattern, flags, bounded=_is_token_rule(rule)) for pattern, flags in patterns]
    except ValueError as exc:
        raise RuleError(f"rule {rule.id}: {exc}") from None


def _expressions(ruleset: Ruleset) -> list[list[Expression]]:
    """Return the expressions of each database.

    Token rules and keyword rules, the built-in ones and the user's own apart, so that a change of the latter compiles
    them alone; the second steps of name rules and of provider rules; the globs of rules with `paths`. The first steps
    are searched together with the keyword rules, since each search of its own takes time. So is a token rule without a
    literal, which would slow down the search of every byte.
    """
    tokens, own_tokens, keywords, own_keywords = (list[Expression]() for _ in range(4))
    by_name, by_provider = name_patterns(ruleset), provider_patterns(ruleset)
    for number, rule in enumerate(ruleset.rules):
        for item in prefilters(rule) if not rule.paths and number not in by_name.keys() | by_provider.keys() else ():
            everywhere = _is_token_rule(rule) and item.literal >= MIN_LITERAL
            built_in, own = (tokens, own_tokens) if everywhere else (keywords, own_keywords)
            flags = CASELESS if item.caseless else 0
            expression = Expression(number, item.expression, flags, item.back, item.ahead)
            (built_in if rule.builtin else own).append(expression)
    keywords += [*name_end_expressions(by_name), *assignment_expressions(list(by_provider.values()))]
    second_steps = [tail_expressions(by_name), name_expressions(by_provider)]
    return [tokens, own_tokens, keywords, own_keywords, *second_steps, path_expressions(ruleset)]


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
