"""Caches of package managers and build tools that one step fills and a later one clears."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity
from auditor.dockerfile.command_effects import covers
from auditor.dockerfile.instructions import BuildStep
from auditor.dockerfile.problems import DockerfileProblem, DockerfileRule
from auditor.dockerfile.shell_commands import Command
from auditor.dockerfile.stages import absolute_path, mounts


@dataclass(frozen=True, slots=True)
class _Tool:
    """Program with commands that fill (pattern `fills`) or clear (`clears`) its cache in `paths`."""

    cache: str
    fills: re.Pattern[str]
    clears: re.Pattern[str]
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leftover:
    """Cache of a tool, or installed package, that a step leaves in its layer."""

    line: int
    tool: _Tool | None = None
    manager: str = ""
    package: str = ""


_NOTHING = r"(?!)"
_TOOLS = tuple(
    _Tool(cache, re.compile(fills), re.compile(clears), paths)
    for cache, fills, clears, paths in (
        ("package lists of apt", r"^(?:apt|apt-get|aptitude) .*\bupdate\b", _NOTHING, ("/var/lib/apt/lists",)),
        ("package files of apt", r"^(?:apt|apt-get|aptitude) .*\binstall\b", r"^apt(?:-get)? .*\b(?:auto)?clean\b",
         ("/var/cache/apt/archives",)),
        ("index of apk", r"^apk (?!.*--no-cache).*\b(?:add|update)\b", r"^apk cache clean",
         ("/var/cache/apk", "/etc/apk/cache")),
        ("cache of dnf", r"^(?:dnf|microdnf|yum) .*\b(?:install|update|upgrade)\b",
         r"^(?:dnf|microdnf|yum) .*\bclean\b", ("/var/cache/dnf", "/var/cache/yum")),
        ("cache of zypper", r"^zypper .*\b(?:in|install|ref|refresh)\b", r"^zypper .*\b(?:clean|cc)\b",
         ("/var/cache/zypp",)),
        ("cache of pip", r"^(?:pip[\d.]*|python[\d.]* -m pip) (?!.*--no-cache-dir).*\binstall\b",
         r"^pip[\d.]* cache purge", ("/root/.cache/pip",)),
        ("cache of npm", r"^npm .*\b(?:ci|install|i)\b", r"^npm cache clean", ("/root/.npm",)),
        ("cache of yarn", r"^yarn(?: (?:install|--\S+)|$)", r"^yarn cache clean",
         ("/usr/local/share/.cache/yarn", "/root/.yarn")),
        ("store of pnpm", r"^pnpm .*\b(?:install|i|fetch)\b", r"^pnpm store prune", ("/root/.local/share/pnpm",)),
        ("cache of Go", r"^go (?:mod download|build|install|get|test)\b", r"^go clean\b",
         ("/go/pkg/mod", "/root/.cache/go-build")),
        ("registry of cargo", r"^cargo .*\b(?:build|fetch|install)\b", _NOTHING,
         ("/usr/local/cargo/registry", "/root/.cargo/registry")),
        ("repository of Maven", r"^(?:mvn|mvnw) ", r"^mvnw? dependency:purge", ("/root/.m2",)),
        ("cache of Gradle", r"^(?:gradle|gradlew) ", _NOTHING, ("/root/.gradle",)),
        ("cache of Composer", r"^composer .*\b(?:install|require|update)\b", r"^composer .*\bclear-?cache\b",
         ("/root/.composer/cache",)),
        ("packages of conda", r"^(?:conda|mamba|micromamba) .*\b(?:install|create|update)\b",
         r"^(?:conda|mamba|micromamba) .*\bclean\b", ("/opt/conda/pkgs",)),
    )
)  # fmt: skip
_MANAGER = r"^(?P<manager>apt|apt-get|aptitude|apk|dnf|microdnf|yum|zypper|pip3?)(?: -\S+)* "
_INSTALLS = re.compile(_MANAGER + r"(?:install|add|in)\b")
_REMOVES = re.compile(_MANAGER + r"(?:purge|remove|autoremove|del|erase|rm|uninstall)\b")
_SAME = {"apt": "apt-get", "aptitude": "apt-get", "microdnf": "dnf", "yum": "dnf", "pip3": "pip"}
_ADVICE = "Clear it in the RUN that fills it, or keep it out of the layer with RUN --mount=type=cache,target={path}."
_TOOLCHAIN = "Install, use and remove it in one RUN, or build in another stage and COPY --from its result."


def find_leftovers(step: BuildStep, found: Sequence[Command], removed: Mapping[str, str]) -> Iterator[Leftover]:
    """Yield the leftovers of a step, except caches in a mount and caches that the step clears itself."""
    line = step.instruction.line
    texts = [_text(command) for command in found]
    hidden = [
        absolute_path(target, step.folder)
        for m in mounts(step.instruction)
        if (target := m.get("target") or m.get("dst"))
    ]
    for tool in _TOOLS:
        filled = any(tool.fills.search(text) for text in texts)
        mounted = any(covers(mount, path) or covers(path, mount) for mount in hidden for path in tool.paths)
        if filled and not mounted and not _clears(tool, texts, removed):
            yield Leftover(line, tool)
    deleted = {(manager, package) for command in found for manager, package in _packages(command, _REMOVES)}
    for command in found:
        for manager, package in _packages(command, _INSTALLS):
            if (manager, package) not in deleted:
                yield Leftover(line, None, manager, package)


def cleared_later(
    step: BuildStep, found: Sequence[Command], removed: Mapping[str, str], leftovers: Sequence[Leftover]
) -> Iterator[DockerfileProblem]:
    """Yield a problem for each leftover of earlier steps that this step clears and does not fill again."""
    line = step.instruction.line
    texts = [_text(command) for command in found]
    for item in {item.tool.cache: item for item in leftovers if item.tool}.values():
        tool = item.tool
        if tool and _clears(tool, texts, removed) and not any(tool.fills.search(text) for text in texts):
            fact = f"This clears the {tool.cache} that line {item.line} filled: it stays in that layer"
            advice = _ADVICE.format(path=tool.paths[0])
            yield DockerfileProblem(
                DockerfileRule.LARGE_THEN_DELETED, line, Severity.MEDIUM, fact, advice, adding_line=item.line
            )
    deleted = {pair for command in found for pair in _packages(command, _REMOVES)}
    again = {pair for command in found for pair in _packages(command, _INSTALLS)}
    hits = [item for item in leftovers if not item.tool and (item.manager, item.package) in deleted - again]
    if hits:
        names = ", ".join(dict.fromkeys(item.package for item in hits))
        fact = f"This removes {names}, which line {hits[0].line} installed: it stays in that layer"
        yield DockerfileProblem(
            DockerfileRule.LARGE_THEN_DELETED, line, Severity.MEDIUM, fact, _TOOLCHAIN, adding_line=hits[0].line
        )


def _text(command: Command) -> str:
    return " ".join((command.name, *command.words[1:]))


def _clears(tool: _Tool, texts: Sequence[str], removed: Mapping[str, str]) -> bool:
    removed_by_path = any(covers(path, own) or covers(own, path) for path in removed for own in tool.paths)
    return removed_by_path or any(tool.clears.search(text) for text in texts)


def _packages(command: Command, kind: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    match = kind.match(_text(command))
    if not match:
        return
    manager = _SAME.get(match["manager"], match["manager"])
    virtual = command.option("--virtual", "-t") if manager == "apk" else None
    for word in (virtual,) if virtual else command.plain()[1:]:
        yield manager, re.split(r"[=<>~!:\[]", word)[0]
