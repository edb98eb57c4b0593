"""Cache of the parsed built-in rules, as JSON, by field: loading it is faster than parsing YAML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from auditor.core.cache_folder import RULES_LOCK, read_cache_file, read_or_make, write_cache_file
from auditor.core.finding import Confidence, Severity
from auditor.core.forked import may_fork, results_of_forks
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

    def make() -> bytes:
        data = _parsed()
        write_cache_file(kept, data)
        return data

    return tuple(_rules(json.loads(read_or_make(lambda: read_cache_file(kept), make, cache / RULES_LOCK))))


def _parsed() -> bytes:
    """Parse the built-in rules, in a forked process if possible: what parsing leaves in memory remains there."""
    if may_fork():
        with suppress(OSError):  # too few processes, or it was killed
            return results_of_forks([_encoded], 1)[0]
    return _encoded()


def _encoded() -> bytes:
    rows = [asdict(rule) for rule in builtin_rules()]
    return json.dumps({field.name: [row[field.name] for row in rows] for field in fields(Rule)}).encode()


def default_rules(cache: Path | None) -> tuple[Rule, ...]:
    """Return the built-in rules, as above, and those of the plugins of detect-secrets."""
    return (*cached_builtin_rules(cache), *plugin_rules())


def _rules(columns: Mapping[str, Iterable[Any]]) -> Iterable[Rule]:
    """Return the rules of the values of each field."""
    values = dict(columns)
    for name in _TUPLES:
        values[name] = map(tuple, values[name])
    values["severity"] = map({one.value: one for one in Severity}.__getitem__, values["severity"])
    values["confidence"] = map({one.value: one for one in Confidence}.__getitem__, values["confidence"])
    values["verify"] = (row and _probe(row) for row in values["verify"])
    return (Rule(*row) for row in zip(*(values[field.name] for field in fields(Rule)), strict=True))


def _probe(row: dict[str, Any]) -> Probe:
    values: dict[str, Any] = {key: _tuples(value) for key, value in row.items()}
    for key in ("active", "inactive"):
        values[key] = tuple(Condition(_tuples(item["statuses"]), _tuples(item["fields"])) for item in row[key])
    return Probe(**values)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
