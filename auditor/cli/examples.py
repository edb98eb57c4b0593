"""Examples at the start of the help of each command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

import click

_Command = TypeVar("_Command", bound=click.Command)
_HEADS = ("Example:", "Examples:")


def examples(*lines: str) -> Callable[[_Command], _Command]:
    """Add example lines to the start of a command's help, but not to its short help in the list of commands."""

    def add(command: _Command) -> _Command:
        text = inspect.cleandoc(command.help or "")
        command.short_help = " ".join(text.partition("\n\n")[0].split())
        # \b makes click keep the lines of a paragraph.
        command.help = "\n".join(["\b", _HEADS[len(lines) > 1], *(f"  {line}" for line in lines), "", text])
        return command

    return add


def examples_of(command: click.Command) -> tuple[str, ...]:
    """Return the examples in the help of a command."""
    _, head, *lines = (command.help or "").partition("\n\n")[0].split("\n") + [""] * 2
    return tuple(line.strip() for line in lines if line) if head in _HEADS else ()
