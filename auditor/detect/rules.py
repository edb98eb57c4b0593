"""Detection rules: parsed from YAML files and checked. docs/writing-rules.md describes the format."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import field, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.core.dataclass import dataclass
from auditor.core.errors import ConfigError, RuleError
from auditor.core.finding import Confidence, Severity
from auditor.core.package_data import data_path
from auditor.core.text import nearest
from auditor.detect import checks, key_checks
from auditor.detect.fragments import FRAGMENTS, expand
from auditor.detect.probe import Probe, parse_probe
from auditor.detect.rule_files import rule_files

if TYPE_CHECKING:
    from auditor.core.yaml_file import YamlValue

CHECKS = {**checks.CHECKS, **key_checks.CHECKS}
"""Offline checks by their names in rules."""

_REQUIRED = (
    "id",
    "name",
    "provider",
    "severity",
    "confidence",
    "pattern",
    "keywords",
    "examples",
    "counterexamples",
)
_OPTIONAL = ("entropy", "check", "verify", "paths", "revoke", "generic", "random")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_CHECKS_OF_PRIVATE_KEYS = frozenset(("private-key", "base58-key", "stellar-seed"))


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of secret.

    `pattern` is an expression of Python's `re` over bytes; the secret is its group `secret`, else the whole match.
    `entropy` is a minimum in bits a character. `paths` are globs of the only files that the rule searches. Matches of
    `generic` rules must pass the plausibility check. The value of a `random` rule must look drawn at random.
    `builtin` rules ship with the program.
    """

    id: str
    name: str
    provider: str
    severity: Severity
    confidence: Confidence
    pattern: str
    keywords: tuple[str, ...]
    examples: tuple[str, ...] = field(repr=False)  # nor do these
    counterexamples: tuple[str, ...] = field(repr=False)
    entropy: float = 0.0
    check: str | None = None
    verify: Probe | None = field(default=None, repr=False)  # not part of the digest, because it changes no finding
    paths: tuple[str, ...] = ()
    revoke: str | None = None
    generic: bool = False
    random: bool = False
    detector: str = "rules"
    builtin: bool = field(default=False, repr=False)

    @property
    def specificity(self) -> tuple[bool, bool, bool, int, int]:
        """Sort key: of the rules that match the same text, the greatest names the finding."""
        return (not self.generic, bool(self.paths), bool(self.check), self.confidence.rank, self.severity.rank)

    @property
    def is_token(self) -> bool:
        """Whether matches are tokens of a provider, recognized by their shape; passwords and keys are not."""
        return not self.generic and not self.paths and self.provider not in ("key", "jwt", "generic")

    @property
    def has_own_shape(self) -> bool:
        """Whether the shape of a match alone makes it a provider's token.

        Private keys, those of wallets too, and keys that only the words around them give away, have none; nor
        have passwords and keys of software that no provider issues or revokes.
        """
        by_words = "(?P<secret>" in self.pattern and (self.confidence is not Confidence.HIGH or not self.revoke)
        return self.is_token and self.check not in _CHECKS_OF_PRIVATE_KEYS and not by_words


_DIGESTED = attrgetter(*(one.name for one in fields(Rule) if one.repr))


@dataclass(frozen=True)
class Ruleset:
    """The rules of a scan, in the order of their ids."""

    rules: tuple[Rule, ...]

    @functools.cached_property
    def digest(self) -> str:
        """`sha256:…` over every field of the rules that can change a finding."""
        state = hashlib.sha256()
        for at in range(0, len(self.rules), 100):  # the text of all would take 15 MB of memory while it is made
            state.update(json.dumps([*map(_DIGESTED, self.rules[at : at + 100])]).encode())
        return f"sha256:{state.hexdigest()}"

    @functools.cached_property
    def by_id(self) -> dict[str, Rule]:
        """Rules by id."""
        return {rule.id: rule for rule in self.rules}


@functools.cache
def builtin_rules() -> tuple[Rule, ...]:
    """Load the rules that ship with the program, in the order of their files."""
    rules = (rule for path in rule_files(data_path("rules")) for rule in load_file(path, is_tested=True))
    return tuple(replace(rule, builtin=True) for rule in rules)


def select(rules: Iterable[Rule], only: Sequence[str] = (), named: Sequence[str] = ()) -> Ruleset:
    """Build a ruleset. A later rule replaces an earlier one with the same id; `only` keeps rules with these ids.

    Raises RuleError on an unknown id in `only` or `named`, which holds ids of other options.
    """
    known = {rule.id: rule for rule in rules}
    for rule_id in (*only, *named):
        if rule_id not in known:
            raise RuleError(
                f"unknown rule {rule_id!r}{nearest(rule_id, known) or ';'} `image-audit rules list` shows all"
            )
    return Ruleset(tuple(r for key, r in sorted(known.items()) if not only or key in only))


def load_path(root: Path) -> tuple[Rule, ...]:
    """Load a rule file, or all rule files of a folder. Raises RuleError where there are none."""
    rules = tuple(rule for path in rule_files(root) for rule in load_file(path))
    if not rules:
        raise RuleError(f"{root}: no rules found. Give a YAML file of rules, or a folder with such files")
    return rules


def load_file(path: Path, *, is_tested: bool = False) -> list[Rule]:
    """Load one rule file. Raises RuleError, `file:line: rule.key: problem`.

    With `is_tested` no pattern is compiled to check it: those of the built-in rules take half a second, and are checked
    by tests.
    """
    rules = []
    for _, item in read_file(path, is_tested=is_tested):
        if isinstance(item, RuleError):
            raise item
        rules.append(item)
    return rules


def read_file(path: Path, *, is_tested: bool = False) -> list[tuple[YamlValue, Rule | RuleError]]:
    """Return each rule of a file with its node, or the error in it. Raises RuleError where the file holds no list.

    `is_tested` is that of `load_file`.
    """
    from auditor.core.yaml_file import load_yaml  # PyYAML takes 15 ms, which a run with cached rules need not pay

    try:
        root = load_yaml(path)
        nodes = root.items() if root else []
    except ConfigError as exc:
        raise RuleError(str(exc)) from None
    if root is None:
        raise RuleError(f"{path}: want a list of rules")
    read: list[tuple[YamlValue, Rule | RuleError]] = []
    ids: set[str] = set()
    for node in nodes:
        try:
            rule = _parse(node, is_tested=is_tested)
            if rule.id in ids:
                node.named(f"{rule.id}.id").fail("another rule of the file has this id")
            ids.add(rule.id)
            read.append((node.named(rule.id), rule))
        except ConfigError as exc:
            read.append((node, RuleError(str(exc))))
    return read


def _parse(node: YamlValue, *, is_tested: bool) -> Rule:
    """Check one rule. Raises ConfigError."""
    identifier = node.mapping().get("id")
    if identifier:
        if not _ID.fullmatch(str(identifier.scalar())):
            identifier.fail("expected lower-case words joined by hyphens")
        node = node.named(identifier.text())
    keys = node.mapping(_REQUIRED + _OPTIONAL)
    for key in _REQUIRED:
        if key not in keys:
            node.fail(f"{key} is missing")
    provider = keys["provider"].text()
    return Rule(
        id=keys["id"].text(),
        name=keys["name"].text(),
        provider=provider,
        severity=Severity(keys["severity"].one_of(tuple(Severity))),
        confidence=Confidence(keys["confidence"].one_of(tuple(Confidence))),
        pattern=_pattern(keys["pattern"], is_tested=is_tested),
        keywords=keys["keywords"].texts(),
        examples=_proof(keys["examples"]),
        counterexamples=_proof(keys["counterexamples"]),
        entropy=_entropy(keys["entropy"]) if "entropy" in keys else 0.0,
        check=keys["check"].one_of(tuple(sorted(CHECKS))) if "check" in keys else None,
        verify=parse_probe(keys["verify"]) if "verify" in keys else None,
        paths=keys["paths"].texts() if "paths" in keys else (),
        revoke=keys["revoke"].text() if "revoke" in keys else None,
        generic=keys["generic"].flag() if "generic" in keys else provider == "generic",
        random=keys["random"].flag() if "random" in keys else False,
    )


def _proof(node: YamlValue) -> tuple[str, ...]:
    texts = tuple(item.text(empty=True) for item in node.items())
    if not texts:
        node.fail("expected at least one: each rule carries its own tests")
    return texts


def _pattern(node: YamlValue, *, is_tested: bool) -> str:
    try:
        text = expand(node.text())
    except KeyError as exc:
        node.fail(f"there is no fragment {exc}{nearest(str(exc.args[0]), FRAGMENTS)}")
    if is_tested:
        return text
    try:
        compiled = re.compile(text.encode())
    except (re.error, RecursionError, OverflowError) as exc:
        node.fail(str(exc))
    if compiled.search(b""):
        node.fail("the pattern matches the empty text, so it matches everywhere")
    return text


def _entropy(node: YamlValue) -> float:
    value = node.scalar()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 8:
        node.fail(f"entropy is {value!r}; expected 0 to 8 bits a character")
    return float(value)
