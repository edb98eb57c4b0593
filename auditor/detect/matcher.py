"""Vectorscan passes over a block for all rules: which rule matches, and where the match ends.

There are two. Tokens, which say by themselves what they are, are looked for everywhere, at some 3 GB/s a thread. What
only the words around it make a secret is looked for in text alone: those words are short and common, so that search is
several times slower, and in a program or a picture they mean nothing.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from auditor.core import cache_keys
from auditor.core.cache_folder import keep, read_kept
from auditor.core.errors import RuleError
from auditor.core.limits import DEFAULT, Limits
from auditor.core.process import trim_heap
from auditor.detect.detect_secrets_plugins import plugin_patterns
from auditor.detect.engines import MADE_BY, Pass, loaded
from auditor.detect.hits import CASELESS, Hits, Row, joined_hits
from auditor.detect.path_rules import PathRules, path_rows
from auditor.detect.prefilter import Prefilter, prefilter
from auditor.detect.rules import Rule, Ruleset

_TELLING = 2
"""A token whose fixed text is shorter is looked for in text alone: so short a text slows all others down."""


class Matcher:
    """A compiled ruleset. `paths` says where the rules look that look only at certain files.

    `hits` may be called from several threads at once and releases the interpreter lock.
    """

    def __init__(self, ruleset: Ruleset, cache: Path | None = None, limits: Limits = DEFAULT) -> None:
        """Compile, or take what `cache`, a folder, keeps of an earlier run. Raises RuleError."""
        kept = cache / f"rules-{_key(ruleset)}.vectorscan" if cache and MADE_BY else None
        passes = _kept(kept) if kept else None
        if passes is None and MADE_BY:
            data = _dumped(ruleset)
            if kept:
                keep(kept, data)
            passes = loaded(data)
        self._everywhere, self._in_text, by_path = passes or _compiled(ruleset)
        self._most = limits.raw_hits
        self.paths = PathRules(by_path, limits)

    def tokens(self, block: memoryview | bytes) -> Hits:
        """Return the raw hits of what is looked for everywhere, as `hits` does."""
        return self._everywhere.scan(block, self._most)

    def hits(self, block: memoryview | bytes, text: Sequence[tuple[int, int]] | None = None) -> Hits:
        """Return (rule number, end) for each raw hit, of each pass in the order of their ends.

        `text` are the half-open ranges of the block in which words may tell a secret; without it they may everywhere.
        """
        found = self._everywhere.scan(block, self._most)
        if text is None:
            return found + self._in_text.scan(block, self._most)
        view = memoryview(block)
        pieces = [view[start:end] for start, end in text]
        for (start, _), own in zip(text, joined_hits(self._scan_text, pieces), strict=True):
            found += [(rule, start + end) for rule, end in own]
        return found

    def _scan_text(self, block: memoryview | bytes) -> Hits:
        return self._in_text.scan(block, self._most)


def prefilters(rule: Rule) -> list[Prefilter]:
    """Return what to look for on behalf of a rule: one expression, or one for each of a plugin's."""
    patterns = [(rule.pattern, 0)] if rule.detector == "rules" else plugin_patterns(rule.id)
    try:
        return [prefilter(pattern, flags) for pattern, flags in patterns]
    except ValueError as exc:
        raise RuleError(f"rule {rule.id}: {exc}") from None


def _key(ruleset: Ruleset) -> str:
    """Name a compiled ruleset: it holds for one version of this program and its libraries, and for one kind of CPU."""
    made_by = f"{MADE_BY} {cache_keys.RULES.key} {platform.machine()} {_cpu_flags()}"
    return hashlib.sha256(f"{ruleset.digest} {made_by}".encode()).hexdigest()[:32]


def _cpu_flags() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _kept(path: Path) -> list[Pass] | None:
    data = read_kept(path)
    try:
        passes = loaded(data) if data else []
    except ValueError:  # of another version or CPU after all
        return None
    return passes if len(passes) == 3 else None


def _dumped(ruleset: Ruleset) -> bytes:
    """Compile in another thread, whose heap is its own: it can be handed back whole, which saves 30 MB of a scan's."""
    with ThreadPoolExecutor(1, "compile") as apart:
        data = apart.submit(lambda: b"".join(one.dumped() for one in _compiled(ruleset))).result()
    trim_heap()
    return data


def _compiled(ruleset: Ruleset) -> list[Pass]:
    """Compile what is looked for everywhere, what in text alone, and the globs of the rules for certain files."""
    everywhere, in_text = list[Row](), list[Row]()
    for number, rule in enumerate(ruleset.rules):
        for item in prefilters(rule) if not rule.paths else ():
            tells = _tells(rule) and item.literal >= _TELLING
            row = (number, item.expression, CASELESS if item.caseless else 0)
            (everywhere if tells else in_text).append(row)
    try:
        return [Pass.compiled(rows) for rows in (everywhere, in_text, path_rows(ruleset))]
    except ValueError as exc:
        raise RuleError(_blame(ruleset, exc)) from exc


def _tells(rule: Rule) -> bool:
    """Whether a secret says by itself what it is, wherever it stands."""
    return not rule.generic and rule.detector == "rules" and "(?P<secret>" not in rule.pattern


def _blame(ruleset: Ruleset, exc: Exception) -> str:
    """Name the rule that is refused."""
    for rule in ruleset.rules:
        for item in prefilters(rule):
            try:
                Pass.compiled([(0, item.expression, 0)])
            except ValueError as cause:
                return f"rule {rule.id}: {cause}"
    return f"the rules together: {exc}"
