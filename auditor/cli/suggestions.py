"""Suggestions for an unknown option: by its value, by a name that other tools use, by a similar name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

import click

from auditor.cli.option_types import Word
from auditor.core.text import nearest

_OTHER_NAMES = {"--severity": "--fail-on", "--confidence": "--min-confidence", "--output": "-o"}
"""Names of options in similar tools."""

_SIMILAR = 0.8
"""Least similarity of a mistyped name, 0 to 1."""


def unknown_option(error: click.NoSuchOption, arguments: Sequence[str]) -> str:
    """Return the message: `No such option '--sevrity'; did you mean '--fail-on high'?`."""
    name = error.option_name
    options = dict(_options(error.ctx)) if error.ctx else {}
    value = _value(name, arguments)
    fitting = [option for option, words in options.items() if value in words]
    other = [_OTHER_NAMES[near] for near in get_close_matches(name, _OTHER_NAMES, 1, _SIMILAR)]
    named = [option for option in fitting if option in other] or fitting
    by_value = [f"{option} {value}" for option in named]
    for found in (get_close_matches(name, options, 1, _SIMILAR), by_value, [near for near in other if near in options]):
        if found:
            return f"No such option {name!r}; did you mean {' or '.join(map(repr, found))}?"
    return f"No such option {name!r}{nearest(name, options)}"


def _options(context: click.Context) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the longest name of each option of a command, with the words that it takes."""
    for parameter in context.command.params:
        if isinstance(parameter, click.Option):
            words = parameter.type.choices if isinstance(parameter.type, Word) else ()
            yield max(parameter.opts, key=len), tuple(words)


def _value(name: str, arguments: Sequence[str]) -> str:
    """Return the argument after an option, or its part after `=`; empty if there is none."""
    for at, argument in enumerate(arguments):
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
        if argument == name and at + 1 < len(arguments):
            return arguments[at + 1]
    return ""
