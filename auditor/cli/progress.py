"""Progress on standard error: notes; on a terminal a bar; with --verbose also the steps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def progress(*, quiet: bool, verbose: bool) -> Iterator[Progress]:
    """Open the progress display of a command."""
    if quiet or not sys.stderr.isatty():
        yield _Steps() if verbose and not quiet else _Notes()
        return
    # rich takes a tenth of a second, and a pipe has no use for it.
    from auditor.cli.progress_bar import progress_bar

    with progress_bar(verbose=verbose) as bar:
        yield bar
