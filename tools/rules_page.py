"""Generate docs/rules.md from the rule files: `python -m tools.rules_page` prints it, `make docs` writes it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from auditor.core.package_data import data_path
from auditor.detect.rule_files import rule_files
from auditor.detect.rules import Rule, load_file

_HEAD = """# Built-in rules

{count} rules, grouped by the files in `rules/`. `image-audit rules show ID` prints the page of a rule, with an example;
[writing-rules.md](writing-rules.md) explains how to add your own. `make docs` generates this page.
"""


def page(files: Iterable[Path]) -> str:
    """Return the page in Markdown, with a table for each rule file."""
    tables, count = [], 0
    for path in files:
        rules = load_file(path)
        count += len(rules)
        tables.append(f"## {path.stem}\n\n{_intro(path)}\n\n{_table(rules)}\n")
    return "\n".join([_HEAD.format(count=count), *tables])


def _intro(path: Path) -> str:
    """Return the comment at the head of a rule file."""
    head = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        head.append(line.lstrip("# "))
    return " ".join(head)


def _table(rules: Iterable[Rule]) -> str:
    rows = ["| id | name | provider | severity | confidence | revoke |", "|---|---|---|---|---|---|"]
    for rule in rules:
        link = f"[revoke]({rule.revoke})" if rule.revoke else ""
        cells = (f"`{rule.id}`", rule.name, rule.provider, rule.severity.value, rule.confidence.value, link)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.stdout.write(page(rule_files(data_path("rules"))))
