"""Fixes of files that COPY puts into a layer: mounts in the steps that read them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence

from auditor.core.dataclass import dataclass
from auditor.dockerfile.command_effects import command_effects, covers
from auditor.dockerfile.fix.proposal import MOUNT_VERSION, FixState, Proposal, proposal, syntax_version
from auditor.dockerfile.fix.run_steps import access, later_steps, may_read, mentions, user_of
from auditor.dockerfile.fix.shell_chain import ChainPart, chain_parts, without_parts
from auditor.dockerfile.fix.source_text import Editor, NotFixable
from auditor.dockerfile.instructions import BuildStep, Stage
from auditor.dockerfile.problems import DockerfileProblem
from auditor.dockerfile.shell_words import expand, split_words, unquote
from auditor.dockerfile.stages import absolute_path, copy_sources, copy_target

_CONFIGURATION = re.compile(
    r"(?i)(?:^|/)(?:\.npmrc|\.yarnrc(?:\.yml)?|[._]netrc|pip\.conf|\.pypirc|\.git-credentials|auth\.json|settings\.xml|"
    r"gradle\.properties|nuget\.config|\.cargo/credentials(?:\.toml)?|\.gem/credentials|\.bundle/config)$"
)
"""Files of package managers and git, which programs read at fixed places during a build."""
_SSH_KEY = re.compile(r"(?:^|/)(?:id_(?:rsa|dsa|ecdsa|ed25519)\w*|[\w.-]+\.pem|[\w.-]*(?:deploy|ssh)[\w.-]*key)$")
_PERMISSIONS = ("chmod", "chown", "chgrp")
_REMOVERS = ("rm", "unlink", "shred")
_EXISTING = ("/", "/etc", "/home", "/opt", "/root", "/srv", "/tmp", "/usr", "/usr/local", "/var")  # noqa: S108
"""Folders of each base image."""
_KEEPERS = ("cp", "mv", "ln", "install", "tee", "sed", "dd")


@dataclass(frozen=True, slots=True)
class _MountedFile:
    """A file of the context, its former path in the image, and its mount.

    `named_only`: only steps that name the file read it.
    """

    source: str
    path: str
    kind: str
    named_only: bool = False

    @property
    def name(self) -> str:
        """File name."""
        return posixpath.basename(self.path)

    def mount(self, user: str) -> str:
        """Return the value of --mount. Raises NotFixable for a path that it can't express."""
        if re.search(r"[,\s\"'$\\]", self.source + self.path):
            raise NotFixable(f"a mount can't express the path {self.path}")
        match self.kind:
            case "ssh":
                return f"type=ssh{access(user, '0666')}"
            case "bind":
                return f"type=bind,source={self.source},target={self.path}"
            case _:
                return f"type=secret,id={file_id(self.source)},target={self.path}{access(user, '0444')}"


def file_id(path: str) -> str:
    """Return the id of the secret for a file of the context: `npmrc` for `.npmrc`, `web-npmrc` for `web/.npmrc`."""
    return re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-").lower()


def is_configuration(path: str) -> bool:
    """Return whether a file is the configuration of a package manager or of git."""
    return bool(_CONFIGURATION.search(path))


def fix_copied_secret(state: FixState, problem: DockerfileProblem) -> Proposal:
    """Mount a secret file in the steps that read it, in place of its COPY. Raises NotFixable."""
    stage, step = state.step_at(problem.line)
    one = step.instruction
    if stage is None or one.onbuild or one.heredocs:
        raise NotFixable("the instruction writes the file itself; mount a file of yours instead")
    source = _source_of(state, step, problem.message)
    target = _path_of(state, step, source)
    if _SSH_KEY.search(source) and ("/.ssh" in target or not is_configuration(source)):
        kind = "ssh"
    elif is_configuration(source):
        kind = "secret"
    else:
        raise NotFixable(
            f"programs may read {source} in containers: mount it when they start, and list it in .dockerignore"
        )
    return _mounted(state, stage, step, _MountedFile(source, target, kind))


def fix_copied_then_removed(state: FixState, line: int) -> Proposal:
    """Mount a file in the step that uses and removes it, in place of its COPY in a line. Raises NotFixable."""
    stage, step = state.step_at(line)
    sources = copy_sources(step, state.escape)
    one = step.instruction
    if stage is None or one.onbuild or one.heredocs or len(sources) != 1 or one.keyword != "COPY" or one.flag("from"):
        raise NotFixable(f"line {line} adds more than this file; copy less, or remove it in another stage")
    target = _path_of(state, step, sources[0])
    return _mounted(state, stage, step, _MountedFile(posixpath.normpath(sources[0].lstrip("/")), target, "bind", True))


def add_file_mounts(editor: Editor, state: FixState, stage: Stage, step: BuildStep, source: str, path: str) -> bool:
    """Mount a configuration file in the steps after one that may read it. Return whether there are any."""
    readers = _edit_readers(editor, state, stage, step, _MountedFile(source, path, "secret"))
    if readers:
        _require_mounts(state)
    return bool(readers)


def _mounted(state: FixState, stage: Stage, step: BuildStep, file: _MountedFile) -> Proposal:
    _require_mounts(state)
    if any(use.copied and use.stage == stage.index and use.path.rstrip("/") == file.path for use in state.graph.uses):
        raise NotFixable(f"a later COPY --from copies {file.path}")
    if file.kind == "ssh":
        for own in stage.steps:
            if own.instruction.keyword == "ENV" and mentions(own, file.name):
                raise NotFixable(f"ENV in line {own.instruction.line} names {file.name}")
    editor = state.editor()
    readers = _edit_readers(editor, state, stage, step, file)
    if not readers and not _is_removed(state, stage, step, file):
        raise NotFixable(f"no step of the build reads {file.path}; if containers need it, mount it when they start")
    _remove_source(editor, state, stage, step, file)
    options = {"ssh": "--ssh default", "bind": ""}.get(
        file.kind, f"--secret id={file_id(file.source)},src={file.source}"
    )
    notes = (f"load {file.source} into your SSH agent, or name it: --ssh default=PATH",) if file.kind == "ssh" else ()
    return proposal(editor, (options,) if options and readers else (), notes if readers else ())


def _is_removed(state: FixState, stage: Stage, step: BuildStep, file: _MountedFile) -> bool:
    """Return whether a later step removes the file, so that containers can't read it."""
    later = (one for one in later_steps(state.graph, stage, step) if one.instruction.keyword == "RUN")
    return any(covers(path, file.path) for one in later for path in command_effects(one, state.escape)[1])


def _require_mounts(state: FixState) -> None:
    if (syntax_version(state.graph.dockerfile) or (0, 0)) < MOUNT_VERSION:
        raise NotFixable("the `syntax` directive names a builder without mounts; use docker/dockerfile:1")


def _source_of(state: FixState, step: BuildStep, message: str) -> str:
    for source in copy_sources(step, state.escape):
        path = posixpath.normpath(source).lstrip("/")
        if f"copies {source} into" in message or f"copies {path} (" in message:
            return path
    raise NotFixable("the file is copied with its folder or by a pattern: list it in .dockerignore")


def _path_of(state: FixState, step: BuildStep, source: str) -> str:
    target, name = copy_target(step, state.escape), posixpath.basename(source)
    if target.endswith("/"):
        return absolute_path(name, target)
    if target == step.folder:
        return posixpath.join(target, name)
    if "." not in posixpath.basename(target) and posixpath.basename(target) != name:
        raise NotFixable(f"it is not certain whether {target} is a folder: let it end with a slash")
    return target


def _edit_readers(
    editor: Editor, state: FixState, stage: Stage, step: BuildStep, file: _MountedFile
) -> Sequence[BuildStep]:
    """Add the mount to the steps that may read a file, and remove the commands that need the copied one."""
    readers = []
    for later in later_steps(state.graph, stage, step):
        one = later.instruction
        named = mentions(later, file.name)
        if one.keyword not in ("RUN", "COPY", "ADD") and named:
            raise NotFixable(f"{one.keyword} in line {one.line} names {file.name}: mount it when the container starts")
        if one.keyword != "RUN" or one.onbuild:
            continue
        _, removed, _ = command_effects(later, state.escape)
        removes = any(covers(path, file.path) for path in removed)
        gone = (named or removes) and _remove_commands(editor, state, later, file)
        if not gone and (
            named or (not file.named_only and may_read(later, state.escape, by_download="netrc" in file.name))
        ):
            editor.add_mount(one, file.mount(user_of(state.graph, stage, later)))
            readers.append(later)
    return readers


def _remove_commands(editor: Editor, state: FixState, step: BuildStep, file: _MountedFile) -> bool:
    """Remove the commands that change or remove the copied file. Return whether nothing is left of the step."""
    one, raw = step.instruction, "\n".join(editor.lines(step.instruction))
    parts = None if one.words is not None or one.heredocs else chain_parts(raw, state.escape)
    if parts is None:
        if file.kind == "ssh" or _handles(step, state.escape, file):
            raise NotFixable(f"line {one.line} handles {file.name}, and is not a plain list of commands joined by &&")
        return False
    obsolete = [part for part in parts if _is_obsolete(part, step, state.escape, file, one.line)]
    if len(obsolete) == len(parts):
        editor.set_lines(one, ())
        return True
    if file.kind == "ssh" and any(file.name in part.text for part in parts if part not in obsolete):
        raise NotFixable(f"line {one.line} needs the file {file.name} itself")
    if obsolete:
        editor.set_lines(one, without_parts(raw, parts, obsolete).split("\n"))
    return False


def _handles(step: BuildStep, escape: str, file: _MountedFile) -> bool:
    _, removed, found = command_effects(step, escape)
    return any(covers(path, file.path) for path in removed) or any(
        command.name in (*_KEEPERS, *_PERMISSIONS) and _names(command.words, file) for command in found
    )


def _is_obsolete(part: ChainPart, step: BuildStep, escape: str, file: _MountedFile, line: int) -> bool:
    """Return whether a part of a chain only changes or removes the file. Raises NotFixable where it does more."""
    for command in part.commands(step, escape):
        name, paths = command.name, command.plain()
        named = [path for path in paths if _names([path], file)]
        covered = [path for path in paths if covers(absolute_path(path, step.folder), file.path)]
        if name in _REMOVERS and (named or covered):
            if not named and file.kind == "ssh" and any(re.fullmatch(r"-\w*f\w*", word) for word in command.words):
                continue  # the folder of the key, which may be missing then
            if len(named) == len(paths):
                return True
            raise NotFixable(f"line {line} removes more than {file.name} with one command: split the command")
        if name in _PERMISSIONS and named:
            if len(named) == len(paths[1:]):
                return True
            raise NotFixable(f"line {line} changes more than {file.name} with one command: split the command")
        if named and name in _KEEPERS:
            raise NotFixable(f"line {line} needs the file {file.name} itself ({name})")
    return False


def _names(words: Iterable[str], file: _MountedFile) -> bool:
    return any(re.search(rf"(?:^|[/=]){re.escape(file.name)}$", word) for word in words)


def _remove_source(editor: Editor, state: FixState, stage: Stage, step: BuildStep, file: _MountedFile) -> None:
    """Remove a file from its COPY. Where later steps write into its folder, the folder is still created."""
    one = step.instruction
    sources = copy_sources(step, state.escape)
    if len(sources) > 1:
        raw = [
            word
            for word in split_words(one.text, state.escape)
            if posixpath.normpath(expand(unquote(word, state.escape), step.variables)).lstrip("/") == file.source
        ]
        if one.words is not None or len(raw) != 1 or not editor.remove_word(one, raw[0]):
            raise NotFixable(f"{file.source} can't be cut out of this instruction: give it a COPY of its own")
        return
    folder = posixpath.dirname(file.path)
    following = list(later_steps(state.graph, stage, step))
    names = (folder, folder.replace("/root/", "~/", 1), folder.replace("/root/", "$HOME/", 1))
    # Commands that remove the file or its folder do not need the folder.
    own = re.compile(rf"{re.escape(file.path)}|\brm -\w*f\w* {re.escape(folder)}(?=\s|$)")
    texts = [own.sub("", one.instruction.text) for one in following if one.instruction.keyword == "RUN"]
    used = folder not in (step.folder, *_EXISTING) and any(name in text for text in texts for name in names)
    user = user_of(state.graph, stage, step)
    if used and not any(re.search(r"\bmkdir\b", later.instruction.text) for later in following):
        if user or one.flag("chown"):
            raise NotFixable(
                f"later steps write into {folder}, which this instruction creates: create it with RUN mkdir"
            )
        mode = " -m 0700" if folder.endswith("/.ssh") else ""
        editor.set_lines(one, [f"RUN mkdir -p{mode} {folder}"])
    else:
        editor.set_lines(one, ())
