"""Stages of a Dockerfile: their dependencies, the final image, and the environment of each step."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType

from auditor.core.dataclass import dataclass
from auditor.dockerfile.instructions import BuildStep, Dockerfile, Instruction, Stage
from auditor.dockerfile.shell_words import expand, parse_arguments, parse_assignments, split_words, unquote

_MAX_COPIES = 100
_AS = re.compile(r"(?i)\s+as\s+(\S+)\s*$")


@dataclass(frozen=True, slots=True)
class StageUse:
    """Use of a stage by a step of another one: COPY --from or RUN --mount=from= of `path`."""

    stage: int
    by: Stage
    step: BuildStep
    path: str
    copied: bool


@dataclass(frozen=True, slots=True)
class StageGraph:
    """Stages of a Dockerfile. The last is the image; `chain` has the indexes of it and of the stages it is based on."""

    dockerfile: Dockerfile
    stages: tuple[Stage, ...]
    chain: frozenset[int]
    uses: tuple[StageUse, ...]

    def in_image(self, stage: Stage) -> bool:
        """Return whether the layers of a stage are in the final image."""
        return stage.index in self.chain

    def steps(self) -> Iterator[tuple[Stage, BuildStep]]:
        """Yield each step with its stage, in the order of the file."""
        for stage in self.stages:
            for step in stage.steps:
                yield stage, step

    def copy_into_image(self, stage: Stage, path: str) -> StageUse | None:
        """Return the COPY --from with which a path of a discarded stage gets into the image, directly or not."""
        pending: list[tuple[int, str, StageUse | None]] = [(stage.index, path, None)]
        seen = set[tuple[int, str]]()
        while pending and len(seen) < _MAX_COPIES:
            index, path, first = pending.pop()
            for use in self.uses if (index, path) not in seen else ():
                if use.stage == index and use.copied and _covers(use.path, path):
                    if self.in_image(use.by):
                        return first or use
                    target = copy_target(use.step, self.dockerfile.escape)
                    pending.append((use.by.index, copied_path(path, use.path, target), first or use))
            seen.add((index, path))
        return None


def build_stage_graph(dockerfile: Dockerfile) -> StageGraph:
    """Split a Dockerfile into stages."""
    stages: list[Stage] = []
    given: dict[str, str | None] = {}
    starts = [at for at, one in enumerate(dockerfile.instructions) if one.keyword == "FROM" and not one.onbuild]
    for one in dockerfile.instructions[: starts[0]]:
        given |= _defaults(one, given, dockerfile.escape)
    for start, end in zip(starts, [*starts[1:], len(dockerfile.instructions)], strict=True):
        stages.append(_stage(dockerfile, stages, dockerfile.instructions[start:end], given))
    return StageGraph(dockerfile, tuple(stages), frozenset(_chain(stages)), tuple(_uses(stages, dockerfile.escape)))


def _stage(
    dockerfile: Dockerfile, stages: Sequence[Stage], lines: Sequence[Instruction], given: Mapping[str, str | None]
) -> Stage:
    first, escape = lines[0], dockerfile.escape
    named = _AS.search(first.text)
    base = expand(unquote(first.text[: named.start()] if named else first.text, escape), given)
    parent = next((s.index for s in reversed(stages) if s.name and s.name == base.lower()), None)
    scope = _StageScope(escape, given, *_inherited(stages, parent))
    steps = tuple(scope.step(one) for one in lines[1:])
    name = named[1].lower() if named else ""
    return Stage(len(stages), name, base, parent, BuildStep(first, given, frozenset(given)), steps)


def _inherited(stages: Sequence[Stage], parent: int | None) -> tuple[dict[str, str | None], str]:
    """Return the final environment and working directory of a stage, without its build arguments."""
    while parent is not None and not stages[parent].steps:
        parent = stages[parent].parent
    if parent is None:
        return {}, "/"
    stage = stages[parent]
    scope = _StageScope("\\", {}, dict(stage.steps[-1].variables), stage.steps[-1].folder)
    scope.arguments = set(stage.steps[-1].arguments)
    scope.step(stage.steps[-1].instruction)
    return {name: value for name, value in scope.variables.items() if name not in scope.arguments}, scope.folder


@dataclass(slots=True)
class _StageScope:
    """Environment of a stage while its instructions are read from top to bottom."""

    escape: str
    global_arguments: Mapping[str, str | None]
    variables: dict[str, str | None]
    folder: str
    arguments: set[str] = field(default_factory=set)
    _shared: BuildStep | None = None

    def step(self, one: Instruction) -> BuildStep:
        if self._shared is None:
            self._shared = BuildStep(
                one, MappingProxyType(dict(self.variables)), frozenset(self.arguments), self.folder
            )
        seen = self._shared
        if not one.onbuild and one.keyword in ("ARG", "ENV", "WORKDIR"):
            self._apply(one)
            self._shared = None
        return BuildStep(one, seen.variables, seen.arguments, seen.folder)

    def _apply(self, one: Instruction) -> None:
        match one.keyword:
            case "ARG":
                own = _defaults(one, self.variables, self.escape)
                self.arguments |= own.keys() - self.variables.keys()
                # ENV overrides ARG of the same name.
                self.variables |= {
                    name: self.global_arguments.get(name) if value is None else value
                    for name, value in own.items()
                    if name in self.arguments
                }
            case "ENV":
                pairs = parse_assignments(one.text, self.escape)
                self.variables |= {name: expand(value, self.variables) for name, value in pairs}
                self.arguments -= {name for name, _ in pairs}
            case _:
                text = expand(unquote(one.text, self.escape), self.variables)
                self.folder = absolute_path(text, self.folder)


def _defaults(one: Instruction, known: Mapping[str, str | None], escape: str) -> dict[str, str | None]:
    pairs = parse_arguments(one.text, escape)
    return {name: None if value is None else expand(value, known) for name, value in pairs}


def _chain(stages: Sequence[Stage]) -> Iterator[int]:
    at: int | None = len(stages) - 1
    while at is not None:
        yield at
        at = stages[at].parent


def _uses(stages: Sequence[Stage], escape: str) -> Iterator[StageUse]:
    for stage in stages:
        for step in stage.steps:
            one = step.instruction
            for source in one.flag("from"):
                used = _find(stages[: stage.index], source)
                for path in copy_sources(step, escape) if used is not None else ():
                    yield StageUse(used.index, stage, step, "/" + path.lstrip("/"), copied=True)  # type: ignore[union-attr]
            for mount in mounts(one):
                used = _find(stages[: stage.index], mount.get("from", ""))
                if used is not None:
                    path = mount.get("source", mount.get("src", "/"))
                    yield StageUse(used.index, stage, step, "/" + path.lstrip("/"), copied=False)


def _find(stages: Sequence[Stage], name: str) -> Stage | None:
    named = next((stage for stage in reversed(stages) if stage.name and stage.name == name.lower()), None)
    if named is None and name.isdigit() and int(name) < len(stages):
        return stages[int(name)]
    return named


def mounts(one: Instruction) -> list[dict[str, str]]:
    """Return the settings of each --mount of a RUN."""
    pairs = ([part.partition("=") for part in value.split(",")] for value in one.flag("mount"))
    return [{key.strip().lower(): value for key, _, value in parts} for parts in pairs]


def copy_words(step: BuildStep, escape: str = "\\") -> list[str]:
    """Return the words of COPY or ADD with their variables expanded: sources, then the target."""
    one = step.instruction
    if one.words is not None:
        return [expand(word, step.variables) for word in one.words]
    return [expand(unquote(word, escape), step.variables) for word in split_words(one.text, escape)]


def copy_sources(step: BuildStep, escape: str = "\\") -> list[str]:
    """Return the sources of COPY or ADD, without here-documents."""
    return [word for word in copy_words(step, escape)[:-1] if not word.lstrip("0123456789").startswith("<<")]


def copy_target(step: BuildStep, escape: str = "\\") -> str:
    """Return the target of COPY or ADD as an absolute path, with a final slash if it is certainly a folder."""
    words = copy_words(step, escape)
    target = words[-1] if words else "."
    folder = target.endswith(("/", "/.")) or target in (".", "..") or len(words) > 2
    path = absolute_path(target, step.folder)
    return path + "/" if folder and path != "/" else path


def absolute_path(path: str, folder: str) -> str:
    """Return the absolute, normalized path of a path in a working directory."""
    return "/" + posixpath.normpath(posixpath.join("/", folder, path)).lstrip("/")


def copied_path(path: str, source: str, target: str) -> str:
    """Return the new path of a file when `source`, the file or a folder above it, is copied to `target`."""
    rest = path.removeprefix(source.rstrip("/")).lstrip("/")
    if not rest:  # `source` is the file
        return target + posixpath.basename(path) if target.endswith("/") else target
    return posixpath.join(target, rest)


def _covers(source: str, path: str) -> bool:
    source = posixpath.normpath(source)
    return source in ("/", path) or path.startswith(source + "/")
