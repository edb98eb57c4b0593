"""Fixes of files that one RUN adds and a later one removes: the steps become one, so that no layer keeps the files."""

from __future__ import annotations

import re

from auditor.core.finding import Severity
from auditor.dockerfile.fix.copied_files import fix_copied_then_removed
from auditor.dockerfile.fix.proposal import FixState, Proposal, proposal
from auditor.dockerfile.fix.run_steps import has_posix_shell
from auditor.dockerfile.fix.shell_chain import ChainPart, body_start, chain_parts
from auditor.dockerfile.fix.source_text import NotFixable
from auditor.dockerfile.instructions import BuildStep, Stage
from auditor.dockerfile.problems import DockerfileProblem

_CHANGES_SHELL = re.compile(
    r"(?:^|[\s;&|({])(?:cd|pushd|popd|export|unset|exec|exit|set|umask|trap|source|alias|ulimit|return|\.)(?:\s|$)"
)
_TRACES = re.compile(r"set -[ex]+")
_ASSIGNMENT = re.compile(r"^\s*(?:[A-Za-z_]\w*=\S*\s*)+$")
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)=")
_MAX_JOINED = 20


def fix_removed_later(state: FixState, problem: DockerfileProblem) -> Proposal:
    """Join the steps from the one that adds files to the one that removes them. Raises NotFixable."""
    if problem.adding_line is None:
        raise NotFixable("the instruction that adds the files is not certain")
    stage, removing = state.step_at(problem.line)
    _, adding = state.step_at(problem.adding_line)
    if stage is None or adding not in stage.steps:
        raise NotFixable("another stage adds the files")
    if adding.instruction.keyword in ("COPY", "ADD"):
        if problem.severity is Severity.HIGH:
            raise NotFixable(f"line {problem.adding_line} copies a secret, and could not be fixed")
        return fix_copied_then_removed(state, problem.adding_line)
    steps = [s for s in stage.steps if adding.instruction.line <= s.instruction.line <= removing.instruction.line]
    return _joined(state, stage, steps)


def _joined(state: FixState, stage: Stage, steps: list[BuildStep]) -> Proposal:
    if len(steps) > _MAX_JOINED:
        raise NotFixable(f"more than {_MAX_JOINED} steps stand between")
    if not has_posix_shell(state.graph, stage, steps[0]):
        raise NotFixable("the shell of these steps may not know &&")
    chains: list[list[ChainPart]] = []
    for step in steps:
        one = step.instruction
        if one.keyword != "RUN" or one.onbuild:
            raise NotFixable(f"{one.keyword} in line {one.line} stands between the steps")
        raw = "\n".join(state.source.of_instruction(one))
        parts = chain_parts(raw, state.escape) if one.words is None and not one.heredocs else None
        if parts is None:
            raise NotFixable(f"line {one.line} is not a plain list of commands joined by &&")
        if one.flags != steps[0].instruction.flags:
            raise NotFixable(f"line {one.line} has other options than line {steps[0].instruction.line}")
        chains.append(parts)
    _require_independent(steps, chains)
    editor = state.editor()
    first = steps[0].instruction
    lines = list(state.source.of_instruction(first))
    for step in steps[1:]:
        own = "\n".join(state.source.of_instruction(step.instruction))
        lines[-1] = f"{lines[-1].rstrip()} && {state.escape}"
        body = own[body_start(own, state.escape) :].split("\n")
        lines += [f"    {body[0].lstrip()}", *body[1:]]
        editor.set_lines(step.instruction, ())
    editor.set_lines(first, lines)
    return proposal(editor)


def _require_independent(steps: list[BuildStep], chains: list[list[ChainPart]]) -> None:
    """Raise NotFixable where a command would change the shell of a later step: its folder, variables or options."""
    for at, (step, parts) in enumerate(zip(steps, chains, strict=True)):
        later = " ".join(part.text for chain in chains[at + 1 :] for part in chain)
        for part in parts if later else ():
            if _TRACES.fullmatch(part.text):
                continue
            assigned = _ASSIGNED.findall(part.text) if _ASSIGNMENT.match(part.text) else []
            if _CHANGES_SHELL.search(part.text) or any(re.search(rf"\b{name}\b", later) for name in assigned):
                raise NotFixable(f"line {step.instruction.line} changes the shell for commands after it")
