"""Commands of a RUN that `&&` joins, by their place in the text, so that one can be removed or several RUNs joined."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from auditor.core.dataclass import dataclass
from auditor.dockerfile.instructions import BuildStep
from auditor.dockerfile.shell_commands import Command, commands
from auditor.dockerfile.shell_words import split_words

_KEYWORDS = re.compile(r"^\s*(?:if|for|while|until|case|select|function|then|else|do|done|fi|esac|\{|\}|!)(?:\s|$)")
_HEAD = re.compile(r"(?is)\s*RUN(?:\s|$)")


@dataclass(frozen=True, slots=True)
class ChainPart:
    """Command, or pipeline, of a chain: its range in the raw text, without spaces around."""

    start: int
    end: int
    text: str

    def commands(self, step: BuildStep, escape: str) -> list[Command]:
        """Return its simple commands, in the working directory of the step: a `cd` in an earlier part is ignored."""
        text = self.text.replace(f"{escape}\n", " ")
        return commands(
            replace(step, instruction=replace(step.instruction, text=text, words=None, heredocs=())), escape
        )


def chain_parts(raw: str, escape: str) -> list[ChainPart] | None:
    """Split the raw lines of a RUN in shell form at `&&`.

    None for a text with comments, here-documents, lists with `;` or `||`, background commands, subshells or compound
    commands: those are not edited.
    """
    start = body_start(raw, escape)
    if start is None or any(line.lstrip().startswith("#") for line in raw.split("\n")[1:]):
        return None
    bounds, at, quote, begin = list[tuple[int, int]](), start, "", start
    while at < len(raw):
        char, pair = raw[at], raw[at : at + 2]
        if char in ("\\", escape) and quote != "'":
            at += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif pair == "&&":
            bounds.append((begin, at))
            begin, at = at + 2, at + 2
            continue
        elif pair in (">&", "&>"):
            at += 2
            continue
        elif char in ";&()`" or pair in ("||", "<<", "$(") or (char == "#" and raw[at - 1].isspace()):
            return None
        at += 1
    parts = [_trimmed(raw, first, last, escape) for first, last in [*bounds, (begin, len(raw))]]
    return None if quote or any(not part.text or _KEYWORDS.match(part.text) for part in parts) else parts


def without_parts(raw: str, parts: Sequence[ChainPart], removed: Sequence[ChainPart]) -> str:
    """Return the raw text without some parts of its chain; at least one must stay."""
    kept = [part for part in parts if part not in removed]
    pieces = [raw[: parts[0].start], kept[0].text]
    for part in kept[1:]:
        previous = parts[parts.index(part) - 1]
        pieces += (raw[previous.end : part.start], part.text)
    return "".join(pieces)


def body_start(raw: str, escape: str) -> int | None:
    """Return the offset of the command line of a RUN, after its flags; None for another instruction."""
    head = _HEAD.match(raw)
    if head is None:
        return None
    at = head.end()
    while True:
        at = len(raw) - len(_unspaced(raw[at:], escape))
        if not raw.startswith("--", at):
            return at
        at += len(next(split_words(raw[at:], escape)))


def _unspaced(text: str, escape: str) -> str:
    before = None
    while text != before:
        before = text
        text = text.lstrip().removeprefix(f"{escape}\n")
    return text


def _trimmed(raw: str, start: int, end: int, escape: str) -> ChainPart:
    text = _unspaced(raw[start:end], escape)
    start = end - len(text)
    before = None
    while text != before:
        before = text
        text = text.rstrip()
        if raw.startswith("\n", start + len(text)):
            text = text.removesuffix(escape)
    return ChainPart(start, start + len(text), text)
