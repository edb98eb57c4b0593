"""`image-audit rules`: list and pages of the detection rules, check of custom rules."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import click

from auditor.api import components
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
from auditor.detect.rules import Rule
from auditor.rulebook.check import check_path
from auditor.rulebook.rule_page import rule_page


@examples("image-audit rules list", "image-audit rules show github-pat")
@click.group()
def command() -> None:
    """List the detection rules, show the page of a rule, or check custom rules."""


@examples("image-audit rules list", "image-audit rules list --provider github --format json")
@command.command("list")
@options.table_or_json_option
@click.option("--provider", metavar="NAME", help="Only rules of this provider.")
@click.option("--severity", type=Word([severity.value for severity in Severity]), help="Only rules of this severity.")
def list_rules(form: str, provider: str | None, severity: str | None) -> None:
    """List the rules of a scan: the built-in ones, detect-secrets' plugins, and those of the config file."""
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
        raise click.UsageError(f"unknown rule {rule_id!r}; `image-audit rules list` shows all{nearest(rule_id, known)}")
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


def _rules() -> tuple[Rule, ...]:
    return components.ruleset(resolve(AuditOptions, load_config())).rules


def _json(rules: Iterable[Rule]) -> str:
    keys = ("id", "name", "provider", "severity", "confidence", "detector", "paths", "check", "revoke")
    return json.dumps([{key: getattr(rule, key) for key in keys} for rule in rules], indent=2)


def _table(rules: Iterable[Rule]) -> str:
    rows = [("ID", "SEVERITY", "CONFIDENCE", "PROVIDER", "NAME")]
    rows += [(rule.id, rule.severity.value, rule.confidence.value, rule.provider, rule.name) for rule in rules]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(printable(line.rstrip()) for line in lines)
