"""Fixes of secrets in ARG and ENV: a secret mount in each step that may read the variable."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auditor.dockerfile.fix.proposal import MOUNT_VERSION, FixState, Proposal, proposal, syntax_version
from auditor.dockerfile.fix.run_steps import (
    access,
    has_posix_shell,
    later_steps,
    may_read,
    mentions,
    stores,
    texts,
    user_of,
)
from auditor.dockerfile.fix.shell_chain import body_start
from auditor.dockerfile.fix.source_text import Editor, NotFixable
from auditor.dockerfile.instructions import BuildStep, Instruction, Stage
from auditor.dockerfile.problems import DockerfileProblem
from auditor.dockerfile.shell_words import references, split_words, unquote

_NAMED = re.compile(r"(?:ARG|ENV) ([A-Za-z_]\w*) ")
_AT_RUN_TIME = ("CMD", "ENTRYPOINT", "HEALTHCHECK")
_ENV_VERSION = (1, 10)
"""First version of docker/dockerfile in which a secret can be mounted as an environment variable."""


def fix_variable(state: FixState, problem: DockerfileProblem) -> Proposal:
    """Remove a variable of ARG or ENV, and mount it where it is read. Raises NotFixable."""
    named = _NAMED.match(problem.message)
    stage, step = state.step_at(problem.line)
    if named is None or step.instruction.keyword not in ("ARG", "ENV"):
        raise NotFixable(f"{step.instruction.keyword} is read by containers; set the value when they start")
    return remove_variable(state, stage, step, named[1])


def remove_variable(state: FixState, stage: Stage | None, step: BuildStep, name: str) -> Proposal:
    """Remove one variable of an ARG or ENV, and mount it where it is read. Raises NotFixable."""
    one = step.instruction
    if one.onbuild:
        raise NotFixable("ONBUILD instructions are not changed")
    editor = state.editor()
    if stage is None:
        _require_unused_globally(state, name)
        _remove(editor, state, one, name)
        return proposal(editor)
    _require_one_value(state, name)
    readers = list(_readers(state, stage, step, name))
    # A variable that keeps a build argument is meant for the build, whether its steps name it or not.
    for_build = bool(references(one.text) & step.arguments) and bool(readers)
    named = for_build or any(mentions(reader, name) for reader in readers)
    if one.keyword == "ENV" and state.graph.in_image(stage) and not named:
        raise NotFixable(f"no step of the build names {name}: set it when the container starts, and remove this line")
    for reader in readers:
        mount_variable(editor, state, stage, reader, name)
    _remove(editor, state, one, name)
    options = (f"--secret id={secret_id(name)},env={name}",) if readers else ()
    left = f"containers no longer have {name}: use docker run --env-file if the program needs it"
    in_image = one.keyword == "ENV" and state.graph.in_image(stage)
    return proposal(editor, options, (left,) if in_image else ())


def secret_id(name: str) -> str:
    """Return the id of the secret for a variable: `npm-token` for NPM_TOKEN."""
    return name.lower().replace("_", "-").strip("-")


def mount_variable(editor: Editor, state: FixState, stage: Stage, step: BuildStep, name: str) -> None:
    """Give a RUN a secret as a variable. Raises NotFixable."""
    version, one, ident = syntax_version(state.graph.dockerfile), step.instruction, secret_id(name)
    if version is None or version < MOUNT_VERSION:
        raise NotFixable("the `syntax` directive names a builder without secret mounts; use docker/dockerfile:1")
    if version >= _ENV_VERSION:
        editor.add_mount(one, f"type=secret,id={ident},env={name}")
        return
    if one.words is not None or one.heredocs or not has_posix_shell(state.graph, stage, step):
        raise NotFixable(
            f"line {one.line} is not a plain command line of a POSIX shell, and the `syntax` directive names a version "
            "below 1.10, which mounts no secrets as variables; use docker/dockerfile:1"
        )
    if not editor.rewrite(one, lambda raw: _with_export(raw, state.escape, name, ident)):
        raise NotFixable(f"line {one.line} is written in a form that can't be edited safely")
    editor.add_mount(one, f"type=secret,id={ident}{access(user_of(state.graph, stage, step), '0444')}")


def _with_export(raw: str, escape: str, name: str, ident: str) -> str | None:
    start, export = body_start(raw, escape), f'export {name}="$(cat /run/secrets/{ident})" && '
    if start is None or export in raw:
        return None if start is None else raw
    return raw[:start] + export + raw[start:]


def _readers(state: FixState, stage: Stage, step: BuildStep, name: str) -> Iterator[BuildStep]:
    """Yield the RUNs that may read a variable. Raises NotFixable where another instruction reads it."""
    known = step.variables.get(name) or dict(_literal(step, state.escape)).get(name)
    needles = (f"${name}", f"${{{name}", *((known,) if known else ()))
    for later in later_steps(state.graph, stage, step):
        one = later.instruction
        named = mentions(later, name)
        if one.keyword == "RUN" and not one.onbuild:
            if named and stores(later, state.escape, needles):
                raise NotFixable(
                    f"line {one.line} may write {name} to a file that stays in the layer: mount the file instead"
                )
            if named or may_read(later, state.escape):
                yield later
        elif one.keyword in _AT_RUN_TIME:
            if named and step.instruction.keyword == "ENV":
                raise NotFixable(f"{one.keyword} in line {one.line} reads {name}: set it when the container starts")
        elif name in references(texts(later)) or (one.onbuild and named):
            raise NotFixable(f"{one.keyword} in line {one.line} uses {name}, and can't read secrets")


def _literal(step: BuildStep, escape: str) -> Iterator[tuple[str, str]]:
    for word in split_words(step.instruction.text, escape):
        name, equals, value = word.partition("=")
        if equals:
            yield unquote(name, escape), unquote(value, escape)


def _require_one_value(state: FixState, name: str) -> None:
    """Raise NotFixable where variables with the same secret id, such as TOKEN and token, have different values."""
    ident, values = secret_id(name), dict[str, set[str]]()
    for stage in state.graph.stages:
        last = stage.steps[-1].variables if stage.steps else {}
        for other, value in last.items():
            if value and secret_id(other) == ident:
                values.setdefault(other, set()).add(value)
    if len(values) > 1 and len(set[str]().union(*values.values())) > 1:
        raise NotFixable(f"{' and '.join(sorted(values))} would be one secret, and have different values: rename one")


def _require_unused_globally(state: FixState, name: str) -> None:
    for one in state.graph.dockerfile.instructions:
        if one.keyword == "FROM" and name in references(" ".join((*one.flags, one.text))):
            raise NotFixable(f"FROM in line {one.line} uses {name}, and can't read secrets")
    for stage in state.graph.stages:
        for step in stage.steps:
            one = step.instruction
            if one.keyword == "ARG" and name in [
                word.partition("=")[0] for word in split_words(one.text, state.escape)
            ]:
                raise NotFixable(f"ARG {name} in line {one.line} needs it, and could not be removed")


def _remove(editor: Editor, state: FixState, one: Instruction, name: str) -> None:
    """Remove a setting from its instruction, which goes where it has no other. Raises NotFixable."""
    words = list(split_words(one.text, state.escape))
    own = [word for word in words if unquote(word.partition("=")[0], state.escape) == name]
    if "=" not in words[0] and one.keyword == "ENV":
        own = words if unquote(words[0], state.escape) == name else []
    if any(name in references(word) for word in words if word not in own):
        raise NotFixable(f"another setting of this instruction uses {name}: give it an instruction of its own")
    if len(own) == len(words):
        editor.set_lines(one, ())
    elif len(own) != 1 or not editor.remove_word(one, own[0]):
        raise NotFixable(f"{name} can't be cut out of this instruction: give it a line of its own")
