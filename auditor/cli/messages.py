"""Messages to the user on standard error: one line, printable, secrets masked."""

from __future__ import annotations

import click

from auditor.core.text import printable
from auditor.core.version import PROGRAM
from auditor.detect.message_masking import masked_line


def warn(message: str) -> None:
    """Print a message after the name of the program."""
    click.echo(f"{PROGRAM}: {safe_line(message)}", err=True)


def safe_line(text: str) -> str:
    """Return a text as one line that a terminal and a log can show."""
    return printable(masked_line(" ".join(text.split())))
