"""`image-audit rules`: the detection rules, the page of one, and the proof of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import click

from auditor.cli import EXIT_CLEAN, EXIT_FOUND, completion, options
from auditor.cli.examples import examples
from auditor.config import resolve
from auditor.core.finding import Severity
from auditor.detect.rules import Rule


@examples("image-audit rules list", "image-audit rules show github-pat")
@click.group()
def command() -> None:
    """List the detection rules, show the page of one, or check your own."""


@examples("image-audit rules list", "image-audit rules list --provider github --format json")
@command.command("list")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--provider", metavar="NAME", help="Only rules of this provider.")
@click.option(
    "--severity", type=click.Choice([severity.value for severity in Severity]), help="Only rules of this severity."
)
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
    """Print the page of a rule: what it is, why it matters, an example, how to revoke."""
    from auditor.core.text import nearest
    from auditor.rulebook.rule_page import rule_page

    known = {rule.id: rule for rule in _rules()}
    if rule_id not in known:
        raise click.UsageError(f"no rule {rule_id!r}{nearest(rule_id, known)}")
    click.echo(rule_page(known[rule_id]), nl=False)


@examples("image-audit rules check our-rules")
@command.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@options.cache_dir_option
def check(path: Path | None, cache_dir: Path | None) -> int:
    """Check a file of rules or a folder of them, by default the built-in ones.

    Every example must be found as its rule, no counterexample may be, and Vectorscan must take the pattern. Each line
    says `file:line: rule: what is wrong`.
    """
    from auditor.core.package_data import data_path
    from auditor.core.text import plural, printable
    from auditor.rulebook.check import check_path

    checked = check_path(path or data_path("rules"), resolve.cache(cache_dir))
    for problem in checked.problems:
        click.echo(printable(problem))
    click.echo(f"{plural(checked.rules, 'rule')} checked, {plural(len(checked.problems), 'problem')}", err=True)
    return EXIT_FOUND if checked.problems else EXIT_CLEAN


def _rules() -> tuple[Rule, ...]:
    from auditor.config.file import load_settings

    return resolve.ruleset(load_settings(None), (), (), ()).rules


def _json(rules: Iterable[Rule]) -> str:
    keys = ("id", "name", "provider", "severity", "confidence", "detector", "paths", "check", "revoke")
    return json.dumps([{key: getattr(rule, key) for key in keys} for rule in rules], indent=2)


def _table(rules: Iterable[Rule]) -> str:
    from auditor.core.text import printable

    rows = [("ID", "SEVERITY", "CONFIDENCE", "PROVIDER", "NAME")]
    rows += [(rule.id, rule.severity.value, rule.confidence.value, rule.provider, rule.name) for rule in rules]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(printable(line.rstrip()) for line in lines)
