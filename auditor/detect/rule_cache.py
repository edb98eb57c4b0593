"""Cache of the parsed built-in rules, as JSON: loading it is faster than parsing YAML."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from auditor.core.cache_folder import read_cache_file, write_cache_file
from auditor.core.finding import Confidence, Severity
from auditor.detect.detect_secrets_plugins import plugin_rules
from auditor.detect.probe import Condition, Probe
from auditor.detect.rule_files import builtin_rules_key
from auditor.detect.rules import Rule, builtin_rules

_TUPLES = ("keywords", "examples", "counterexamples", "paths")
"""Fields of a rule that JSON turns into lists."""


def cached_builtin_rules(cache: Path | None) -> tuple[Rule, ...]:
    """Return the built-in rules, from the folder `cache` where it has them."""
    if cache is None:
        return builtin_rules()
    kept = cache / f"rules-{builtin_rules_key()[:32]}.json"
    data = read_cache_file(kept)
    if data is not None:
        return tuple(map(_rule, json.loads(data)))
    rules = builtin_rules()
    write_cache_file(kept, json.dumps([asdict(rule) for rule in rules]).encode())
    return rules


def default_rules(cache: Path | None) -> tuple[Rule, ...]:
    """Return the built-in rules, as above, and those of the plugins of detect-secrets."""
    return (*cached_builtin_rules(cache), *plugin_rules())


def _rule(row: dict[str, Any]) -> Rule:
    for name in _TUPLES:
        row[name] = tuple(row[name])
    row["severity"], row["confidence"] = Severity(row["severity"]), Confidence(row["confidence"])
    row["verify"] = _probe(row["verify"]) if row["verify"] else None
    return Rule(**row)


def _probe(row: dict[str, Any]) -> Probe:
    values: dict[str, Any] = {key: _tuples(value) for key, value in row.items()}
    for key in ("active", "inactive"):
        values[key] = tuple(Condition(_tuples(item["statuses"]), _tuples(item["fields"])) for item in row[key])
    return Probe(**values)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
