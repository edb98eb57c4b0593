"""Options that several commands share, and what they are turned into."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from auditor.config import Settings
from auditor.detect.rules import Ruleset
from auditor.model import Confidence, Severity, State

F = TypeVar("F", bound=Callable[..., Any])
NEVER = "never"


def rule_options(command: F) -> F:
    """Add the options that choose rules."""
    for option in (
        click.option("--exclude-rule", "exclude_rules", multiple=True, metavar="ID", help="Leave this rule out."),
        click.option("--rule", "only_rules", multiple=True, metavar="ID", help="Use only this rule."),
        click.option(
            "--rules",
            "extra_rules",
            multiple=True,
            type=click.Path(path_type=Path),
            help="Add rules: a file or folder.",
        ),
    ):
        command = option(command)
    return command


def platform_option(command: F) -> F:
    """Add --platform and --insecure."""
    command = click.option("--platform", metavar="OS/ARCH", help="Of a multi-platform image only this one.")(command)
    return click.option("--insecure", is_flag=True, help="Speak plain HTTP to a registry that is not on loopback.")(
        command
    )


def cache_options(command: F) -> F:
    """Add --cache-dir and --no-cache."""
    command = click.option("--no-cache", is_flag=True, help="Keep nothing, and use nothing that was kept.")(command)
    return click.option(
        "--cache-dir", type=click.Path(path_type=Path, file_okay=False), help="Instead of the user's cache folder."
    )(command)


def cache(folder: Path | None, none: bool) -> Path | None:
    """Return the cache folder, None where nothing is to be kept."""
    from auditor.store.folder import cache_folder

    return None if none else folder or cache_folder()


def ruleset(settings: Settings, extra: Sequence[Path], only: Sequence[str], without: Sequence[str]) -> Ruleset:
    """Load the built-in rules, the detect-secrets plugins, and what options and config add or leave out."""
    from auditor.detect.plugins import plugin_rules
    from auditor.detect.rules import builtin_rules, load_path, select

    own = [rule for path in (*settings.rules, *extra) for rule in load_path(path)]
    return select((*builtin_rules(), *plugin_rules(), *own), only, (*settings.exclude_rules, *without))


def states(text: str | None) -> frozenset[State]:
    """Parse `deleted,overwritten`. Raises UsageError on an unknown state."""
    if text is None:
        return frozenset(State)
    try:
        return frozenset(State(word.strip()) for word in text.split(","))
    except ValueError:
        raise click.UsageError(f"--state {text}: want some of {', '.join(State)}, joined by commas") from None


def severity(text: str) -> Severity | None:
    """Parse --fail-on; None stands for never."""
    return None if text == NEVER else Severity(text)


def confidence(text: str) -> Confidence:
    """Parse --min-confidence."""
    return Confidence(text)


def jobs(count: int | None) -> int:
    """Return how many threads match: as told, or one a core that we may use."""
    return count or len(os.sched_getaffinity(0))
