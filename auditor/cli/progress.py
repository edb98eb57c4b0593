"""Progress on standard error: notes; on a terminal a bar; with --verbose also the steps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property

import click

from auditor.cli.messages import safe_line, warn
from auditor.core.progress import COMPILING, Progress, Silent


class _Notes(Silent):
    """Prints the notes alone."""

    def note(self, message: str) -> None:
        warn(message)


class _Steps(_Notes):
    """Prints the steps, one line each."""

    def compiling(self) -> None:
        self.say(COMPILING)

    def say(self, message: str) -> None:
        click.echo(safe_line(message), err=True)

    def exporting(self, count: int) -> None:
        self.say(f"Docker is exporting the image, {count} bytes")


class _OnDemand:
    """Opens the bar when there are bytes to read: it takes a tenth of a second, which cached layers do not need."""

    def __init__(self, stack: ExitStack, plain: Progress, *, verbose: bool) -> None:
        self._stack, self._shown, self._verbose = stack, plain, verbose
        self._begun = (1, 1)

    def compiling(self) -> None:
        self._shown.compiling()

    def begin(self, number: int, count: int) -> None:
        self._begun = (number, count)
        self._shown.begin(number, count)

    def expect(self, count: int) -> None:
        if count:
            self._bar.expect(count)

    def advance(self, count: int) -> None:
        self._bar.advance(count)

    def say(self, message: str) -> None:
        self._shown.say(message)

    def note(self, message: str) -> None:
        self._shown.note(message)

    def exporting(self, count: int) -> None:
        self._bar.exporting(count)

    @cached_property
    def _bar(self) -> Progress:
        from auditor.cli.progress_bar import progress_bar  # imports rich

        self._shown = bar = self._stack.enter_context(progress_bar(verbose=self._verbose))
        bar.begin(*self._begun)
        return bar


@contextmanager
def progress(*, quiet: bool, verbose: bool) -> Iterator[Progress]:
    """Open the progress display of a command."""
    plain = _Steps() if verbose and not quiet else _Notes()
    if quiet or not sys.stderr.isatty():
        yield plain
        return
    with ExitStack() as stack:
        yield _OnDemand(stack, plain, verbose=verbose)
