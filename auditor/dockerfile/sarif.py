"""Problems of a Dockerfile as SARIF 2.1.0 for GitHub code scanning."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auditor.core.finding import Severity
from auditor.core.text import printable
from auditor.core.version import __version__
from auditor.dockerfile.problems import TITLES, DockerfileProblem, DockerfileRule
from auditor.report.sarif import LEVELS, MAX_RESULTS, SECURITY_SEVERITY, log, message, uri

_LINE = re.compile(r"line \d+")
_SIZE = (DockerfileRule.CACHE_ORDER, DockerfileRule.LARGE_THEN_DELETED)


def render(path: Path, problems: Sequence[DockerfileProblem]) -> str:
    """Return the log as JSON text."""
    shown = problems[:MAX_RESULTS]
    rules = sorted({problem.rule for problem in shown})
    worst = {rule: max((p.severity for p in shown if p.rule is rule), key=lambda s: s.rank) for rule in rules}
    driver = {
        "name": "image-audit",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(rule, worst[rule]) for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"image-audit-dockerfile/{uri(path.as_posix())}/"},
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(path, problem, rules.index(problem.rule), fingerprint)
            for problem, fingerprint in zip(shown, _fingerprints(shown), strict=True)
        ],
    }
    return log([run])


def _rule(rule: DockerfileRule, severity: Severity) -> dict[str, Any]:
    security = {} if rule in _SIZE else {"security-severity": SECURITY_SEVERITY[severity]}
    tags = (
        ["container", "dockerfile", "performance"]
        if rule in _SIZE
        else ["container", "dockerfile", "security", "secret"]
    )
    return {
        "id": rule.value,
        "name": rule.value,
        "shortDescription": {"text": TITLES[rule]},
        "fullDescription": {"text": TITLES[rule]},
        "help": {"text": TITLES[rule]},
        "defaultConfiguration": {"level": LEVELS[severity]},
        "properties": {**security, "tags": tags},
    }


def _fingerprints(problems: Sequence[DockerfileProblem]) -> list[str]:
    """Return fingerprints that survive edits of the file: without line numbers; equal ones are numbered."""
    seen: Counter[str] = Counter()
    prints = []
    for problem in problems:
        text = f"{problem.rule}\0{_LINE.sub('line', problem.message)}"
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        seen[digest] += 1
        prints.append(f"{digest}:{seen[digest]}")
    return prints


def _result(path: Path, problem: DockerfileProblem, number: int, fingerprint: str) -> dict[str, Any]:
    where = {"artifactLocation": {"uri": uri(path.as_posix())}, "region": {"startLine": problem.line}}
    return {
        "ruleId": problem.rule.value,
        "ruleIndex": number,
        "level": LEVELS[problem.severity],
        "message": message(f"{printable(problem.message)}. {printable(problem.advice)}"),
        "locations": [{"physicalLocation": where}],
        "partialFingerprints": {"primaryLocationLineHash": fingerprint},
        "properties": {"severity": problem.severity.value},
    }
