"""The page of one rule, and docs/rules.md with all of them, which `python -m auditor.rulebook.pages` prints."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from auditor.core.finding import Confidence, Severity
from auditor.core.package_data import data_path
from auditor.detect.rules import Rule, load_file, rule_files
from auditor.rulebook.examples import outline

_HEAD = """# The rules

{count} rules, by the files in `rules/` that hold them. `image-audit rules show ID` prints the page of one, with an
example; [writing-rules.md](writing-rules.md) says how to add yours. This page is made by `make docs`.
"""
_WEIGHT = {
    Severity.CRITICAL: "It opens production systems, data or money at once, and nothing else is needed to use it.",
    Severity.HIGH: "It lets its finder act as its owner, within the rights that it was given.",
    Severity.MEDIUM: "It opens a narrow service, or more together with something else; attackers collect pieces.",
    Severity.LOW: "It opens little: an almost public service, or nothing without something else.",
}
_SURENESS = {
    Confidence.HIGH: "A match is almost surely real.",
    Confidence.MEDIUM: "A match is probably real: its shape or its place says so, no checksum does.",
    Confidence.LOW: "A match is a hint. Reports leave it out unless --min-confidence low is given.",
}


def page(rule: Rule) -> str:
    """Return the page of one rule, as Markdown: what it is, why it matters, an example, how to revoke it."""
    sections = (
        ("What it is", _what(rule)),
        ("Why it matters", [_WEIGHT[rule.severity], "Whoever can pull the image can read it, in deleted files too."]),
        ("Example", [_example(rule)]),
        ("How to revoke it", _revoke(rule)),
    )
    parts = [f"# {rule.name} ({rule.id})"]
    for title, sentences in sections:
        parts += [f"## {title}", "\n".join(sentences)]
    return "\n\n".join(parts) + "\n"


def _what(rule: Rule) -> list[str]:
    issuer = "" if rule.generic or rule.provider == "generic" else f", issued by {rule.provider}"
    said = [f"{_kind(rule)}{issuer}; severity {rule.severity.value}, confidence {rule.confidence.value}."]
    said.append(_SURENESS[rule.confidence])
    if rule.paths:
        said.append("Looked for only in " + ", ".join(f"`{glob}`" for glob in rule.paths) + ".")
    if rule.check:
        said.append(f"Its structure is tested offline ({rule.check}); where that fails the finding is low.")
    if rule.generic and rule.detector == "rules":
        said.append("Placeholders, references to variables, and values made of words are left out.")
    if rule.detector != "rules":
        said.append("The plugin of detect-secrets decides on the line.")
    return said


def _kind(rule: Rule) -> str:
    if rule.generic:
        return "A value that its context says is secret"
    return "A secret in a known file" if rule.paths else "A secret of a known shape"


def _example(rule: Rule) -> str:
    if not rule.examples:
        return "detect-secrets documents its plugins."
    return "\n".join("    " + line for line in outline(rule.examples[0]).splitlines())


def _revoke(rule: Rule) -> list[str]:
    first = f"Revoke or rotate it at {rule.revoke}" if rule.revoke else "Revoke or rotate it where it was issued"
    return [f"{first}, and look there for what it was used for.", "Then rid the image of it: image-audit flatten."]


def index(files: Iterable[Path]) -> str:
    """Return docs/rules.md: a table for each file of rules."""
    tables, count = [], 0
    for path in files:
        rules = load_file(path)
        count += len(rules)
        tables.append(f"## {path.stem}\n\n{_intro(path)}\n\n{_table(rules)}\n")
    return "\n".join([_HEAD.format(count=count), *tables])


def _intro(path: Path) -> str:
    """Return the comment at the head of a file of rules."""
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
    sys.stdout.write(index(rule_files(data_path("rules"))))
