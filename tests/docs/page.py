"""A page of the docs as its fenced blocks, each with the mark before it; CONTRIBUTING.md, "Docs", explains them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
RUN = ("sh", "console", "python")
PARSED = ("yaml", "json", "jsonc", "toml", "dockerfile")
LANGUAGES = (*RUN, *PARSED, "text", "mermaid", "diff")
MARKS = ("exit", "setup", "file", "input", "folder", "background", "shown")
_COMMENT = re.compile(r"<!-- test: (.*?) -->\s*", re.DOTALL)


class PageError(Exception):
    """A page breaks the rules for its blocks; the text names the line."""


@dataclass(frozen=True)
class Block:
    """`line` is that of the opening fence; `output` is the text block that follows a command block at once."""

    language: str
    text: str
    line: int
    marks: Mapping[str, str] = field(default_factory=dict)
    output: str | None = None

    @property
    def runs(self) -> bool:
        return self.language in RUN and "shown" not in self.marks

    @property
    def exits(self) -> list[int]:
        """The exit codes other than 0, in order."""
        return [int(code) for code in self.marks.get("exit", "").split(",") if code]


@dataclass(frozen=True)
class Page:
    """`setups` are what it needs before its first block, in order."""

    name: str
    blocks: tuple[Block, ...]
    setups: tuple[str, ...]


def parse(text: str, name: str) -> Page:
    """Raises PageError."""
    try:
        blocks = list(_blocks(MarkdownIt().parse(text)))
    except PageError as exc:
        raise PageError(f"{name}:{exc}") from None
    setups = dict.fromkeys(one for block in blocks for one in block.marks.get("setup", "").split(",") if one)
    return Page(name, tuple(_with_outputs(blocks)), tuple(setups))


def _blocks(tokens: Sequence[Token]) -> Iterator[Block]:
    marks: dict[str, str] = {}
    for token in tokens:
        line = (token.map or (0,))[0] + 1
        if token.type == "code_block":
            raise PageError(f"{line}: a block that is only indented; fence it, with its language")
        if token.type == "html_block" and (found := _COMMENT.findall(token.content)):
            for text in found:
                marks |= _marks(text, line)
        elif token.type == "fence":
            language = token.info.partition(" ")[0]
            if language not in LANGUAGES:
                raise PageError(f"{line}: a block of {language or 'no language'}; known are {', '.join(LANGUAGES)}")
            yield Block(language, token.content, line, marks)
            marks = {}
        elif marks and set(marks) != {"setup"} and token.nesting >= 0:
            raise PageError(f"{line}: the mark before it belongs right before a block")
    if marks and set(marks) != {"setup"}:
        raise PageError("the last mark has no block")
    if marks:
        yield Block("text", "", 0, marks)


def _marks(text: str, line: int) -> dict[str, str]:
    marks = {key: value for key, _, value in (word.partition("=") for word in shlex.split(text))}
    if unknown := set(marks) - set(MARKS):
        raise PageError(f"{line}: unknown mark {', '.join(sorted(unknown))}; known are {', '.join(MARKS)}")
    if marks.get("shown") == "":
        raise PageError(f'{line}: say why it is not run: shown="reason"')
    return marks


def _with_outputs(blocks: Sequence[Block]) -> Iterator[Block]:
    for block, following in pairwise([*blocks, Block("text", "", 0, {"shown": "the end"})]):
        if block.runs and following.language == "text" and "shown" not in following.marks:
            yield Block(block.language, block.text, block.line, block.marks, following.text)
        else:
            yield block
