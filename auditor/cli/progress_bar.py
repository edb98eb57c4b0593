"""Progress bar: bytes, rate and time left; the phase in which an engine prepares an export, with an estimate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Task, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from auditor.cli.messages import safe_line
from auditor.core.progress import COMPILING, Progress
from auditor.core.version import PROGRAM

_EXPORT_RATE = 150e6
"""Bytes a second at which Docker 26 prepares an export on a disk of 2024. It sends the first byte when all is ready."""


@contextmanager
def progress_bar(*, verbose: bool) -> Iterator[Progress]:
    """Show a bar on standard error, and with `verbose` the steps above it."""
    columns = (_State(), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    display = RichProgress(*columns, console=Console(stderr=True), transient=True)
    try:
        yield _Bar(display, verbose)
    finally:
        display.stop()


def export_percent(size: int, elapsed_s: float) -> float:
    """Estimate how much of an export of `size` bytes is ready. Grows with time and stays below 100."""
    return 100 - 100 * math.exp2(-2 * elapsed_s * _EXPORT_RATE / max(size, 1))


class _State(TextColumn):
    """Percentage read; while an engine prepares an export, its estimated percentage."""

    def __init__(self) -> None:
        super().__init__("{task.description}")

    def render(self, task: Task) -> Text:
        exporting, position = task.fields["exporting"], task.fields["position"]
        if exporting:
            percent = export_percent(exporting, task.elapsed or 0)
            return Text(f"{position}Docker is exporting the image… about {min(percent, 99):.0f} %")
        return Text(f"{position}reading {task.percentage:3.0f} %" if task.total else f"{position}reading")


class _Bar:
    """The display starts with the first byte: it has a thread, and a process with threads is not forked."""

    def __init__(self, display: RichProgress, verbose: bool) -> None:
        self._display = display
        self._task = self._added("")
        self._total = self._exporting = 0
        self._verbose = verbose

    def _added(self, position: str) -> TaskID:
        return self._display.add_task("", total=None, exporting=0, position=position)

    def compiling(self) -> None:
        self._display.console.print(COMPILING, highlight=False)

    def begin(self, number: int, count: int) -> None:
        self._display.remove_task(self._task)
        self._task = self._added(f"{number} of {count}: " if count > 1 else "")
        self._total = self._exporting = 0

    def expect(self, count: int) -> None:
        self._total += count
        self._display.update(self._task, total=self._total)

    def advance(self, count: int) -> None:
        self._display.start()
        if self._exporting:
            self._exporting = 0
            self._display.update(self._task, exporting=0)
        self._display.update(self._task, advance=count)

    def say(self, message: str) -> None:
        if self._verbose:
            self._display.console.print(safe_line(message), markup=False, highlight=False)

    def note(self, message: str) -> None:
        self._display.console.print(f"{PROGRAM}: {safe_line(message)}", markup=False, highlight=False)

    def exporting(self, count: int) -> None:
        self._exporting = count
        self.expect(count)
        self._display.update(self._task, exporting=count)
        self._display.start()
        self.say("Docker is exporting the image")
