"""The help: it begins with examples that work, and fits a terminal of 80 columns."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from auditor.cli import PROGRAM, group
from auditor.cli.examples import examples_of
from tests.conftest import Cli

WIDTH = 80
ROOT = click.Context(group, info_name=PROGRAM, terminal_width=WIDTH, help_option_names=["-h", "--help"])


def contexts(ctx: click.Context = ROOT) -> Iterator[click.Context]:
    """Every command and group, as it is when its help is asked for."""
    yield ctx
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            command = ctx.command.get_command(ctx, name)
            assert command is not None
            yield from contexts(click.Context(command, info_name=name, parent=ctx))


ALL = [pytest.param(ctx, id=ctx.command_path) for ctx in contexts()]


@pytest.mark.parametrize("ctx", ALL)
def test_the_help_begins_with_examples_and_fits(ctx: click.Context) -> None:
    text = ctx.get_help()
    usage, blank, head, first = text.splitlines()[:4]
    assert usage.startswith("Usage: ") and not blank and head.strip() in ("Example:", "Examples:")
    assert first.strip() == examples_of(ctx.command)[0] and PROGRAM in first
    assert [line for line in text.splitlines() if len(line) > WIDTH] == []


@pytest.mark.parametrize("ctx", ALL)
def test_each_example_is_taken_by_the_command_line(ctx: click.Context) -> None:
    for line in examples_of(ctx.command):
        (words,) = re.findall(rf"{PROGRAM} ([^|#<)]*)", line)
        ctx, arguments = ROOT, shlex.split(words)
        while isinstance(ctx.command, click.Group):
            name, command, arguments = ctx.command.resolve_command(ctx, arguments)
            assert name is not None and command is not None
            ctx = click.Context(command, info_name=name, parent=ctx)
        ctx.command.make_context(ctx.info_name, arguments, parent=ctx.parent)


@pytest.mark.parametrize("command", [(), ("rules",), ("hook",)], ids=" ".join)
def test_without_a_command_the_help_is_shown_as_it_is(cli: Cli, command: tuple[str, ...]) -> None:
    done = cli(*command)
    assert (done.status, done.out) == (2, "")
    assert done.err == cli(*command, "--help").out
