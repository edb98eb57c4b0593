"""The options of `registry scan` and `registry watch`."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from auditor.cli import options

F = TypeVar("F", bound=Callable[..., Any])


class Age(click.ParamType):  # type: ignore[type-arg]
    """A span of time, as `90d` or `12w`."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime.timedelta:
        """Return the span; fail on anything else."""
        if isinstance(value, datetime.timedelta):
            return value
        found = re.fullmatch(r"([1-9]\d{0,4})([hdw])", str(value).strip().lower())
        if not found:
            self.fail(f"{value!r} is no age; want hours, days or weeks, as 48h, 90d or 12w", param, ctx)
        return int(found[1]) * {"h": datetime.timedelta(hours=1), "d": datetime.timedelta(days=1),
                                "w": datetime.timedelta(weeks=1)}[found[2]]  # fmt: skip


def store_option(command: F) -> F:
    """Add --store."""
    return click.option(
        "--store", "store_url", metavar="URL", envvar="IMAGE_AUDIT_STORE",
        help="Where sweeps are kept: any SQLAlchemy URL.  [default: SQLite in the user's data folder]",
    )(command)  # fmt: skip


def report_option(command: F) -> F:
    """Add --report."""
    return click.option(
        "--report", "report_dir", type=click.Path(path_type=Path), metavar="DIR",
        help="Write the dashboard, a static site.",
    )(command)  # fmt: skip


def sweep_options(command: F) -> F:
    """Add the options of a sweep."""
    for option in (
        click.option("--scheduler", metavar="ADDRESS", help="Of the Dask cluster, as tcp://HOST:8786."),
        click.option(
            "--engine", type=click.Choice(["local", "dask"]), default="local", show_default=True,
            help="Who reads the layers: this machine, or the workers of a Dask cluster.",
        ),
        click.option(
            "--parallel", type=click.IntRange(1, 64), default=8, show_default=True,
            help="Requests at a time, and layers that are read at a time.",
        ),
        click.option("--rate", type=click.FloatRange(0, min_open=True), help="Requests a second at most."),
        click.option("--ca", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="FILE",
                     help="Certificates to trust instead of the system's."),
        click.option(
            "--keep", type=Age(), metavar="AGE", help="Forget sweeps older than that, as 90d.  [default: keep all]"
        ),
        report_option,
        click.option("--notify", multiple=True, metavar="URL", envvar="IMAGE_AUDIT_NOTIFY",
                     help="Tell what is new: an apprise or https URL. Repeatable."),
        click.option(
            "--newest", type=click.IntRange(1), help="Of each repository only the tags whose images were made last."
        ),
        click.option("--tags", multiple=True, metavar="GLOB", help="Only tags that fit. Repeatable."),
        click.option("--repos", multiple=True, metavar="GLOB", help="Only repositories that fit. Repeatable."),
        click.option("--from", "lines", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
                     help="References or repositories, one a line, instead of the catalog."),
        click.option("--no-cache", is_flag=True, help="Use nothing that was kept: read and audit everything again."),
        click.option("--cache-size", type=options.Size(), help="Of layer records in the store.  [default: 8G]"),
        options.cache_dir_option,
        options.audit_options,
        options.rule_options,
        options.platform_option,
        store_option,
    ):  # fmt: skip
        command = option(command)
    return command
