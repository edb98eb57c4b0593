"""Dockerfile parser, compatible with BuildKit's.

Source: the Dockerfile reference, and frontend/dockerfile/parser in moby/buildkit, with which the tests compare it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from auditor.core.errors import DockerfileError
from auditor.core.text import nearest
from auditor.dockerfile.input_file import read_small
from auditor.dockerfile.instructions import Dockerfile, Heredoc, Instruction
from auditor.dockerfile.shell_words import quotes_closed, split_words, unquote

MAX_INSTRUCTIONS = 5000

KEYWORDS = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD",
    "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip
_JSON_FORMS = ("ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME")
_HEREDOC_FORMS = ("ADD", "COPY", "RUN")
_FLAG_FORMS = ("ADD", "COPY", "FROM", "HEALTHCHECK", "RUN")
_DIRECTIVE = re.compile(r"#[ \t]*([A-Za-z][A-Za-z0-9]*)[ \t]*=[ \t]*(.+?)[ \t]*$")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)$")


def read_dockerfile(path: Path) -> Dockerfile:
    """Parse a file. Raises DockerfileError with file name and line."""
    return parse(read_text(path).removeprefix("\ufeff"), str(path))


def read_text(path: Path) -> str:
    """Return the text of a file, with its byte order mark if it has one. Raises DockerfileError with the line."""
    data = read_small(path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise DockerfileError(f"{path}:{data.count(10, 0, exc.start) + 1}: not text in UTF-8") from None
    if "\0" in text:
        raise DockerfileError(f"{path}:{text.count(chr(10), 0, text.index(chr(0))) + 1}: not text: holds a zero byte")
    return text


def parse(text: str, name: str = "Dockerfile") -> Dockerfile:
    """Parse the text of a Dockerfile. Raises DockerfileError."""
    lines = text.split("\n")
    lines = [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
    directives = _directives(lines, name)
    escape = directives.get("escape", "\\")
    instructions = tuple(_Reader(lines, escape, name))
    first = next((one for one in instructions if one.keyword != "ARG"), None)
    if first is None:
        raise DockerfileError(f"{name}: no FROM instruction. Is it a Dockerfile?")
    if first.keyword != "FROM":
        raise DockerfileError(f"{name}:{first.line}: {first.keyword} before the first FROM; only ARG is allowed there")
    return Dockerfile(name, instructions, escape, directives.get("syntax"))


def is_complete(lines: Sequence[str], escape: str) -> bool:
    """Return whether lines are one whole instruction, so that the line after them begins another one."""
    try:
        found = tuple(_Reader([*lines, "RUN end"], escape, ""))
    except DockerfileError:
        return False
    return len(found) == 2 and found[1].line == len(lines) + 1


def continuation(escape: str) -> re.Pattern[str]:
    """Return the pattern of the end of a line that the next line continues: an escape that is not escaped itself."""
    mark = re.escape(escape)
    return re.compile(rf"(?:(?<=[^{mark}])|^){mark}[ \t]*$")


def _directives(lines: list[str], name: str) -> dict[str, str]:
    """Return the parser directives: the first lines, before comments, blank lines and instructions."""
    seen: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _DIRECTIVE.match(line.lstrip(" \t"))
        key = match[1].lower() if match else ""
        if match is None or key not in _DIRECTIVES:
            break
        if key in seen:
            raise DockerfileError(f"{name}:{number}: duplicate directive {key}")
        seen[key] = match[2]
    if seen.get("escape", "\\") not in ("\\", "`"):
        raise DockerfileError(f"{name}: escape is {seen['escape']!r}; use \\ or `")
    return seen


class _Reader:
    """Iterator over the instructions of a file."""

    def __init__(self, lines: list[str], escape: str, name: str) -> None:
        self._lines, self._at = lines, 0
        self._escape, self._name = escape, name
        self._continued = continuation(escape)

    def __iter__(self) -> Iterator[Instruction]:
        count = 0
        while self._at < len(self._lines):
            start = self._at + 1
            line = self._logical()
            if line.strip():
                count += 1
                if count > MAX_INSTRUCTIONS:
                    raise self._error(start, f"more than {MAX_INSTRUCTIONS} instructions")
                yield self._instruction(line, start)

    def _error(self, line: int, what: str) -> DockerfileError:
        return DockerfileError(f"{self._name}:{line}: {what}")

    def _logical(self) -> str:
        """Join a line with its continuation lines, without comments and blank lines between them."""
        first = self._lines[self._at].lstrip()
        self._at += 1
        if first.startswith("#"):
            return ""
        pieces, going = self._trimmed(first)
        while going and self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            bare = line.lstrip()
            if bare and not bare.startswith("#"):
                piece, going = self._trimmed(line)
                pieces += piece
        return pieces

    def _trimmed(self, line: str) -> tuple[str, bool]:
        cut = self._continued.search(line)
        return (line[: cut.start()], True) if cut else (line, False)

    def _instruction(self, line: str, start: int, *, onbuild: bool = False) -> Instruction:
        keyword, _, rest = line.strip().replace("\t", " ", 1).partition(" ")
        keyword = keyword.upper()
        if keyword not in KEYWORDS:
            # In a file of another kind the word may contain a secret (`TOKEN=…`), so only letters are shown.
            shown = f" {keyword:.30}" if keyword.isalpha() else ""
            raise self._error(start, f"unknown instruction{shown}{nearest(keyword, KEYWORDS)}")
        if keyword == "ONBUILD":
            if onbuild or rest.split(None, 1)[:1] in ([], ["FROM"], ["MAINTAINER"]):
                raise self._error(
                    start, "ONBUILD needs an instruction after it, other than FROM, MAINTAINER and ONBUILD"
                )
            return self._instruction(rest, start, onbuild=True)
        flags, text = self._flags(rest.strip()) if keyword in _FLAG_FORMS else ((), rest.strip())
        if not text and keyword != "CMD":
            raise self._error(start, f"{keyword} without arguments")
        words = _json_form(text) if keyword in _JSON_FORMS else None
        heredocs = tuple(self._heredocs(text, start)) if keyword in _HEREDOC_FORMS and words is None else ()
        return Instruction(keyword, start, self._at, text, flags, words, heredocs, onbuild)

    def _flags(self, text: str) -> tuple[tuple[str, ...], str]:
        flags = []
        while text.startswith("--"):
            word = next(split_words(text, self._escape))
            text = text[len(word) :].lstrip()
            if word == "--":
                break
            flags.append(unquote(word, self._escape))
        return tuple(flags), text

    def _heredocs(self, text: str, start: int) -> Iterator[Heredoc]:
        # BuildKit always uses the backslash as escape here, and finds no here-document if a quote is open.
        for word in split_words(text) if quotes_closed(text) else ():
            match = _HEREDOC.fullmatch(word)
            if match:
                name = unquote(match[2])
                yield Heredoc(name, self._until(name, match[1] == "-", start), name == match[2])

    def _until(self, name: str, chomp: bool, start: int) -> str:
        """Return the lines before the delimiter of a here-document; `chomp` allows tabs before the delimiter."""
        first = self._at
        for at in range(first, len(self._lines)):
            line = self._lines[at]
            if (line.lstrip("\t") if chomp else line) == name:
                self._at = at + 1
                return "".join(f"{text}\n" for text in self._lines[first:at])
        raise self._error(start, f"here-document {name:.40} without end: no line equals {name:.40}")


def _json_form(text: str) -> tuple[str, ...] | None:
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return tuple(value) if all(isinstance(item, str) for item in value) else None
