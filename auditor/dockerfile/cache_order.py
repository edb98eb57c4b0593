"""Rule `cache-order`: the whole context is copied before an expensive step that needs few of its files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity
from auditor.dockerfile.copied_files import is_whole_context
from auditor.dockerfile.instructions import BuildStep, Stage
from auditor.dockerfile.problems import DockerfileProblem, DockerfileRule
from auditor.dockerfile.shell_commands import commands
from auditor.dockerfile.stages import StageGraph, copy_sources


@dataclass(frozen=True, slots=True)
class Install:
    """Command that fetches packages, and the files that it needs (empty: none)."""

    manager: str
    command: re.Pattern[str]
    needs: str


_PIP = r"(?:pip[\d.]*|python[\d.]* -m pip|uv pip)"
_INSTALLS = tuple(
    Install(manager, re.compile(command), needs)
    for manager, command, needs in (
        ("npm", r"^npm (?:ci|clean-install)\b|^npm (?:install|i)(?: --?\S+)*$", "package.json package-lock.json"),
        ("yarn", r"^yarn(?: install)?(?: --?\S+)*$", "package.json yarn.lock"),
        ("pnpm", r"^pnpm (?:install|i|fetch)\b", "package.json pnpm-lock.yaml"),
        ("bun", r"^bun (?:install|i)\b", "package.json bun.lock"),
        ("pip", rf"^{_PIP} .*\b(?:install|wheel)\b.* (?:-r ?\S+|--requirement)", "requirements.txt"),
        ("poetry", r"^poetry install\b", "pyproject.toml poetry.lock"),
        ("uv", r"^uv sync\b", "pyproject.toml uv.lock"),
        ("pipenv", r"^pipenv (?:install|sync)\b", "Pipfile Pipfile.lock"),
        ("pdm", r"^pdm (?:install|sync)\b", "pyproject.toml pdm.lock"),
        ("go", r"^go mod (?:download|vendor)\b", "go.mod go.sum"),
        ("bundle", r"^bundle install\b", "Gemfile Gemfile.lock"),
        ("composer", r"^composer (?:install|update)\b", "composer.json composer.lock"),
        ("maven", r"^mvnw? ", "pom.xml"),
        ("gradle", r"^gradlew? ", "build.gradle settings.gradle"),
        ("cargo", r"^cargo (?:fetch|build)\b", "Cargo.toml Cargo.lock"),
        ("dotnet", r"^dotnet restore\b", "*.csproj"),
        ("mix", r"^mix deps\.get\b", "mix.exs mix.lock"),
        ("conda", r"^(?:conda|mamba|micromamba) (?:env )?(?:create|install|update)\b", "environment.yml"),
        ("apt", r"^(?:apt|apt-get|aptitude)(?: -\S+)* install\b", ""),
        ("apk", r"^apk(?: -\S+)* add\b", ""),
        ("dnf", r"^(?:dnf|microdnf|yum)(?: -\S+)* install\b", ""),
        ("pip", rf"^{_PIP}(?: -\S+)* install(?!.* (?:\.|-e|--editable|\./|\S+\.whl)(?:\s|\[|$))", ""),
        ("npm", r"^npm (?:install|i) .*(?:-g|--global)\b", ""),
    )
)  # fmt: skip
BUILDERS = ("maven", "gradle", "cargo")
"""Managers with commands that also build, so part of their work needs all sources."""


def check_order(graph: StageGraph) -> Iterator[DockerfileProblem]:
    """Yield a problem for each COPY of the whole context before an expensive step."""
    ran: list[set[str]] = []
    for stage in graph.stages:
        ran.append(set(ran[stage.parent]) if stage.parent is not None else set())
        yield from _check_stage(graph, stage, ran[-1])


def _check_stage(graph: StageGraph, stage: Stage, ran: set[str]) -> Iterator[DockerfileProblem]:
    escape = graph.dockerfile.escape
    copied: BuildStep | None = None
    late: list[tuple[int, Install, str]] = []
    for step in stage.steps:
        one = step.instruction
        if one.onbuild:
            continue
        if (
            one.keyword in ("COPY", "ADD")
            and not one.flag("from")
            and any(map(is_whole_context, copy_sources(step, escape)))
        ):
            copied = copied or step
        elif one.keyword == "RUN":
            for install, command in installs(step, escape):
                if copied and install.manager not in ran and "type=cache" not in "".join(one.flags):
                    late.append((one.line, install, command))
                if not copied:
                    ran.add(install.manager)
    if copied and late:
        yield _problem(copied.instruction.line, late)


def installs(step: BuildStep, escape: str) -> Iterator[tuple[Install, str]]:
    """Yield the commands of a RUN that fetch packages, each with its first words."""
    for command in commands(step, escape):
        text = " ".join((command.name, *command.words[1:]))
        install = next((one for one in _INSTALLS if one.command.search(text)), None)
        if install:
            yield install, " ".join(command.words[:3])


def _problem(line: int, late: Sequence[tuple[int, Install, str]]) -> DockerfileProblem:
    steps = ", ".join(dict.fromkeys(f"line {at} ({command})" for at, _, command in late))
    needs = list(dict.fromkeys(install.needs for _, install, _ in late if install.needs))
    first = [f"copy {' '.join(needs)} and install, then copy the rest"] if needs else []
    alone = [at for at, install, _ in late if not install.needs]
    if alone:
        first.append(
            f"move line {', '.join(str(at) for at in dict.fromkeys(alone))} above the COPY: it needs no file of it"
        )
    advice = "; ".join(first)
    severity = Severity.LOW if all(install.manager in BUILDERS for _, install, _ in late) else Severity.MEDIUM
    message = f"The whole context is copied first, so any change in it makes {steps} run again without the cache"
    return DockerfileProblem(DockerfileRule.CACHE_ORDER, line, severity, message, advice[:1].upper() + advice[1:] + ".")
