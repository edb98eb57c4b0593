"""Values of a parsed Dockerfile: instructions, build steps, stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType

from auditor.core.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Heredoc:
    """Here-document: delimiter, content, and whether the builder expands variables in it."""

    name: str
    content: str
    expand: bool = True


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction; continued lines are joined, comments between them dropped.

    `keyword` is in capitals; for `ONBUILD RUN …` it is RUN, and `onbuild` is set. `flags` are as written
    (`--from=build`), `text` is the rest of the line. `words` are the strings of the JSON form, None for the shell form.
    """

    keyword: str
    line: int
    end_line: int
    text: str
    flags: tuple[str, ...] = ()
    words: tuple[str, ...] | None = None
    heredocs: tuple[Heredoc, ...] = ()
    onbuild: bool = False

    def flag(self, name: str) -> tuple[str, ...]:
        """Return the values of a flag, which may occur several times."""
        return tuple(flag.partition("=")[2] for flag in self.flags if flag.partition("=")[0] == f"--{name}")


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """Parsed Dockerfile. `name` is its name in messages, `syntax` the builder that its directive names."""

    name: str
    instructions: tuple[Instruction, ...]
    escape: str = "\\"
    syntax: str | None = None


@dataclass(frozen=True, slots=True)
class BuildStep:
    """Instruction of a stage, with the environment before it runs.

    `variables` are the values of ENV and ARG, None if only the build knows them. `arguments` are the names that ARG
    declares. `folder` is the working directory.
    """

    instruction: Instruction
    variables: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    arguments: frozenset[str] = frozenset()
    folder: str = "/"


@dataclass(frozen=True, slots=True)
class Stage:
    """Build stage, started by FROM. `parent` is the index of the stage it is based on, None for an external image."""

    index: int
    name: str
    base: str
    parent: int | None
    start: BuildStep
    steps: tuple[BuildStep, ...]

    def __str__(self) -> str:
        return self.name or f"stage {self.index}"
