"""Fixes of secrets that stand in a RUN: a variable in their place, mounted as a secret."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from functools import partial
from itertools import chain

from auditor.dockerfile.fix.proposal import FixState, Proposal, proposal
from auditor.dockerfile.fix.run_steps import has_posix_shell, stores
from auditor.dockerfile.fix.secret_variables import mount_variable, remove_variable, secret_id
from auditor.dockerfile.fix.shell_chain import body_start
from auditor.dockerfile.fix.source_text import NotFixable
from auditor.dockerfile.instructions import BuildStep, Stage
from auditor.dockerfile.problems import DockerfileProblem
from auditor.dockerfile.secret_values import LiteralSecret, literal_secrets
from auditor.dockerfile.shell_words import parse_arguments
from auditor.dockerfile.stages import StageGraph, mounts

_PLAIN = re.compile(r"[\w.+/=@:%!,~^-]{4,4096}")
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_MAX_NAMES = 1000
_FROM_ARGUMENT = re.compile(r"The build argument (\w+) is part of the URL")


def fix_literal(state: FixState, problem: DockerfileProblem) -> Proposal:
    """Replace the secrets of a RUN by variables that are mounted in it. Raises NotFixable."""
    stage, step = state.step_at(problem.line)
    one = step.instruction
    argument = _FROM_ARGUMENT.match(problem.message)
    if argument and stage is not None:
        return _fix_argument(state, stage, step, argument[1])
    if stage is None or one.keyword != "RUN" or one.onbuild:
        raise NotFixable(f"{one.keyword} can't read secrets during the build")
    if one.words is not None or one.heredocs:
        raise NotFixable("the command is in JSON form or in a here-document; write it as a plain command line")
    if not has_posix_shell(state.graph, stage, step):
        raise NotFixable("the shell of this step may not expand ${NAME}: mount the secret yourself")
    secrets = _unique(state, step)
    if not secrets:
        raise NotFixable("the place of the secret in the command is not certain")
    editor = state.editor()
    for name, secret in secrets.items():
        _require_transient(state, step, secret)
        if not editor.rewrite(one, partial(_replaced, value=secret.value, name=name, escape=state.escape)):
            raise NotFixable(
                "the secret is split over lines, part of a longer word, or where the shell expands no variable"
            )
    for name in secrets:
        mount_variable(editor, state, stage, step, name)
    options = tuple(f"--secret id={secret_id(name)},env={name}" for name in secrets)
    named = tuple((name, _digest(secret)) for name, secret in secrets.items())
    return replace(proposal(editor, options), named=named)


def _fix_argument(state: FixState, stage: Stage, step: BuildStep, name: str) -> Proposal:
    for own in _lineage(state.graph, stage):
        for declared in reversed(own.steps):
            one = declared.instruction
            names = (
                [own_name for own_name, _ in parse_arguments(one.text, state.escape)] if one.keyword == "ARG" else []
            )
            if name in names and one.line < step.instruction.line:
                return remove_variable(state, own, declared, name)
    raise NotFixable(f"the ARG of {name} was not found")


def _lineage(graph: StageGraph, stage: Stage) -> list[Stage]:
    found = [stage]
    while found[-1].parent is not None:
        found.append(graph.stages[found[-1].parent])
    return found


def _unique(state: FixState, step: BuildStep) -> dict[str, LiteralSecret]:
    """Return the secrets of a RUN by the name of their new variable, the longest first."""
    named: dict[str, LiteralSecret] = {}
    mounted = {
        mount.get("id", "")
        for stage in state.graph.stages
        for one in stage.steps
        if one.instruction.keyword == "RUN"
        for mount in mounts(one.instruction)
    }

    def is_free(name: str) -> bool:
        return name not in named and name not in step.variables and secret_id(name) not in mounted

    found = {secret.value: secret for secret in literal_secrets(state.scanner, step, state.escape)}
    # The name of a variable is better than that of a token, and comes later.
    for value in sorted(found, key=len, reverse=True):
        if any(value in other.value for other in named.values()):
            continue
        base = re.sub(r"\W+", "_", found[value].name).strip("_").upper() or "SECRET"
        numbered = (f"{base}_{count}" for count in range(2, _MAX_NAMES))
        name = _existing_name(state, step, found[value])
        name = name or next((name for name in (base, *numbered) if is_free(name)), None)
        if name is None:
            raise NotFixable("too many secrets of one kind")
        named[name] = found[value]
    return named


def _existing_name(state: FixState, step: BuildStep, secret: LiteralSecret) -> str | None:
    """Return the variable with the same secret: one that the step can read, else that of an earlier fix."""
    own = (name for name, value in step.variables.items() if value == secret.value and _VARIABLE.fullmatch(name))
    digest = _digest(secret)
    fixed = (name for name, known in state.named.items() if known == digest and name not in step.variables)
    return next(chain(own, fixed), None)


def _digest(secret: LiteralSecret) -> str:
    return hashlib.sha256(secret.value.encode("utf-8", "surrogateescape")).hexdigest()


def _require_transient(state: FixState, step: BuildStep, secret: LiteralSecret) -> None:
    """Raise NotFixable where the command may write the secret to a file of the layer: the fix would hide that."""
    text = step.instruction.text
    variables = re.findall(rf"(\w+)=[\"']?{re.escape(secret.value)}", text)
    needles = (secret.value, *(f"${name}" for name in variables), *(f"${{{name}" for name in variables))
    if stores(step, state.escape, needles):
        raise NotFixable("the command may write the secret to a file that stays in the layer: mount the file instead")


def _replaced(raw: str, value: str, name: str, escape: str) -> str | None:
    """Replace a secret at each of its places by a variable, as the quotes there demand.

    None if the secret is not in the command line, or if it is also part of a longer word, such as a name.
    """
    start = body_start(raw, escape)
    if start is None or not _PLAIN.fullmatch(value) or value not in raw[start:]:
        return None
    if re.search(rf"\w{re.escape(value)}|{re.escape(value)}\w", raw[start:]):
        return None
    pieces, at, quote = [raw[:start]], start, ""
    while at < len(raw):
        char = raw[at]
        if raw.startswith(value, at):
            pieces.append({"": f'"${{{name}}}"', '"': f"${{{name}}}", "'": f"'\"${{{name}}}\"'"}[quote])
            at += len(value)
            continue
        if char in ("\\", escape) and quote != "'":
            pieces.append(raw[at : at + 2])
            at += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        pieces.append(char)
        at += 1
    return None if quote else "".join(pieces)
