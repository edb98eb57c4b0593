"""Words of an instruction: splitting, quotes, variables.

Source: the Dockerfile reference, "Environment replacement".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_VARIABLE = re.compile(r"\$(?:(?P<bare>\w+)|\{(?P<name>\w+)(?::?(?P<sign>[-+?])(?P<word>[^{}]*)|[#%/][^{}]*)?\})")


def split_words(text: str, escape: str = "\\") -> Iterator[str]:
    """Yield the words of a text, with their quotes and escapes."""
    word, quote, at = "", "", 0
    while at < len(text):
        char = text[at]
        if char == escape and quote != "'":
            word += text[at : at + 2]
            at += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char.isspace():
            if word:
                yield word
            word, at = "", at + 1
            continue
        word += char
        at += 1
    if word:
        yield word


def quotes_closed(text: str) -> bool:
    """Return whether all quotes of a text are closed."""
    return list(split_words(f"{text}\n end"))[-1] == "end"


def unquote(word: str, escape: str = "\\") -> str:
    """Remove the quotes and escapes of a word. An escaped dollar sign keeps its escape for `expand`."""
    result, quote, at = "", "", 0
    while at < len(word):
        char = word[at]
        if char == escape and quote != "'":
            following = word[at + 1 : at + 2]
            # Within double quotes only these characters can be escaped; otherwise the escape is literal.
            kept = following == "$" or (quote == '"' and following not in ('"', escape))
            result += char + following if kept else following
            at += 2
            continue
        if quote and char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote = char
        else:
            result += char
        at += 1
    return result


def expand(text: str, variables: Mapping[str, str | None]) -> str:
    """Replace variables with known values, and `${x:-word}` of unset ones. Others remain."""

    def value(match: re.Match[str]) -> str:
        if match.start() and text[match.start() - 1] in "\\`":
            return match[0]
        name, sign, word = match["bare"] or match["name"], match["sign"], match["word"] or ""
        if match["bare"] is None and sign is None and not match[0].endswith(f"{name}}}"):
            return match[0]
        known = variables.get(name)
        if sign == "+":
            return word if known else match[0] if name in variables else ""
        if known:
            return known
        return word if sign == "-" and name not in variables else match[0]

    return _VARIABLE.sub(value, text)


def references(text: str) -> set[str]:
    """Return the names of the variables in a text."""
    return {match["bare"] or match["name"] for match in _VARIABLE.finditer(text)}


def parse_assignments(text: str, escape: str = "\\") -> list[tuple[str, str]]:
    """Return the name and value of each setting of ENV, LABEL or ARG, also of the old form `ENV name value`."""
    words = list(split_words(text, escape))
    if not words:
        return []
    if "=" not in words[0]:
        return [(unquote(words[0], escape), unquote(text[len(words[0]) :].strip(), escape))]
    pairs = (word.partition("=") for word in words)
    return [(unquote(name, escape), unquote(value, escape)) for name, _, value in pairs]


def parse_arguments(text: str, escape: str = "\\") -> list[tuple[str, str | None]]:
    """Return the name and the default (or None) of each ARG."""
    pairs = (word.partition("=") for word in split_words(text, escape))
    return [(unquote(name, escape), unquote(value, escape) if equals else None) for name, equals, value in pairs]
