"""Fixes of a context that is copied before packages are installed: the manifest files are copied first."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Sequence

from auditor.dockerfile.cache_order import BUILDERS, Install, installs
from auditor.dockerfile.copied_files import is_whole_context
from auditor.dockerfile.fix.proposal import FixState, Proposal, proposal
from auditor.dockerfile.fix.source_text import NotFixable
from auditor.dockerfile.instructions import BuildStep, Stage
from auditor.dockerfile.problems import DockerfileProblem
from auditor.dockerfile.shell_commands import Command, commands
from auditor.dockerfile.stages import copy_sources, copy_target

_MORE_FILES = {
    "npm": ("npm-shrinkwrap.json", ".npmrc"),
    "yarn": (".yarnrc", ".npmrc"),
    "pnpm": (".npmrc", "pnpm-workspace.yaml"),
    "bun": ("bun.lockb", "bunfig.toml"),
    "bundle": (".ruby-version",),
}
"""Files that a manager reads if they exist, beside those of the rule."""
_CACHES = {
    "maven": "/root/.m2/repository",
    "gradle": "/root/.gradle/caches",
    "cargo": "/usr/local/cargo/registry",
}
"""Folders of downloaded packages, beside which a user's configuration stays."""
_INSTALLED = ("node_modules", "vendor", ".venv", "venv", ".yarn", "target", "deps")
"""Folders of installed packages: copied after the installation, they would overwrite it."""
_OFFLINE = re.compile(r"(?:^|\s)(?:-o|--offline|--frozen)(?=\s|$)")
_SCRIPTS = ("preinstall", "install", "postinstall", "prepare", "prepublish", "preprepare", "postprepare")
_LOCAL = re.compile(r"[\"'](?:file|link|portal|workspace):")
_REQUIREMENTS_REFERENCE = re.compile(
    r"(?m)^\s*(?:-r|-c|-e|--requirement|--constraint|--editable|\.|file:|[^#\n]*@\s*file:)"
)
_GO_LOCAL = re.compile(r"(?m)=>\s*\.{0,2}/")
_RUBY_LOCAL = re.compile(r"(?m)\bpath[:\s]|^\s*gemspec\b|\beval_gemfile\b|\bFile\.|\bruby\s+file:")
_REQUIREMENTS_FILE = re.compile(r"^(?:-r|--requirement)(?:=)?(.*)$")
_ONLY_DEPENDENCIES = {"poetry": "--no-root", "uv": "--no-install-project"}


def fix_order(state: FixState, problem: DockerfileProblem) -> Proposal:
    """Copy the manifest files and install, then copy the rest. Raises NotFixable where the installation reads more."""
    stage, copy = state.step_at(problem.line)
    if stage is None or copy.instruction.onbuild:
        raise NotFixable("ONBUILD instructions are not changed")
    late = list(_late_steps(state, stage, copy))
    if all(install.manager in BUILDERS for step in late for install, _ in installs(step, state.escape)):
        return _with_cache_mounts(state, stage, late)
    following = [step for step in stage.steps if step.instruction.line > copy.instruction.line][: len(late)]
    if following != late:
        raise NotFixable(f"other instructions stand between line {copy.instruction.line} and the installation")
    if any(entry.path.partition("/")[0] in _INSTALLED for entry in state.context.entries):
        raise NotFixable("the context holds installed packages, such as node_modules: list them in .dockerignore")
    needed = dict.fromkeys(path for step in late for path in _needs_of(state, copy, step))
    editor, origin = state.editor(), copy.instruction.line
    for folder in dict.fromkeys(posixpath.dirname(path) for path in needed):
        files = [path for path in needed if posixpath.dirname(path) == folder]
        editor.insert_before(copy.instruction, [_copy_line(copy, state.escape, files, folder)], origin)
    for step in late:
        one = step.instruction
        editor.insert_before(copy.instruction, state.source.of_instruction(one), one.line)
        editor.set_lines(one, ())
    return proposal(editor)


def _late_steps(state: FixState, stage: Stage, copy: BuildStep) -> Iterator[BuildStep]:
    """Yield the steps that install packages after the COPY without a cache mount."""
    for step in stage.steps:
        one = step.instruction
        late = one.keyword == "RUN" and not one.onbuild and one.line > copy.instruction.line
        if late and "type=cache" not in "".join(one.flags) and any(True for _ in installs(step, state.escape)):
            yield step


def _needs_of(state: FixState, copy: BuildStep, step: BuildStep) -> list[str]:
    """Return the files that a step needs. Raises NotFixable if it may need others."""
    target = copy_target(copy, state.escape).rstrip("/") or "/"
    needs: list[str] = []
    wanted = {install.manager: install for install, _ in installs(step, state.escape)}
    for command in commands(step, state.escape):
        own = next((one for one in wanted.values() if one.command.search(_text(command))), None)
        if own is None and command.name not in ("rm", "apt", "apt-get", "apk", "dnf", "yum", "microdnf", "npm", "yarn"):
            raise NotFixable(f"line {step.instruction.line} does more than install packages ({command.name})")
        if own is None and command.name in ("npm", "yarn") and command.plain()[:1] not in (["cache"], ["config"]):
            raise NotFixable(f"line {step.instruction.line} does more than install packages ({command.name})")
        if own is None or not own.needs:
            continue
        if command.folder != target:
            raise NotFixable(f"line {step.instruction.line} runs in {command.folder}, not in {target}")
        needs += _files_of(state, own, command)
    return needs


def _files_of(state: FixState, install: Install, command: Command) -> list[str]:
    only = _ONLY_DEPENDENCIES.get(install.manager)
    if install.manager in BUILDERS or install.manager in ("dotnet", "mix", "conda", "composer", "pdm"):
        raise NotFixable(f"{install.manager} may read more files than its manifest")
    if only and only not in command.words:
        raise NotFixable(f"{install.manager} installs the project itself, unless it is called with {only}")
    manifests = list(_requirements(command)) if install.manager == "pip" else install.needs.split()
    known = {entry.path for entry in state.context.entries if entry.size is not None}
    if not manifests or manifests[0] not in known:
        raise NotFixable(f"{manifests[0] if manifests else install.needs} is not in the build context")
    for path in manifests:
        _require_complete(state, install, path)
    return [path for path in (*manifests, *_MORE_FILES.get(install.manager, ())) if path in known]


def _requirements(command: Command) -> Iterator[str]:
    for at, word in enumerate(command.words):
        found = _REQUIREMENTS_FILE.match(word)
        if found:
            path = found[1] or next(iter(command.words[at + 1 :]), "")
            yield posixpath.normpath(path)
        elif word.startswith("-c") or word in ("--constraint", "-e", "--editable", ".") or "./" in word:
            raise NotFixable("pip reads more files than the requirements")


def _require_complete(state: FixState, install: Install, path: str) -> None:
    """Raise NotFixable where a manifest names other files of the context, or scripts that need them."""
    content = (state.context.read(path) or b"").decode("utf-8", "replace")
    name = posixpath.basename(path)
    if name == "package.json":
        _require_plain_package(content)
    reads_more = {
        "pip": _REQUIREMENTS_REFERENCE,
        "go": _GO_LOCAL,
        "bundle": _RUBY_LOCAL,
        "pipenv": re.compile(r"\bpath\s*=|\bfile\s*="),
        "poetry": re.compile(r"\bpath\s*="),
        "uv": re.compile(r"\bpath\s*=|\bworkspace\b"),
    }.get(install.manager)
    if reads_more and name not in ("poetry.lock", "uv.lock", "go.sum", "Gemfile.lock") and reads_more.search(content):
        raise NotFixable(f"{path} refers to other files of the context")


def _require_plain_package(content: str) -> None:
    try:
        package = json.loads(content)
    except (ValueError, RecursionError):
        package = None
    if not isinstance(package, dict):
        raise NotFixable("package.json can't be read")
    scripts = package.get("scripts")
    run = [name for name in _SCRIPTS if isinstance(scripts, dict) and name in scripts]
    if run:
        raise NotFixable(f"package.json has the script {run[0]}, which the installation runs on the sources")
    if "workspaces" in package or _LOCAL.search(content):
        raise NotFixable("package.json refers to other packages of the context")


def _copy_line(copy: BuildStep, escape: str, files: Sequence[str], folder: str) -> str:
    """Return a COPY of some files with the flags and the target of another COPY."""
    one = copy.instruction
    if one.keyword != "COPY" or one.words is not None or len(copy_sources(copy, escape)) != 1:
        raise NotFixable(f"line {one.line} copies more than the context")
    if not all(flag.startswith(("--chown=", "--chmod=", "--link")) for flag in one.flags):
        raise NotFixable(f"line {one.line} has options that apply to the context alone")
    if any(re.search(r"[\s\"'$\\*?\[\]]", path) for path in files) or not is_whole_context(
        copy_sources(copy, escape)[0]
    ):
        raise NotFixable("a manifest has a name that COPY can't express")
    written = one.text.split()[-1]
    target = posixpath.join(written, folder, "") if folder else written.rstrip("/") + "/"
    return " ".join(("COPY", *one.flags, *files, target))


def _with_cache_mounts(state: FixState, stage: Stage, late: Sequence[BuildStep]) -> Proposal:
    """Keep the packages of builds in a cache: their steps need all sources, so they can't be split."""
    if state.graph.in_image(stage):
        raise NotFixable("the step builds the sources too; build in a stage of its own, and COPY --from its result")
    editor = state.editor()
    for step in late:
        for install, _ in installs(step, state.escape):
            path = _CACHES[install.manager]
            _require_unused(state, stage, step, path)
            editor.add_mount(step.instruction, f"type=cache,target={path}")
    return proposal(editor)


def _require_unused(state: FixState, stage: Stage, late: BuildStep, path: str) -> None:
    """Raise NotFixable where a cache mount at a path would hide files that the step, or a later stage, needs."""
    if any(use.stage == stage.index and use.path.startswith(path) for use in state.graph.uses):
        raise NotFixable(f"a later stage copies {path}, which a cache mount would keep out of this stage")
    if _OFFLINE.search(late.instruction.text):
        raise NotFixable(f"line {late.instruction.line} works offline, and a cache mount would hide its packages")
    for step in stage.steps:
        one = step.instruction
        if one.line < late.instruction.line and one.keyword in ("COPY", "ADD", "RUN") and path in one.text:
            raise NotFixable(f"line {one.line} writes to {path}, which a cache mount would hide")


def _text(command: Command) -> str:
    return " ".join((command.name, *command.words[1:]))
