"""Runs a rule on a text as a scan would run it on a file."""

from __future__ import annotations

import io

from auditor.detect.confirm import Found
from auditor.detect.rules import Rule
from auditor.scan import Scanner
from tests.images import layer


def path_for(rule: Rule) -> str:
    """A path that the rule looks at."""
    if not rule.paths:
        return "srv/app/settings.conf"
    glob = rule.paths[0].replace("**/", "srv/").replace("/**", "/x").lstrip("/")
    return glob.replace("*", "x").replace("?", "x")


def find(scanner: Scanner, rule: Rule, text: str) -> list[Found]:
    """Return the matches in a file of that text, each by its rule."""
    record = scanner.scan_layer(io.BytesIO(layer({path_for(rule): text})), "layer")
    rules = scanner.ruleset.by_id
    return [Found(rules[m.rule], m.offset, m.offset, m.secret, m.check, m.confidence) for m in record.matches]
