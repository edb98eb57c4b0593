"""Simple commands of a RUN, as precise as advice needs: words, lists and `cd`, but no other shell syntax."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath

from auditor.core.dataclass import dataclass
from auditor.dockerfile.instructions import BuildStep
from auditor.dockerfile.shell_words import expand, split_words
from auditor.dockerfile.stages import absolute_path

MAX_SCRIPT = 1 << 16
"""Characters of one RUN that are parsed."""
_OPERATOR = re.compile(r"[();<>|&]+")
_LEADING = {
    "!",
    "{",
    "if",
    "then",
    "else",
    "elif",
    "do",
    "while",
    "until",
    "sudo",
    "exec",
    "time",
    "command",
    "env",
    "eatmydata",
}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_SHELLS = ("sh", "bash", "ash", "dash", "zsh")


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command. `written` are the files of its output, `folder` is its working directory."""

    words: tuple[str, ...]
    written: tuple[str, ...]
    folder: str

    @property
    def name(self) -> str:
        """File name of the program."""
        return PurePosixPath(self.words[0]).name if self.words else ""

    def plain(self) -> list[str]:
        """Return the arguments without options."""
        return [word for word in self.words[1:] if not word.startswith("-") or word == "-"]

    def option(self, *names: str) -> str | None:
        """Return the value of an option: `-o x`, `-ox`, `--out x`, `--out=x`."""
        for at, word in enumerate(self.words[1:], 1):
            for name in names:
                if word == name and at + 1 < len(self.words):
                    return self.words[at + 1]
                if name.startswith("--") and word.startswith(f"{name}="):
                    return word[len(name) + 1 :]
                if re.fullmatch(rf"-[a-zA-Z]*{name[1:]}", word) and len(name) == 2 and at + 1 < len(self.words):
                    return self.words[at + 1]
        return None


def commands(step: BuildStep, escape: str = "\\") -> list[Command]:
    """Return the simple commands of a RUN, in order."""
    words = step.instruction.words
    if words is not None:
        if len(words) > 2 and PurePosixPath(words[0]).name in _SHELLS and words[1].endswith("c"):
            return list(_commands(words[2], step))
        return [Command(words, (), step.folder)] if words else []
    return list(_commands(script(step, escape), step))


def script(step: BuildStep, escape: str = "\\") -> str:
    """Return the script of a RUN: its here-document if it has nothing else, otherwise its command line."""
    one = step.instruction
    if one.heredocs and all("<<" in word for word in split_words(one.text, escape)):
        return "".join(heredoc.content for heredoc in one.heredocs)
    return one.text


def _commands(text: str, step: BuildStep) -> Iterator[Command]:
    folder = step.folder
    words: list[str] = []
    written: list[str] = []
    direction = ""
    for word in [*_tokens(expand(text[:MAX_SCRIPT], step.variables)), ";"]:
        if not _OPERATOR.fullmatch(word):
            if direction.startswith((">", "&>")) and word != "/dev/null" and not word.isdigit():
                written.append(absolute_path(word, folder))
            elif not direction and (words or not (word in _LEADING or _ASSIGNMENT.match(word))):
                words.append(word)
            direction = ""
        elif ">" in word or "<" in word:
            direction = word
            if words and words[-1].isdigit():  # the 2 of `2>&1`
                words.pop()
        else:
            if words or written:
                yield Command(tuple(words), tuple(written), folder)
            if len(words) > 1 and words[0] == "cd":
                folder = absolute_path(words[1], folder)
            words, written, direction = [], [], ""


def _tokens(text: str) -> list[str]:
    # A newline ends a command unless it is escaped.
    text = re.sub(r"\\\n", " ", text).replace("\n", " ; ")
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        return list(lexer)
    except ValueError:  # unbalanced quote
        return text.split()
