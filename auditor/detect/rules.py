"""The detection rules: YAML files to frozen, checked values. docs/writing-rules.md describes the format."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from auditor.core.errors import RuleError
from auditor.core.finding import Confidence, Severity
from auditor.core.package_data import data_path
from auditor.core.text import nearest
from auditor.detect import checks, key_checks
from auditor.detect.probe import Probe, parse_probe
from auditor.detect.yaml_lines import lines

CHECKS = {**checks.CHECKS, **key_checks.CHECKS}
"""Every offline check by the name that a rule gives it."""

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
_OPTIONAL = ("entropy", "check", "verify", "paths", "revoke", "generic")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MAX_FILE = 4 << 20


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of secret.

    `pattern` is a regular expression of Python's `re` over bytes; its group `secret`, where there is one, is the
    secret itself. `entropy` is a floor in bits a character. `paths` are globs: the rule looks only there.
    """

    id: str
    name: str
    provider: str
    severity: Severity
    confidence: Confidence
    pattern: str
    keywords: tuple[str, ...]
    examples: tuple[str, ...]
    counterexamples: tuple[str, ...]
    entropy: float = 0.0
    check: str | None = None
    verify: Probe | None = field(default=None, repr=False)  # no part of the digest: it changes no finding
    paths: tuple[str, ...] = ()
    revoke: str | None = None
    generic: bool = False
    detector: str = "rules"

    @property
    def specificity(self) -> tuple[bool, bool, bool, int, int]:
        """Of two rules that find the same text, the greater names it: a provider's before a generic one."""
        return (not self.generic, bool(self.paths), bool(self.check), self.confidence.rank, self.severity.rank)

    @property
    def is_token(self) -> bool:
        """Whether a match is a provider's token by its own shape, wherever it stands; passwords and keys are not."""
        return not self.generic and not self.paths and self.provider not in ("key", "jwt", "generic")


@dataclass(frozen=True)
class Ruleset:
    """All rules in force, in the order of their ids. `digest` changes with whatever changes a finding."""

    rules: tuple[Rule, ...]

    @functools.cached_property
    def digest(self) -> str:
        """`sha256:…` over all that the rules say."""
        return "sha256:" + hashlib.sha256(repr(self.rules).encode()).hexdigest()

    @functools.cached_property
    def by_id(self) -> dict[str, Rule]:
        """The rules by their id."""
        return {rule.id: rule for rule in self.rules}


def builtin_rules() -> tuple[Rule, ...]:
    """Return the rules that ship with the program, in the order of their files."""
    return tuple(rule for path in rule_files(data_path("rules")) for rule in load_file(path))


def select(rules: Iterable[Rule], only: Sequence[str] = (), named: Sequence[str] = ()) -> Ruleset:
    """Choose from rules, of which a later one replaces an earlier of the same id.

    Raises RuleError on an id in `only`, or `named` elsewhere, that no rule has.
    """
    known = {rule.id: rule for rule in rules}
    for wanted in (*only, *named):
        if wanted not in known:
            raise RuleError(f"no rule {wanted!r}{nearest(wanted, known)}; `image-audit rules list` shows all")
    return Ruleset(tuple(r for key, r in sorted(known.items()) if not only or key in only))


def load_path(root: Path) -> tuple[Rule, ...]:
    """Load a file of rules or a folder of such files. Raises RuleError where there are none."""
    rules = tuple(rule for path in rule_files(root) for rule in load_file(path))
    if not rules:
        raise RuleError(f"{root}: holds no rules; want a YAML file or a folder of them")
    return rules


def rule_files(root: Path) -> list[Path]:
    """List the YAML files of a folder, sorted; or the file itself."""
    return sorted((*root.rglob("*.yaml"), *root.rglob("*.yml"))) if root.is_dir() else [root]


def load_file(path: Path) -> list[Rule]:
    """Load one file of rules. Raises RuleError, which names the file, the line and the rule."""
    rules = []
    for item in read_file(path):
        if isinstance(item, RuleError):
            raise item
        rules.append(item)
    return rules


def read_file(path: Path) -> list[Rule | RuleError]:
    """Return each rule of a file, or what is wrong with it. Raises RuleError where it is no list of rules."""
    try:
        if path.stat().st_size > _MAX_FILE:
            raise RuleError(f"{path}: larger than {_MAX_FILE} bytes")
        data = path.read_bytes()
        items = yaml.load(data, _loader())  # noqa: S506 - both are safe loaders
    except OSError as exc:
        raise RuleError(f"{path}: can't be read: {exc.strerror}") from exc
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        raise RuleError(f"{path}: not YAML: {exc}") from None
    if not isinstance(items, list):
        raise RuleError(f"{path}: want a list of rules")
    read: list[Rule | RuleError] = []
    seen: set[str] = set()
    for number, item in enumerate(items):
        where = _Place(path, data, number, item)
        try:
            rule = _parse(item, where)
            if rule.id in seen:
                raise RuleError(f"{where('id')}: two rules have the id {rule.id!r}")
            seen.add(rule.id)
            read.append(rule)
        except RuleError as exc:
            read.append(exc)
    return read


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a rule stands; called with the key at fault it says `file:line: id`. Lines are looked up only then."""

    path: Path
    data: bytes
    number: int
    item: Any

    def __call__(self, key: str | None = None) -> str:
        name = self.item.get("id") if isinstance(self.item, dict) else None
        shown = name if isinstance(name, str) else f"rule {self.number + 1}"
        return f"{self.path}:{lines(self.data)[self.number].of(key)}: {shown}"


def _loader() -> type[yaml.SafeLoader]:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _parse(item: Any, where: _Place) -> Rule:
    if not isinstance(item, dict):
        raise RuleError(f"{where()}: want a mapping of keys")
    for key in item:
        if key not in _REQUIRED + _OPTIONAL:
            raise RuleError(f"{where(key)}: unknown key {key!r}{nearest(str(key), _REQUIRED + _OPTIONAL)}")
    for key in _REQUIRED:
        if key not in item:
            raise RuleError(f"{where()}: {key!r} is missing")
    for key in ("id", "name", "provider", "pattern", "check", "revoke"):
        if key in item and not isinstance(item[key], str):
            raise RuleError(f"{where(key)}: {key!r} must be a text")
    if not _ID.fullmatch(item["id"]):
        raise RuleError(f"{where('id')}: an id is lower-case words joined by hyphens")
    return Rule(
        id=item["id"],
        name=item["name"],
        provider=item["provider"],
        severity=_one_of(Severity, item, "severity", where),
        confidence=_one_of(Confidence, item, "confidence", where),
        pattern=_pattern(item["pattern"], where),
        keywords=_texts(item, "keywords", where),
        examples=_texts(item, "examples", where, required=True),
        counterexamples=_texts(item, "counterexamples", where, required=True),
        entropy=_entropy(item.get("entropy", 0), where),
        check=_check(item.get("check"), where),
        verify=parse_probe(item.get("verify"), where),
        paths=_texts(item, "paths", where),
        revoke=item.get("revoke"),
        generic=item.get("generic", item["provider"] == "generic") is True,
    )


def _one_of(kind: type[StrEnum], item: dict[str, Any], key: str, where: _Place) -> Any:
    try:
        return kind(item[key])
    except ValueError:
        raise RuleError(
            f"{where(key)}: {key} is {item[key]!r}; want one of {', '.join(k.value for k in kind)}"
        ) from None


def _texts(item: dict[str, Any], key: str, where: _Place, *, required: bool = False) -> tuple[str, ...]:
    value = item.get(key, [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise RuleError(f"{where(key)}: {key!r} must be a list of texts")
    if required and not value:
        raise RuleError(f"{where(key)}: {key!r} must not be empty: a rule carries its own proof")
    return tuple(value)


def _pattern(text: str, where: _Place) -> str:
    try:
        compiled = re.compile(text.encode())
    except (re.error, RecursionError, OverflowError) as exc:
        raise RuleError(f"{where('pattern')}: pattern: {exc}") from None
    if compiled.search(b""):
        raise RuleError(f"{where('pattern')}: the pattern matches the empty text, so it matches everywhere")
    return text


def _entropy(value: Any, where: _Place) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 8:
        raise RuleError(f"{where('entropy')}: entropy is {value!r}; want 0 to 8 bits a character")
    return float(value)


def _check(value: Any, where: _Place) -> str | None:
    if value is not None and value not in CHECKS:
        raise RuleError(
            f"{where('check')}: no check {value!r}{nearest(value, CHECKS)}; there are {', '.join(sorted(CHECKS))}"
        )
    return value  # type: ignore[no-any-return]
