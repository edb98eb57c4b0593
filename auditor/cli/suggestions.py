"""Suggestions for an unknown option: by its value, by a name that other tools use, by a similar name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

import click

from auditor.cli.option_types import States, Word
from auditor.core.text import nearest

_OTHER_NAMES = {
    "--severity": "--fail-on",
    "--exit-code": "--fail-on",
    "--confidence": "--min-confidence",
    "--output": "-o",
    "--report-path": "-o",
    "--report-format": "--format",
    "--tag": "-t",
}
"""Names of options in similar tools."""

_SIMILAR = 0.8
"""Least similarity of a mistyped name, 0 to 1."""


def unknown_option(error: click.NoSuchOption, arguments: Sequence[str]) -> str:
    """Return the message: `No such option '--sevrity'; did you mean '--fail-on high'?`."""
    name, value = error.option_name, _value(error.option_name, arguments)
    options = dict(_options(error.ctx)) if error.ctx else {}
    close = get_close_matches(name, _OTHER_NAMES, 1, _SIMILAR)
    other = [_OTHER_NAMES[near] for near in close if _OTHER_NAMES[near] in options]
    fitting = [option for option, words in options.items() if value in words]
    named = [option for option in fitting if option in other] or fitting
    suggestions = (
        [f"{option} {name[2:]}" for option, words in options.items() if name[2:] in words],
        get_close_matches(name, options, 1, _SIMILAR),
        [f"{option} {value}" for option in named],
        [" ".join([option, *get_close_matches(value, options[option], 1)]) for option in other],
    )
    for found in suggestions:
        if found:
            return f"No such option {name!r}; did you mean {' or '.join(map(repr, found))}?"
    return f"No such option {name!r}{nearest(name, options)}"


def _options(context: click.Context) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the longest name of each option of a command, with the words that it takes."""
    for parameter in context.command.params:
        if isinstance(parameter, click.Option):
            words = parameter.type.choices if isinstance(parameter.type, Word | States) else ()
            yield max(parameter.opts, key=len), tuple(words)


def _value(name: str, arguments: Sequence[str]) -> str:
    """Return the argument after an option, or its part after `=`; empty if there is none."""
    for at, argument in enumerate(arguments):
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
        if argument == name and at + 1 < len(arguments):
            return arguments[at + 1]
    return ""
