"""What the help of each command begins with: examples."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

import click

_Command = TypeVar("_Command", bound=click.Command)
_HEADS = ("Example:", "Examples:")


def examples(*lines: str) -> Callable[[_Command], _Command]:
    """Put lines as one would type them before the text of a command's help. The list of commands goes without."""

    def put(command: _Command) -> _Command:
        text = inspect.cleandoc(command.help or "")
        command.short_help = " ".join(text.partition("\n\n")[0].split())
        # \b has click keep the lines of a paragraph.
        command.help = "\n".join(["\b", _HEADS[len(lines) > 1], *(f"  {line}" for line in lines), "", text])
        return command

    return put


def examples_of(command: click.Command) -> tuple[str, ...]:
    """Return the examples that the help of a command begins with."""
    _, head, *lines = (command.help or "").partition("\n\n")[0].split("\n") + [""] * 2
    return tuple(line.strip() for line in lines if line) if head in _HEADS else ()
