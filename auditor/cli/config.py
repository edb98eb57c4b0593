"""`image-audit config`: what holds, and where it is from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from auditor.cli.examples import examples
from auditor.config import resolve
from auditor.config.file import CONFIDENCES, FAIL_ON, Settings, load_settings

SCHEMA = "image-audit-config/1"
_DEFAULT, _OPTION = "default", "command line"


@examples("image-audit config show")
@click.group()
def command() -> None:
    """Show what the config file and the options come to."""


@examples("image-audit config show", "image-audit config show --fail-on critical --format json")
@command.command()
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Instead of the .image-audit.yaml found."
)
@click.option("--fail-on", type=click.Choice(FAIL_ON), help="As of scan.")
@click.option("--min-confidence", type=click.Choice(CONFIDENCES), help="As of scan.")
@click.option("--baseline", type=click.Path(path_type=Path), help="As of scan.")
@click.option("--exclude-path", "exclude_paths", multiple=True, metavar="GLOB", help="As of scan. Repeatable.")
@click.option("--exclude-rule", "exclude_rules", multiple=True, metavar="ID", help="As of scan. Repeatable.")
@click.option("--rules", multiple=True, type=click.Path(path_type=Path), help="As of scan. Repeatable.")
def show(form: str, config_path: Path | None, **given: Any) -> None:
    """Print every value in force, and whether it is the default, the config file's, or of an option given here.

    The options are those of `scan`, so that a command can be tried out. A mistake in the file ends with exit code 2.
    """
    settings = load_settings(config_path)
    resolve.ruleset(settings, given["rules"], (), given["exclude_rules"])
    rows = list(_rows(settings, given))
    if form == "json":
        values = [{"key": key, "value": value, "from": source} for key, value, source in rows]
        file = str(settings.path) if settings.path else None
        click.echo(json.dumps({"schema": SCHEMA, "file": file, "values": values}, indent=2))
    else:
        click.echo(_table(rows))


def _rows(settings: Settings, given: dict[str, Any]) -> Iterable[tuple[str, Any, str]]:
    """Yield key, value and source; of a list that options add to, both sources."""
    for key, value in _values(settings):
        line = settings.lines.get(key)
        sources = [f"{settings.path}:{line}"] if line else []
        option = _plain(given.get(key.replace(".", "_")))
        if not option:
            yield key, value, sources[0] if sources else _DEFAULT
        elif isinstance(value, list):
            yield key, value + option, ", ".join([*sources, _OPTION])
        else:
            yield key, option, _OPTION


def _values(settings: Settings) -> Iterable[tuple[str, Any]]:
    for key in ("images", "dockerfiles", "fail_on", "min_confidence", "baseline"):
        yield key, _plain(getattr(settings, key))
    for key in ("paths", "rules", "images"):
        yield f"exclude.{key}", _plain(getattr(settings.exclude, key))
    yield "ignore", [_given(asdict(item)) for item in settings.ignore]
    yield "rules", _plain(settings.rules)
    yield "registries", {name: _given(asdict(registry)) for name, registry in settings.registries.items()}
    yield "limits", dict(settings.limits)
    yield "hook.strict", settings.strict_hook


def _given(item: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the file does not say, and the place, which is the source already."""
    nested = {key: _given(value) if isinstance(value, dict) else _plain(value) for key, value in item.items()}
    return {key: value for key, value in nested.items() if value and key != "place"}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int) else str(value)


def _table(rows: Iterable[tuple[str, Any, str]]) -> str:
    from auditor.core.text import printable

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
