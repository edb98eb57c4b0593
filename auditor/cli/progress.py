"""Progress on standard error: bytes, rate and time left on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from auditor.core.progress import Progress, Silent


class _Told(Silent):
    """Under --verbose: the steps, a line each."""

    def say(self, message: str) -> None:
        from auditor.core.text import printable
        from auditor.detect.message_masking import masked_line

        click.echo(printable(masked_line(message)), err=True)


@contextmanager
def progress(*, quiet: bool, verbose: bool) -> Iterator[Progress]:
    """Return a bar on a terminal, else what says nothing, or under `verbose` the steps."""
    if quiet or not sys.stderr.isatty():
        yield _Told() if verbose and not quiet else Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Shown(bar, verbose)


class _Shown:
    def __init__(self, bar: object, verbose: bool) -> None:
        from rich.progress import Progress as Bar

        assert isinstance(bar, Bar)  # noqa: S101 - for the type checker; rich is imported late
        self._bar = bar
        self._task = bar.add_task("reading", total=None)
        self._total = 0
        self._verbose = verbose

    def expect(self, count: int) -> None:
        self._total += count
        self._bar.update(self._task, total=self._total)

    def advance(self, count: int) -> None:
        self._bar.update(self._task, advance=count)

    def say(self, message: str) -> None:
        from auditor.core.text import printable
        from auditor.detect.message_masking import masked_line

        if self._verbose:
            self._bar.console.print(printable(masked_line(message)), markup=False, highlight=False)
