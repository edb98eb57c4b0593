"""Options that several commands share, and their merging with the config file.

`merged` and `loaded` stand right above a command's function and below its options: they take the options that are
fields of an options value, merge them with the config file, and pass the value on.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from auditor.cli import completion
from auditor.cli.option_types import Integer, LimitValue, Size, States, Word
from auditor.config.file import load_config
from auditor.config.resolve import resolve
from auditor.core.options import CONFIDENCES, FAIL_ON, AuditOptions

F = TypeVar("F", bound=Callable[..., Any])
Command = Callable[..., Any]


def merged(kind: type[AuditOptions]) -> Callable[[Command], Command]:
    """Pass the merged options of a command as `options`, a value of `kind`."""
    return _collected(kind, lambda values, load: values | {"options": load()})


def loaded(kind: type[AuditOptions]) -> Callable[[Command], Command]:
    """Pass `load`, a function that reads the config file and returns the merged options, for commands that repeat."""
    return _collected(kind, lambda values, load: values | {"load": load})


def _collected(
    kind: type[AuditOptions], extended: Callable[[dict[str, object], Callable[[], AuditOptions]], dict[str, object]]
) -> Callable[[Command], Command]:
    names = {item.name for item in fields(kind)}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def collect(config: Path | None = None, **values: object) -> Any:
            given = {name: value for name, value in values.items() if name in names}
            own = {name: value for name, value in values.items() if name not in names}
            return command(**extended(own, functools.partial(_resolve, kind, config, given)))

        return collect

    return decorate


def _resolve(kind: type[AuditOptions], config: Path | None, given: Mapping[str, object]) -> AuditOptions:
    return resolve(kind, load_config(config), given)


def combined(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Return a decorator that adds several options; the help lists them in this order."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


config_option = click.option(
    "--config", type=click.Path(path_type=Path), help="Use this file instead of the nearest .image-audit.yaml."
)
fail_on_option = click.option(
    "--fail-on", type=Word(FAIL_ON), help="Exit with 1 on a finding of this severity or above.  [default: high]"
)
min_confidence_option = click.option(
    "--min-confidence",
    type=Word(CONFIDENCES),
    help="Leave out findings below this confidence. With `low`, packages that a distribution published are extracted"
    " too.  [default: medium]",
)
baseline_option = click.option(
    "--baseline", type=click.Path(path_type=Path), help="File of accepted findings; they are not shown."
)
exclude_path_option = click.option(
    "--exclude-path", "exclude_paths", multiple=True, metavar="GLOB", help="Leave out matching files. Repeatable."
)
exclude_rule_option = click.option(
    "--exclude-rule", "exclude_rules", multiple=True, metavar="ID", help="Leave out findings of this rule. Repeatable.",
    shell_complete=completion.rules,
)  # fmt: skip
rules_option = click.option(
    "--rules", multiple=True, type=click.Path(path_type=Path), help="Add rules from a file or folder. Repeatable."
)
base_option = click.option(
    "--base", metavar="IMAGE", help="Base image: findings in its layers are marked as inherited."
)
limit_option = click.option(
    "--limit", "limits", multiple=True, type=LimitValue(), metavar="NAME=VALUE",
    help="Set a limit, such as members=50000. `image-audit config limits` lists all. Repeatable.",
    shell_complete=completion.limits,
)  # fmt: skip
jobs_option = click.option(
    "--jobs",
    type=Integer(1, 256),
    metavar="N",
    help="Worker processes of the scan; 1 scans in this process, on one core.  [default: one per core]",
)
memory_option = click.option(
    "--memory", type=Size(), help="Memory that the scan may use, such as 300M: fewer workers where it is short."
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress and no table.")
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Print each step on standard error.")
strict_option = click.option("--strict", is_flag=True, help="Exit with 2 if any part was not read.")
no_cache_option = click.option(
    "--no-cache", "cache", is_flag=True, callback=lambda _ctx, _option, disabled: not disabled,
    help="Neither use nor fill the cache of layers.",
)  # fmt: skip
cache_dir_option = click.option(
    "--cache-dir", type=click.Path(path_type=Path, file_okay=False), help="Use this cache folder, not the user's."
)
cache_size_option = click.option(
    "--cache-size", type=Size(), help="Largest size of the cache of layers, such as 500M or 2G.  [default: 1G]"
)
platform_option = combined(
    click.option("--insecure", is_flag=True, help="Use plain HTTP for a registry that is not on loopback."),
    click.option("--platform", metavar="OS/ARCH", help="Only this platform of a multi-platform image."),
)
rule_options = combined(
    rules_option,
    click.option(
        "--rule", "only_rules", multiple=True, metavar="ID", help="Use only this rule. Repeatable.",
        shell_complete=completion.rules,
    ),
    exclude_rule_option,
)  # fmt: skip
cache_options = combined(cache_dir_option, no_cache_option)
audit_options = combined(
    fail_on_option,
    click.option(
        "--state", "states", type=States(), metavar="STATE,...",
        help="Show only these states: deleted, overwritten, present, metadata.  [default: all]",
    ),
    min_confidence_option,
    base_option,
    exclude_path_option,
    config_option,
    baseline_option,
    jobs_option,
    memory_option,
    strict_option,
    limit_option,
    quiet_option,
    verbose_option,
)  # fmt: skip
table_or_json_option = click.option(
    "--format", "form", type=Word(["table", "json"]), default="table", show_default=True, help="Format of the output."
)


def terminal_width() -> int:
    """Return the columns of the terminal, 80 without one."""
    return shutil.get_terminal_size((80, 24)).columns


def print_text(text: str) -> None:
    """Print a text that ends with a newline; keep its colours where `color` allows them."""
    click.echo(text, nl=False, color=color())


def color() -> bool:
    """Whether to colour standard output: on a terminal, or with FORCE_COLOR, unless NO_COLOR is set.

    Sources: no-color.org, force-color.org.
    """
    wanted = sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR"))
    return wanted and not os.environ.get("NO_COLOR")
