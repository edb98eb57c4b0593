"""Options that several commands share, and what they are turned into."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from auditor.cli import completion
from auditor.config import resolve
from auditor.config.file import CONFIDENCES, FAIL_ON, Settings
from auditor.core.finding import State
from auditor.core.limits import BY_NAME
from auditor.findings.selection import Selection

if TYPE_CHECKING:
    from auditor.findings.baseline import Baseline

F = TypeVar("F", bound=Callable[..., Any])


def rule_options(command: F) -> F:
    """Add the options that choose rules."""
    for option in (
        click.option(
            "--exclude-rule", "exclude_rules", multiple=True, metavar="ID", help="Leave this rule out.",
            shell_complete=completion.rules,
        ),
        click.option(
            "--rule", "only_rules", multiple=True, metavar="ID", help="Use only this rule.",
            shell_complete=completion.rules,
        ),
        click.option(
            "--rules",
            "extra_rules",
            multiple=True,
            type=click.Path(path_type=Path),
            help="Add rules: a file or folder.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def audit_options(command: F) -> F:
    """Add the options that every audit takes: what to show of it, when it fails, how it works."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Say on standard error what is done."),
        click.option("-q", "--quiet", is_flag=True, help="No progress and no table."),
        limit_option,
        click.option("--strict", is_flag=True, help="Exit with 2 if anything was not read."),
        click.option("--jobs", type=click.IntRange(1, 256), help="Threads that match.  [default: one a core]"),
        click.option("--baseline", type=click.Path(path_type=Path), help="Findings that are known, and not shown."),
        click.option(
            "--config", "config_path", type=click.Path(path_type=Path), help="Instead of the .image-audit.yaml found."
        ),
        click.option(
            "--exclude-path", "exclude_paths", multiple=True, metavar="GLOB", help="Leave out files. Repeatable."
        ),
        click.option("--base", metavar="IMAGE", help="The base image: findings of its layers are marked as inherited."),
        click.option(
            "--min-confidence", type=click.Choice(CONFIDENCES), default=None,
            help="Leave out what is less sure.  [default: medium]",
        ),
        click.option(
            "--state", metavar="STATE,...", help="Only deleted, overwritten, present, metadata.  [default: all]"
        ),
        click.option(
            "--fail-on", type=click.Choice(FAIL_ON), default=None,
            help="Exit with 1 on a finding at least that severe.  [default: high]",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def limit_option(command: F) -> F:
    """Add --limit."""
    return click.option(
        "--limit", "limits", multiple=True, type=LimitValue(), metavar="NAME=VALUE",
        help="How much of an image is read, as members=50000, file-time=1m; docs/security.md lists all. Repeatable.",
        shell_complete=completion.limits,
    )(command)  # fmt: skip


class LimitValue(click.ParamType):  # type: ignore[type-arg]
    """A limit by its name, and its value: `json-bytes=64MiB`."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Return name and value; fail on an unknown name or a value that is none."""
        from auditor.core.text import nearest

        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if name not in BY_NAME:
            self.fail(f"no limit {name!r:.60}{nearest(name, BY_NAME)}; docs/security.md lists them", param, ctx)
        try:
            return name, BY_NAME[name].parse(text if equals else "")
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


def platform_option(command: F) -> F:
    """Add --platform and --insecure."""
    command = click.option("--platform", metavar="OS/ARCH", help="Of a multi-platform image only this one.")(command)
    return click.option("--insecure", is_flag=True, help="Speak plain HTTP to a registry that is not on loopback.")(
        command
    )


def cache_options(command: F) -> F:
    """Add --cache-dir and --no-cache."""
    command = click.option("--no-cache", is_flag=True, help="Use nothing kept of layers, and keep nothing.")(command)
    return cache_dir_option(command)


def cache_dir_option(command: F) -> F:
    """Add --cache-dir."""
    return click.option(
        "--cache-dir", type=click.Path(path_type=Path, file_okay=False), help="Instead of the user's cache folder."
    )(command)


def cache_size_option(command: F) -> F:
    """Add --cache-size."""
    return click.option("--cache-size", type=Size(), help="Of what is known of layers, as 500M or 2G.  [default: 1G]")(
        command
    )


class Size(click.ParamType):  # type: ignore[type-arg]
    """Bytes, as `500M` or `2G`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes; fail on anything else."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,12})([KMGT]?)(?:i?B)?", value.strip(), re.IGNORECASE)
        if not found:
            self.fail(f"{value!r} is no size; want bytes, as 500M or 2G", param, ctx)
        return int(found[1]) << (10 * " KMGT".index(found[2].upper() or " "))


def selection(settings: Settings, given: Mapping[str, Any], baseline: Baseline | None) -> Selection:
    """Return what the command line wants to see, and where it says nothing, the config."""
    return resolve.selection(
        settings,
        baseline,
        states=states(given.get("state")),
        min_confidence=given.get("min_confidence"),
        exclude_paths=given.get("exclude_paths", ()),
        exclude_rules=given.get("exclude_rules", ()),
    )


def warn(message: str) -> None:
    """Say on standard error what the user should know."""
    from auditor.core.text import printable
    from auditor.detect.message_masking import masked_line

    click.echo(f"image-audit: {printable(masked_line(message))}", err=True)


def states(text: str | None) -> frozenset[State]:
    """Parse `deleted,overwritten`. Raises UsageError on an unknown state."""
    if text is None:
        return frozenset(State)
    try:
        return frozenset(State(word.strip()) for word in text.split(","))
    except ValueError:
        raise click.UsageError(f"--state {text}: want some of {', '.join(State)}, joined by commas") from None


def color() -> bool:
    """Whether to colour standard output: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
