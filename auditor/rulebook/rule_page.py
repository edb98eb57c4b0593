"""Page of one rule, as Markdown: printed by `rules show`, and the help text of a rule in SARIF."""

from __future__ import annotations

from auditor.core.finding import Confidence, Severity
from auditor.detect.rules import Rule
from auditor.rulebook.examples import outline

_IMPACT = {
    Severity.CRITICAL: "Opens production systems, data or money directly, with nothing else needed.",
    Severity.HIGH: "Lets an attacker act as the owner, within the rights granted to the secret.",
    Severity.MEDIUM: "Opens a narrow service, or more in combination with another secret.",
    Severity.LOW: "Opens little: an almost public service, or nothing without another secret.",
}
_CERTAINTY = {
    Confidence.HIGH: "A match is almost certainly real.",
    Confidence.MEDIUM: "A match is probably real: shape or context says so, no checksum confirms it.",
    Confidence.LOW: "A match is a hint. Reports show it under --min-confidence low only.",
}


def rule_page(rule: Rule) -> str:
    """Return the page of a rule: definition, impact, example, how to revoke."""
    sections = (
        ("What it is", _definition(rule)),
        (
            "Why it matters",
            [_IMPACT[rule.severity], "Anyone who can pull the image can read it, even in deleted files."],
        ),
        ("Example", [_example(rule)]),
        ("How to revoke it", _revoke(rule)),
    )
    parts = [f"# {rule.name} ({rule.id})"]
    for title, sentences in sections:
        parts += [f"## {title}", "\n".join(sentences)]
    return "\n\n".join(parts) + "\n"


def _definition(rule: Rule) -> list[str]:
    issuer = "" if rule.generic or rule.provider == "generic" else f", issued by {rule.provider}"
    lines = [f"{_kind(rule)}{issuer}; severity {rule.severity.value}, confidence {rule.confidence.value}."]
    lines.append(_CERTAINTY[rule.confidence])
    if rule.paths:
        lines.append("Searched in these files only: " + ", ".join(f"`{glob}`" for glob in rule.paths) + ".")
    if rule.check:
        lines.append(f"An offline check tests the structure ({rule.check}); a failed check lowers confidence to low.")
    if rule.generic and rule.detector == "rules":
        lines.append("Placeholders, references to variables, and values made of words are left out.")
    if rule.detector != "rules":
        lines.append("A plugin of detect-secrets judges the line.")
    return lines


def _kind(rule: Rule) -> str:
    if rule.generic:
        return "A value that its context calls a secret"
    return "A secret in a known file" if rule.paths else "A secret of a known shape"


def _example(rule: Rule) -> str:
    if not rule.examples:
        return "See the documentation of detect-secrets."
    return "\n".join("    " + line for line in outline(rule.examples[0]).splitlines())


def _revoke(rule: Rule) -> list[str]:
    first = f"Revoke or rotate it at {rule.revoke}" if rule.revoke else "Revoke or rotate it where it was issued"
    return [f"{first}, and check its usage log there.", "Then remove it from the image: image-audit flatten."]
