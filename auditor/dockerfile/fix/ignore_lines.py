"""Fixes of a whole context that is copied with secret files or .git: lines of the ignore file."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from auditor.dockerfile.copied_files import CopyRules, is_whole_context
from auditor.dockerfile.fix.copied_files import add_file_mounts, file_id, is_configuration
from auditor.dockerfile.fix.proposal import FixState, Proposal, proposal
from auditor.dockerfile.fix.run_steps import mentions
from auditor.dockerfile.fix.source_text import NotFixable
from auditor.dockerfile.instructions import BuildStep
from auditor.dockerfile.problems import DockerfileProblem
from auditor.dockerfile.shell_commands import commands
from auditor.dockerfile.stages import copy_sources, copy_target

_MAX_LINES = 200
_READS_GIT = re.compile(
    r"(?:archive|branch|checkout|describe|diff|lfs|log|ls-files|name-rev|rev-list|rev-parse|show|status|submodule|tag)"
)
_READERS = ("RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK")


def fix_context(state: FixState, problem: DockerfileProblem) -> Proposal:
    """Exclude the secret files and .git of the context. Raises NotFixable where an instruction reads one."""
    stage, step = state.step_at(problem.line)
    if stage is None or step.instruction.onbuild:
        raise NotFixable("ONBUILD instructions are not changed")
    source = next(one for one in copy_sources(step, state.escape) if is_whole_context(one))
    entries = state.context.matching(source, step.instruction.flag("exclude"))
    files = [one.path for one in CopyRules(state.scanner, state.graph, state.context).secret_files(entries)]
    excluded = files + ([".git"] if any(entry.path == ".git" for entry in entries) else [])
    if len(excluded) > _MAX_LINES:
        raise NotFixable(f"more than {_MAX_LINES} files: exclude their folders in .dockerignore")
    _require_not_copied(state, excluded)
    editor, options = state.editor(), list[str]()
    for path in excluded:
        if path == ".git":
            _require_no_git(state)
        elif is_configuration(path):
            target = posixpath.join(copy_target(step, state.escape), path)
            if add_file_mounts(editor, state, stage, step, path, target):
                options.append(f"--secret id={file_id(path)},src={path}")
        else:
            _require_unread(state, path)
    unseen = [path for path in excluded if not is_configuration(path)]
    notes = (f"the build no longer sees {', '.join(unseen)}",) if unseen else ()
    lines = (*state.ignore_lines, *(_pattern(path) for path in excluded))
    return proposal(editor, tuple(options), notes, lines)


def _steps(state: FixState) -> list[BuildStep]:
    return [step for stage in state.graph.stages for step in stage.steps]


def _require_not_copied(state: FixState, excluded: Sequence[str]) -> None:
    """Raise NotFixable where an instruction copies nothing but excluded files: the builder would miss its source."""
    for step in _steps(state):
        one = step.instruction
        for source in (
            copy_sources(step, state.escape) if one.keyword in ("COPY", "ADD") and not one.flag("from") else ()
        ):
            paths = {entry.path for entry in state.context.matching(source, one.flag("exclude"))}
            if paths and paths <= set(excluded) and not is_whole_context(source):
                raise NotFixable(f"{one.keyword} in line {one.line} names {posixpath.basename(source)}")


def _require_unread(state: FixState, path: str) -> None:
    name = posixpath.basename(path)
    for step in _steps(state):
        if step.instruction.keyword in _READERS and mentions(step, name):
            raise NotFixable(f"{step.instruction.keyword} in line {step.instruction.line} names {name}")


def _require_no_git(state: FixState) -> None:
    for step in _steps(state):
        for command in commands(step, state.escape) if step.instruction.keyword == "RUN" else ():
            if command.name == "git" and any(map(_READS_GIT.fullmatch, command.plain()[:1])):
                raise NotFixable(f"git in line {step.instruction.line} reads .git: mount it with RUN --mount=type=bind")


def _pattern(path: str) -> str:
    """Return the pattern of exactly one path. Raises NotFixable for a name that no pattern can express."""
    if path != path.strip() or path[:1] in ("!", "#") or not path.isprintable():
        raise NotFixable(f"{path!r} has a name that .dockerignore can't express")
    return re.sub(r"([\\*?\[\]])", r"\\\1", path)
