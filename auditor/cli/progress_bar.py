"""Progress bar: bytes, rate and time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as RichProgress

from auditor.cli.messages import safe_line
from auditor.core.progress import Progress


@contextmanager
def progress_bar(*, verbose: bool) -> Iterator[Progress]:
    """Show a bar on standard error, and with `verbose` the steps above it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as display:
        yield _Bar(display, verbose)


class _Bar:
    def __init__(self, display: RichProgress, verbose: bool) -> None:
        self._display = display
        self._task = display.add_task("reading", total=None)
        self._total = 0
        self._verbose = verbose

    def expect(self, count: int) -> None:
        self._total += count
        self._display.update(self._task, total=self._total)

    def advance(self, count: int) -> None:
        self._display.update(self._task, advance=count)

    def say(self, message: str) -> None:
        if self._verbose:
            self._display.console.print(safe_line(message), markup=False, highlight=False)
