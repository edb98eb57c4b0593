"""`image-audit config`: merged values of config file and options, with their sources; names of all limits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from auditor.api import rulesets
from auditor.cli import options
from auditor.cli.examples import examples
from auditor.config.file import ConfigFile, load_config
from auditor.config.resolve import resolve
from auditor.core.limits import TABLE
from auditor.core.options import AuditOptions
from auditor.core.owner_options import DUE_DAYS, OwnerOptions
from auditor.core.text import plural, printable

SCHEMA = "image-audit-config/1"
_DEFAULT, _OPTION = "default", "command line"
_DEFAULTS = {"fail_on": "high", "min_confidence": "medium"}


@examples("image-audit config show", "image-audit config limits")
@click.group()
def command() -> None:
    """Show the merged values of config file and options, or the limits that can be set."""


@examples("image-audit config limits")
@command.command()
def limits() -> None:
    """List every limit with its default and its meaning, for --limit and for `limits` of the config file."""
    for limit in TABLE:
        click.echo(f"{limit.name:<20} {limit.shown(limit.default):>10}  for {limit.group}: {limit.meaning}")


@examples("image-audit config show", "image-audit config show --fail-on critical --format json")
@command.command()
@options.table_or_json_option
@options.config_option
@options.fail_on_option
@options.min_confidence_option
@options.baseline_option
@options.exclude_path_option
@options.exclude_rule_option
@options.rules_option
def show(
    form: str,
    config: Path | None,
    fail_on: str | None,
    min_confidence: str | None,
    baseline: Path | None,
    exclude_paths: tuple[str, ...],
    exclude_rules: tuple[str, ...],
    rules: tuple[Path, ...],
) -> None:
    """Print every value with its source: default, config file, or command line.

    The options are those of `scan`, to try a command. A mistake in the file ends with exit code 2.
    """
    file = load_config(config)
    rulesets.ruleset(resolve(AuditOptions, file, {"rules": rules, "exclude_rules": exclude_rules}))
    given = {
        "fail_on": fail_on,
        "min_confidence": min_confidence,
        "baseline": baseline,
        "exclude.paths": exclude_paths,
        "exclude.rules": exclude_rules,
        "rules": rules,
    }
    rows = list(_rows(file, {key: _plain(value) for key, value in given.items() if value}))
    if form == "json":
        values = [{"key": key, "value": value, "from": source} for key, value, source in rows]
        name = str(file.path) if file.path else None
        click.echo(json.dumps({"schema": SCHEMA, "file": name, "values": values}, indent=2))
    else:
        click.echo(_table(rows))


def _rows(file: ConfigFile, given: Mapping[str, Any]) -> Iterable[tuple[str, Any, str]]:
    """Yield key, value and source; both sources for a list from file and command line."""
    for key, value in _values(file):
        line = file.lines.get(key)
        sources = [f"{file.path}:{line}"] if line else []
        if key not in given:
            yield key, value, sources[0] if sources else _DEFAULT
        elif isinstance(value, list):
            yield key, value + given[key], ", ".join([*sources, _OPTION])
        else:
            yield key, given[key], _OPTION


def _values(file: ConfigFile) -> Iterable[tuple[str, Any]]:
    for key in ("images", "dockerfiles", "fail_on", "min_confidence", "baseline"):
        yield key, _plain(_DEFAULTS.get(key) if (value := getattr(file, key)) is None else value)
    for key in ("paths", "rules", "images"):
        yield f"exclude.{key}", _plain(getattr(file.exclude, key))
    yield "ignore", [_set_values(asdict(item)) for item in file.ignore]
    yield "rules", _plain(file.rules)
    yield "registries", {name: _set_values(asdict(registry)) for name, registry in file.registries.items()}
    yield "owners", {glob: _owner(owner) for glob, owner in file.owners.items()}
    for severity, days in (file.due or DUE_DAYS).items():
        yield f"due.{severity}", days
    yield "limits", dict(file.limits)
    yield "hook.strict", file.strict_hook


def _owner(owner: OwnerOptions) -> dict[str, Any]:
    """Return the team, and the number of receivers, because their URLs contain tokens."""
    receivers = {"notify": len(owner.notify), "ticket": int(owner.ticket is not None)}
    return {"team": owner.team, **{key: plural(count, "URL") for key, count in receivers.items() if count}}


def _set_values(item: dict[str, Any]) -> dict[str, Any]:
    """Return the values that are set in the file, without their place, which is the source."""
    nested = {key: _set_values(value) if isinstance(value, dict) else _plain(value) for key, value in item.items()}
    return {key: value for key, value in nested.items() if value and key != "place"}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int) else str(value)


def _table(rows: Iterable[tuple[str, Any, str]]) -> str:
    lines = list[str]()
    for key, value, source in rows:
        items = value if isinstance(value, list) and value else [value]
        shown = [printable(_shown(item)) for item in items]
        lines.append(f"{key:<15} {shown[0]}  ({printable(source)})")
        lines += [f"{'':<15} {text}" for text in shown[1:]]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "-"
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
