"""The nouns of a Dockerfile: frozen values, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from auditor.core.finding import Severity


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document: the name that ends it, its lines, whether variables in it are expanded."""

    name: str
    content: str
    expand: bool = True


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its continued lines joined and the comments between them dropped.

    `keyword` is in capitals and never ONBUILD: that is `onbuild`. `flags` are as written (`--from=build`), `text` is
    what follows them; `words` is the JSON form, None in any other.
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
        """Return the values of a flag, which may be given several times."""
        return tuple(flag.partition("=")[2] for flag in self.flags if flag.partition("=")[0] == f"--{name}")


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A parsed Dockerfile; `name` is how messages call it."""

    name: str
    instructions: tuple[Instruction, ...]
    escape: str = "\\"


@dataclass(frozen=True, slots=True)
class BuildStep:
    """An instruction of a stage, with what holds before it runs.

    `variables` are the values known of ENV and ARG, None where only the build knows one; `arguments` are the names that
    come from ARG; `folder` is the working directory.
    """

    instruction: Instruction
    variables: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    arguments: frozenset[str] = frozenset()
    folder: str = "/"


@dataclass(frozen=True, slots=True)
class Stage:
    """What one FROM begins. `parent` is the index of the stage it builds upon, None for an image from elsewhere."""

    index: int
    name: str
    base: str
    parent: int | None
    start: BuildStep
    steps: tuple[BuildStep, ...]

    def __str__(self) -> str:
        return self.name or f"stage {self.index}"


class DockerfileRule(StrEnum):
    """The rules, by the names that the report gives them."""

    SECRET_IN_ENV = "secret-in-env"  # noqa: S105 - the name of a rule
    SECRET_IN_ARG = "secret-in-arg"  # noqa: S105
    SECRET_IN_RUN = "secret-in-run"  # noqa: S105
    CREDENTIALS_IN_URL = "credentials-in-url"
    SECRET_FILE_COPIED = "secret-file-copied"  # noqa: S105
    COPY_CONTEXT = "copy-context"
    DELETED_LATER = "deleted-later"
    CACHE_ORDER = "cache-order"
    LARGE_THEN_DELETED = "large-then-deleted"


@dataclass(frozen=True, slots=True)
class DockerfileProblem:
    """What is wrong at one instruction. `message` and `advice` show no secret whole.

    `carried`: it stands in a discarded stage, and a later one copies the secret into the image all the same.
    """

    rule: DockerfileRule
    line: int
    severity: Severity
    message: str
    advice: str
    carried: bool = False
