"""Values that the fixers share: the state that a fix starts from, and the fix that it proposes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field

from auditor.core.dataclass import dataclass
from auditor.dockerfile.build_context import BuildContext
from auditor.dockerfile.fix.source_text import Editor, NotFixable, SourceText
from auditor.dockerfile.instructions import BuildStep, Dockerfile, Stage
from auditor.dockerfile.stages import StageGraph
from auditor.scan import Scanner

_FRONTEND = re.compile(r"(?:docker\.io/)?docker/dockerfile(?::(?:(\d+)(?:\.(\d+))?[\w.-]*|latest|labs))?(?:@.*)?")
MOUNT_VERSION = (1, 2)
"""First version of docker/dockerfile with mounts."""
SYNTAX_LINE = "# syntax=docker/dockerfile:1"
"""Directive that selects the newest stable builder of Dockerfiles, which knows all mounts."""


@dataclass(frozen=True, slots=True)
class FixState:
    """A Dockerfile with its context and its ignore file, as fixed so far.

    `named` has the SHA-256 of each literal secret that a fix replaced, by the name of its variable.
    """

    source: SourceText
    graph: StageGraph
    context: BuildContext
    ignore_lines: tuple[str, ...]
    scanner: Scanner
    named: Mapping[str, str] = field(default_factory=dict)

    @property
    def escape(self) -> str:
        """The escape character."""
        return self.graph.dockerfile.escape

    def editor(self) -> Editor:
        """Return an editor of the text."""
        return Editor(self.source, self.escape)

    def step_at(self, line: int) -> tuple[Stage | None, BuildStep]:
        """Return the instruction at a line, and its stage; None before the first FROM. Raises NotFixable."""
        for stage in self.graph.stages:
            for step in stage.steps:
                if step.instruction.line == line:
                    return stage, step
        for one in self.graph.dockerfile.instructions:
            if one.line == line and one.keyword != "FROM":
                return None, BuildStep(one)
        raise NotFixable("FROM can't read secrets: log in to the registry, and name the image without credentials")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A fix that is not proven yet.

    `ignore_lines` is None where the ignore file stays as it is. `build_options` are options that `docker build` needs
    afterwards. `notes` tell the user about consequences. `named` extends that of the state.
    """

    source: SourceText
    edited: frozenset[int]
    ignore_lines: tuple[str, ...] | None = None
    build_options: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    named: tuple[tuple[str, str], ...] = ()


def proposal(
    editor: Editor, build_options: tuple[str, ...] = (), notes: tuple[str, ...] = (),
    ignore_lines: tuple[str, ...] | None = None,
) -> Proposal:  # fmt: skip
    """Return the proposal of an editor's result."""
    return Proposal(editor.result(), editor.edited, ignore_lines, build_options, notes)


def syntax_version(dockerfile: Dockerfile) -> tuple[int, int] | None:
    """Return the version of the builder that a Dockerfile demands; None for a builder other than Docker's.

    Without a directive, and for `1` and `latest`, it is the newest, with the number 999.
    """
    if dockerfile.syntax is None:
        return 1, 999
    found = _FRONTEND.fullmatch(dockerfile.syntax.split()[0])
    return None if found is None else (int(found[1] or 1), int(found[2] or 999))
