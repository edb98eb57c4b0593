"""Steps that read a variable or a file, and commands that would store a secret in the layer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from auditor.dockerfile.command_effects import command_effects
from auditor.dockerfile.instructions import BuildStep, Instruction, Stage
from auditor.dockerfile.shell_commands import Command, commands
from auditor.dockerfile.stages import StageGraph

_INDIFFERENT = re.compile(
    r"(?:\[|:|addgroup|adduser|apk|apt|apt-get|awk|cat|cd|chgrp|chmod|chown|cp|dnf|echo|export|false|find|grep|"
    r"groupadd|gunzip|gzip|head|install|ln|locale-gen|ls|microdnf|mkdir|mv|printf|pwd|rm|rmdir|sed|set|sha256sum|"
    r"sleep|sort|tail|tar|test|touch|tr|true|umask|unzip|update-ca-certificates|useradd|usermod|xz|yum|zypper)"
)
"""Programs that read no credentials from variables or from files of a user."""
_STORES = re.compile(
    r"^(?:git (?:-\S+ )*(?:clone|config|remote|submodule|credential)\b|npm (?:config|set|login|adduser)\b|"
    r"(?:yarn|pnpm|pip[\d.]*|poetry|composer|bundle|conda|cargo|twine) (?:config|login)\b|"
    r"(?:docker|podman|buildah|skopeo|helm|az|oc|vault|snyk|gh|gcloud) .*\b(?:login|auth|add)\b|aws configure\b|"
    r"(?:dotnet )?nuget (?:add|sources?)\b|gem (?:sources|signin)\b|"
    r"(?:chpasswd|passwd|useradd|usermod|adduser|htpasswd|sed|cp|mv|ln|install|dd|envsubst|crudini|keytool|openssl)\b)"
)
"""Commands that write their arguments or their input to a file."""
_POSIX_SHELL = re.compile(r"\b(?:ba|da|a|k|z)?sh\b")
_PRINTS = frozenset(("echo", "printf", "cat"))


def later_steps(graph: StageGraph, stage: Stage, step: BuildStep) -> Iterator[BuildStep]:
    """Yield the steps after one of a stage, also those of the stages that are based on it."""
    line = step.instruction.line
    yield from (later for later in stage.steps if later.instruction.line > line)
    below = {stage.index}
    for other in graph.stages[stage.index + 1 :]:
        if other.parent in below:
            below.add(other.index)
            yield from other.steps


def texts(step: BuildStep) -> str:
    """Return the text of an instruction with its flags and here-documents."""
    one = step.instruction
    return "\n".join((*one.flags, one.text, *(heredoc.content for heredoc in one.heredocs)))


def mentions(step: BuildStep, name: str) -> bool:
    """Return whether an instruction contains a name as a whole word: of a variable, or of a file."""
    return bool(re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)", texts(step)))


def may_read(step: BuildStep, escape: str, *, by_download: bool = True) -> bool:
    """Return whether a RUN has a command that may read credentials: any but those known not to.

    `by_download`: curl and wget count too.
    """
    found = [command.name for command in commands(step, escape) if command.words]
    if not by_download:
        found = [name for name in found if name not in ("curl", "wget")]
        return not all(map(_INDIFFERENT.fullmatch, found))
    return not found or not all(map(_INDIFFERENT.fullmatch, found))


def stores(step: BuildStep, escape: str, needles: Sequence[str]) -> bool:
    """Return whether a command of a RUN may write one of the texts to a file that stays in the layer."""
    made, _, found = command_effects(step, escape)
    for at, command in enumerate(found):
        if any(needle in word for word in command.words for needle in needles):
            receivers = found[at : at + 2] if command.name in _PRINTS and not command.written else [command]
            if any(_writes(one, made) for one in receivers):
                return True
    return False


def _writes(command: Command, made: dict[str, str]) -> bool:
    text = " ".join((command.name, *command.words[1:]))
    tees = command.name == "tee" and any(path.endswith(word) for path in made for word in command.plain())
    return bool(_STORES.search(text)) or tees or any(path in made for path in command.written)


def user_of(graph: StageGraph, stage: Stage, step: BuildStep) -> str:
    """Return the USER of a step; empty for root, and where the base image decides."""
    setting = _setting(graph, stage, step, "USER")
    user = setting.text.partition(":")[0].strip() if setting else ""
    return "" if user in ("root", "0") else user


def has_posix_shell(graph: StageGraph, stage: Stage, step: BuildStep) -> bool:
    """Return whether the shell of a RUN knows POSIX syntax.

    Without SHELL it is /bin/sh; with the escape character of Windows, "`", it is assumed to be cmd.
    """
    setting = _setting(graph, stage, step, "SHELL")
    return bool(_POSIX_SHELL.search(setting.text)) if setting else graph.dockerfile.escape == "\\"


def _setting(graph: StageGraph, stage: Stage, step: BuildStep, keyword: str) -> Instruction | None:
    """Return the last instruction of a kind before a step, in its stage or in those that it is based on."""
    at: int | None = next((one.index for one in graph.stages if any(own is step for own in one.steps)), stage.index)
    while at is not None:
        for one in reversed(graph.stages[at].steps):
            own = one.instruction
            if own.keyword == keyword and not own.onbuild and own.line < step.instruction.line:
                return own
        at = graph.stages[at].parent
    return None


def access(user: str, mode: str) -> str:
    """Return the options of a mount with which a user other than root can read it; empty for root."""
    return f",uid={user}" if user.isdecimal() else f",mode={mode}" if user else ""
