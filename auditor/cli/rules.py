"""`image-audit rules`: list the rules, show one, check rule files, explain a value."""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

import click

from auditor.api import rulesets
from auditor.cli import EXIT_CLEAN, EXIT_FOUND, completion, options
from auditor.cli.examples import examples
from auditor.cli.option_types import Word
from auditor.config.file import load_config
from auditor.config.resolve import resolve
from auditor.core.cache_folder import cache_folder
from auditor.core.finding import Severity
from auditor.core.options import AuditOptions
from auditor.core.package_data import data_path
from auditor.core.text import nearest, plural, printable
from auditor.detect.explain import Explanation, RuleExplanation
from auditor.detect.explain import explain as explain_text
from auditor.detect.rules import Rule
from auditor.rulebook.check import check_path
from auditor.rulebook.rule_page import rule_page

_MAX_VALUE = 64 << 10
"""Bytes of a value on standard input."""


@examples(
    "image-audit rules list",
    "image-audit rules show github-pat",
    "echo 'password=x7Gq9' | image-audit rules explain --value-stdin",
)
@click.group()
def command() -> None:
    """List or show detection rules, check your own, or explain a value."""


@examples("image-audit rules list", "image-audit rules list --provider github --format json")
@command.command("list")
@options.table_or_json_option
@click.option("--provider", metavar="NAME", help="Only rules of this provider.")
@click.option("--severity", type=Word([severity.value for severity in Severity]), help="Only rules of this severity.")
def list_rules(form: str, provider: str | None, severity: str | None) -> None:
    """List the rules of a scan: built-in, detect-secrets plugins, and those of the config file."""
    chosen = [
        rule
        for rule in _rules()
        if (provider is None or rule.provider == provider.lower()) and (severity is None or rule.severity == severity)
    ]
    click.echo(_json(chosen) if form == "json" else _table(chosen))


@examples("image-audit rules show github-pat")
@command.command()
@click.argument("rule_id", metavar="ID", shell_complete=completion.rules)
def show(rule_id: str) -> None:
    """Print the page of a rule: description, risk, examples, revocation."""
    known = {rule.id: rule for rule in _rules()}
    if rule_id not in known:
        raise click.UsageError(
            f"unknown rule {rule_id!r}{nearest(rule_id, known) or ';'} `image-audit rules list` shows all"
        )
    click.echo(rule_page(known[rule_id]), nl=False)


@examples("image-audit rules check our-rules")
@command.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@options.cache_dir_option
def check(path: Path | None, cache_dir: Path | None) -> int:
    """Check a file or folder of rules, by default the built-in ones.

    Every example must match its rule, no counterexample may match, and Vectorscan must accept the pattern. Problems
    are printed as `file:line: rule: problem`.
    """
    checked = check_path(path or data_path("rules"), cache_dir or cache_folder())
    for problem in checked.problems:
        click.echo(printable(problem))
    click.echo(f"{plural(checked.rules, 'rule')} checked, {plural(len(checked.problems), 'problem')}", err=True)
    return EXIT_FOUND if checked.problems else EXIT_CLEAN


@examples(
    "echo 'password=x7Gq9' | image-audit rules explain --value-stdin",
    "image-audit rules explain --value-stdin --path /app/.env < line.txt",
)
@command.command()
@click.option("--value-stdin", is_flag=True, required=True, help="Read the value, or its whole line, from stdin.")
@click.option("--path", metavar="PATH", default="", help="Absolute path of the file in the image.")
@options.table_or_json_option
@options.cache_dir_option
def explain(value_stdin: bool, path: str, form: str, cache_dir: Path | None) -> None:  # noqa: ARG001 - a required flag
    """Explain why a value is, or is not, reported as a secret.

    Prints the rules that hit the text, and the step that accepted or rejected each value: entropy, keywords,
    placeholder, heuristic, offline check. Give the whole line where keywords matter. Values are masked.
    """
    ruleset = rulesets.ruleset(resolve(AuditOptions, load_config()))
    text = sys.stdin.buffer.read(_MAX_VALUE + 1)
    if not text.strip() or len(text) > _MAX_VALUE:
        raise click.UsageError(f"expected a value of 1 to {_MAX_VALUE} bytes on standard input")
    explanation = explain_text(text, path and "/" + path.lstrip("/"), ruleset, cache_dir or cache_folder())
    click.echo(_explanation_json(explanation) if form == "json" else _explanation_text(explanation))


def _explanation_json(explanation: Explanation) -> str:
    document = dataclasses.asdict(explanation) | {"file_class": explanation.file_class.name}
    return json.dumps(document, indent=2)


def _explanation_text(explanation: Explanation) -> str:
    """Return one block of lines for each rule."""
    blocks = [f"File class: {explanation.file_class.name}"]
    blocks += [_block(str(item.rule), item) for item in explanation.rules]
    if explanation.bare_value:
        blocks.append("No rule matches. Keyword rules need the whole line, such as password=VALUE.")
        blocks.append(_block("Text as the value of a keyword rule", explanation.bare_value))
    return "\n\n".join(blocks)


def _block(title: str, item: RuleExplanation) -> str:
    rows = [
        ("value", item.value),
        ("reason", item.reason),
        ("heuristic", item.heuristic),
        ("entropy", None if item.entropy is None else f"{item.entropy:.2f} bits a character"),
        ("check", item.check),
        ("confidence", item.confidence),
    ]
    lines = [_row(key, printable(value)) for key, value in rows if value is not None]
    return "\n".join((f"{title}: {item.outcome}", *lines))


def _row(key: str, value: str) -> str:
    """Return a value with its key, wrapped to 80 columns."""
    return textwrap.fill(value, 80, initial_indent=f"  {key + ':':<12}", subsequent_indent=" " * 14)


def _rules() -> tuple[Rule, ...]:
    return rulesets.ruleset(resolve(AuditOptions, load_config())).rules


def _json(rules: Iterable[Rule]) -> str:
    keys = ("id", "name", "provider", "severity", "confidence", "detector", "paths", "check", "revoke")
    return json.dumps([{key: getattr(rule, key) for key in keys} for rule in rules], indent=2)


def _table(rules: Iterable[Rule]) -> str:
    rows = [("ID", "SEVERITY", "CONFIDENCE", "PROVIDER", "NAME")]
    rows += [(rule.id, rule.severity.value, rule.confidence.value, rule.provider, rule.name) for rule in rules]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(printable(line.rstrip()) for line in lines)
