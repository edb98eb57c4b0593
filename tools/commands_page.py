"""Generate docs/commands.md from the command line: `python -m tools.commands_page` prints it, `make docs` writes it."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from auditor.cli import PROGRAM, group
from tools.manual import ENVIRONMENT, EXIT, FILES, commands

_HEAD = """\
# Commands

The help texts of all commands. `make docs` generates this page.
"""
_WIDTH = 80


def page() -> str:
    """Return the page in Markdown."""
    root = click.Context(group, info_name=PROGRAM, terminal_width=_WIDTH, help_option_names=["-h", "--help"])
    sections = [_HEAD]
    for path, command, ctx in commands(group, root):
        sections.append(f"## {PROGRAM} {path}\n\n```text\n{command.get_help(ctx)}\n```\n")
    for title, rows in (("Exit codes", EXIT), ("Environment", ENVIRONMENT), ("Files", FILES)):
        sections.append(f"## {title}\n\n{_table(rows)}")
    return "\n".join(sections)


def _table(rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {', '.join(f'`{name}`' for name in names.split(', '))} | {text} |" for names, text in rows]
    return "\n".join(["| | |", "|---|---|", *lines]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
