"""Options that several commands share, and what they are turned into."""

from __future__ import annotations

import datetime
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from auditor.cli import completion
from auditor.config import Settings
from auditor.detect.rules import Ruleset
from auditor.model import Confidence, Severity, State
from auditor.selection import Selection

if TYPE_CHECKING:
    from auditor.audit import Audit
    from auditor.baseline import Baseline
    from auditor.dockerfile.model import Dockerfile
    from auditor.store.layers import LayerStore

_MAX_NAMED = 3
F = TypeVar("F", bound=Callable[..., Any])
NEVER = "never"


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
            "--min-confidence", type=click.Choice(["high", "medium", "low"]), default=None,
            help="Leave out what is less sure.  [default: medium]",
        ),
        click.option(
            "--state", metavar="STATE,...", help="Only deleted, overwritten, present, metadata.  [default: all]"
        ),
        click.option(
            "--fail-on", type=click.Choice(["critical", "high", "medium", "low", NEVER]), default=None,
            help="Exit with 1 on a finding at least that severe.  [default: high]",
        ),
    ):  # fmt: skip
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


def cache(folder: Path | None, none: bool) -> Path | None:
    """Return the cache folder, None where nothing is to be kept."""
    from auditor.store.folder import cache_folder

    return None if none else folder or cache_folder()


@contextmanager
def layer_store(folder: Path | None, size: int | None = None) -> Iterator[LayerStore | None]:
    """Open the cache of layer records in the cache folder; None without one."""
    from auditor.store.layers import DEFAULT_BYTES, LayerStore

    if folder is None:
        yield None
        return
    with closing(LayerStore(folder, warn, DEFAULT_BYTES if size is None else size)) as store:
        yield store


def ruleset(
    settings: Settings,
    extra: Sequence[Path] = (),
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    cache: Path | None = None,
) -> Ruleset:
    """Load the built-in rules, the detect-secrets plugins, and what options and config add; `only` narrows them.

    Rules `without` must exist, and stay: what they find is ignored and counted. Rules of a config file that nobody
    named came with the folder: they don't say where --verify sends secrets.
    """
    from auditor.config import check_rules
    from auditor.detect.plugins import plugin_rules
    from auditor.detect.rules import load_path, select
    from auditor.detect.shipped import shipped_rules
    from auditor.dockerfile.model import Rule as DockerfileRule

    found = [rule for path in settings.rules for rule in load_path(path)]
    if not settings.named:
        found = [replace(rule, verify=None) for rule in found]
    own = [rule for path in extra for rule in load_path(path)]
    rules = (*shipped_rules(cache), *plugin_rules(), *found, *own)
    check_rules(settings, dict.fromkeys((*(rule.id for rule in rules), *DockerfileRule)))
    return select(rules, only, without)


def selection(settings: Settings, given: Mapping[str, Any], baseline: Baseline | None) -> Selection:
    """Return what the command line wants to see, and where it says nothing, the config."""
    now = today()
    return Selection(
        states(given.get("state")),
        Confidence(given.get("min_confidence") or settings.min_confidence),
        (*settings.exclude.paths, *given.get("exclude_paths", ())),
        frozenset((*settings.exclude.rules, *given.get("exclude_rules", ()))),
        settings.exclude.images,
        tuple(item for item in settings.ignore if not item.has_expired(now)),
        baseline.live(now) if baseline else frozenset(),
    )


def baseline(settings: Settings, path: Path | None, written: Path | None = None) -> Baseline | None:
    """Load the baseline named, or that of the config. The one that is to be written may not be there yet."""
    from auditor.baseline import Baseline, load_baseline

    wanted = path or settings.baseline
    if wanted is None:
        return None
    if written is not None and not wanted.exists() and wanted.absolute() == written.absolute():
        return Baseline(wanted)
    return load_baseline(wanted)


def held_against(baseline: Baseline | None, settings: Settings, audits: Sequence[Audit]) -> list[Audit]:
    """Note in every audit what became of the baseline, and say what of it, or of the config's ignores, is over."""
    now = today()
    for item in settings.ignore:
        if item.has_expired(now):
            warn(f"{item.place}: expired on {item.expires}, and ignores nothing any more")
    if baseline is None:
        return list(audits)
    use = baseline.use(audits, now)
    for what, ids in (("expired, and shown again", use.expired), ("no longer in the image", use.vanished)):
        if ids:
            warn(f"{use.file}: {what}: {_some(ids)}; go through it with `image-audit baseline audit {use.file}`")
    return [replace(audit, baseline=use) for audit in audits]


def dockerfile(path: Path | None) -> Dockerfile | None:
    """Parse the Dockerfile of --dockerfile, before anything costly is done."""
    from auditor.dockerfile.parse import read

    return read(path) if path else None


def sourced(dockerfile: Dockerfile | None, audits: Sequence[Audit]) -> list[Audit]:
    """Give findings the lines of the Dockerfile that brought them in; say where an image does not come from it."""
    from auditor.dockerfile.source import sourced

    if dockerfile is None:
        return list(audits)
    found = [(audit, sourced(audit, dockerfile)) for audit in audits]
    for audit, fitting in found:
        if fitting is None:
            warn(f"{dockerfile.name}: does not fit the history of {audit.image.target}; its findings have no source")
    return [fitting or audit for audit, fitting in found]


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _MAX_NAMED} more" if len(ids) > _MAX_NAMED else ""
    return ", ".join(ids[:_MAX_NAMED]) + more


def warn(message: str) -> None:
    """Say on standard error what the user should know."""
    from auditor.report.text import printable

    click.echo(f"image-audit: {printable(message)}", err=True)


def today() -> datetime.date:
    """Return the day, in UTC."""
    return datetime.datetime.now(datetime.UTC).date()


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


def jobs(count: int | None) -> int:
    """Return how many threads match: as told, or one a core that we may use."""
    return count or len(os.sched_getaffinity(0))


def color() -> bool:
    """Whether to colour standard output: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
