"""Text for a terminal, wrapped at its width. Commands, URLs and paths are not broken, so that they can be copied."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Iterator

from rich.console import Console, Group, RenderableType
from rich.text import Text

from auditor.core.finding import Severity

SEVERITY_STYLES = {
    Severity.CRITICAL: "bold white on red",
    Severity.HIGH: "bold red",
    Severity.MEDIUM: "yellow",
    Severity.LOW: "cyan",
}


def printed(parts: Iterable[RenderableType], *, width: int, color: bool) -> str:
    """Render parts as the text of a terminal with `width` columns."""
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, no_color=not color, highlight=False, legacy_windows=False
    )
    for part in parts:
        console.print(part, crop=False)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def wrapped(text: Text, width: int, indent: int = 0) -> Iterator[Text]:
    """Break a text between words, never within a word."""
    at = 0
    for line in textwrap.wrap(text.plain, max(width - indent, 1), break_long_words=False, break_on_hyphens=False):
        at = text.plain.index(line, at)
        yield Text(" " * indent).append_text(text[at : at + len(line)])
        at += len(line)


def lines(parts: Iterable[Text]) -> Group:
    """Group lines that the terminal library must not wrap again."""
    return Group(*(Text(no_wrap=True, overflow="ignore").append_text(part) for part in parts))
