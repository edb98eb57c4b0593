"""Rules for files that one instruction adds and a later one removes: they stay in the layer of the first."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from itertools import islice

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity
from auditor.core.text import size as bytes_of
from auditor.dockerfile.build_context import BuildContext
from auditor.dockerfile.command_effects import command_effects, covers
from auditor.dockerfile.copied_files import is_whole_context
from auditor.dockerfile.instructions import BuildStep
from auditor.dockerfile.package_caches import Leftover, cleared_later, find_leftovers
from auditor.dockerfile.problems import DockerfileProblem, DockerfileRule
from auditor.dockerfile.secret_names import classify_file_name
from auditor.dockerfile.stages import StageGraph, absolute_path, copy_sources, copy_target

_LARGE = re.compile(
    r"(?i)\.(?:tar(?:\.\w+)?|t[gbx]z|zip|7z|rar|deb|rpm|apk|whl|iso|img|gz|xz|bz2|zst|run|bin|jar|sql|dump)$"
)
_LARGE_BYTES = 1 << 20
_MAX_TRACKED = 5000
_PAST = {"written": "wrote"}
_HEAVY = ("cloned", "filled", "installed", "unpacked")


@dataclass(frozen=True, slots=True)
class _Added:
    """File or folder that an instruction added. `source` is the path of a copied folder in the context."""

    path: str
    line: int
    how: str
    secret: bool = False
    size: int = 0
    source: str | None = None


@dataclass(slots=True)
class _StageState:
    added: list[_Added] = field(default_factory=list)
    leftovers: list[Leftover] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RemovalRules:
    """Compares additions and removals of each stage, top to bottom. `leaking` are the lines with a secret."""

    graph: StageGraph
    context: BuildContext
    leaking: frozenset[int]

    def check(self) -> Iterator[DockerfileProblem]:
        """Yield the problems of every stage."""
        states: list[_StageState] = []
        for stage in self.graph.stages:
            below = states[stage.parent] if stage.parent is not None else _StageState()
            states.append(_StageState(list(below.added), list(below.leftovers)))
            for step in stage.steps:
                yield from self._step(step, states[-1])

    def _step(self, step: BuildStep, state: _StageState) -> Iterator[DockerfileProblem]:
        one = step.instruction
        if one.onbuild or len(state.added) > _MAX_TRACKED:
            return
        if one.keyword in ("COPY", "ADD"):
            state.added += self._copied(step)
        elif one.keyword == "RUN":
            added, removed, found = command_effects(step, self.graph.dockerfile.escape)
            yield from self._removed(one.line, removed, state)
            yield from cleared_later(step, found, removed, state.leftovers)
            leaks = one.line in self.leaking
            state.added += [
                _Added(path, one.line, how, (leaks and how == "written") or _secret(path))
                for path, how in added.items()
            ]
            state.leftovers += islice(find_leftovers(step, found, removed), max(0, _MAX_TRACKED - len(state.leftovers)))

    def _copied(self, step: BuildStep) -> Iterator[_Added]:
        one, escape = step.instruction, self.graph.dockerfile.escape
        target = copy_target(step, escape)
        for source in copy_sources(step, escape):
            entries = [] if one.flag("from") else self.context.matching(source)
            path = posixpath.normpath(source).lstrip("/")
            single = len(entries) == 1 and entries[0].path == path
            name = posixpath.basename(source.split("?")[0].rstrip("/"))
            secret = one.line in self.leaking or _secret(source)
            size = sum(entry.size or 0 for entry in entries)
            if (entries and not single) or is_whole_context(source) or source.endswith("/"):
                yield _Added(
                    target.rstrip("/") or "/", one.line, "copied", False, size, "" if is_whole_context(source) else path
                )
            else:
                inside = target.endswith("/") and name
                yield _Added(absolute_path(name, target) if inside else target, one.line, "copied", secret, size)
        for heredoc in one.heredocs:
            yield _Added(
                absolute_path(heredoc.name, target) if target.endswith("/") else target,
                one.line,
                "written",
                one.line in self.leaking,
            )

    def _removed(self, line: int, removed: Mapping[str, str], state: _StageState) -> Iterator[DockerfileProblem]:
        hits: dict[tuple[str, int, str, bool, bool], list[_Added]] = {}
        for path, how in removed.items():
            for item in filter(None, (self._hit(path, item) for item in state.added)):
                hits.setdefault((how, item.line, item.how, item.secret, _is_large(item)), []).append(item)
            state.added = [item for item in state.added if not covers(path, item.path)]
        for (how, *_), items in hits.items():
            yield _problem(line, how, items)

    def _hit(self, path: str, item: _Added) -> _Added | None:
        """Return the part of an addition that the removal of a path affects: all of it, one file, or None."""
        if covers(path, item.path):
            return item
        if item.source is None or not covers(item.path, path):
            return None
        inside = posixpath.join(item.source, path.removeprefix(item.path).lstrip("/"))
        found = self.context.matching(inside)
        size = sum(entry.size or 0 for entry in found)
        secret = any(_secret(entry.path) for entry in found)
        return replace(item, path=path, secret=secret, size=size) if found else None


def _secret(path: str) -> bool:
    known = classify_file_name(path)
    return known is not None and known.certain


def _is_large(item: _Added) -> bool:
    return bool(_LARGE.search(item.path)) or item.how in _HEAVY or item.size >= _LARGE_BYTES


def _problem(line: int, how: str, items: Sequence[_Added]) -> DockerfileProblem:
    """Return the problem of `line`, which removes the items that one instruction added in one way."""
    item, weight = items[0], sum(item.size for item in items)
    paths = ", ".join(dict.fromkeys(item.path for item in items))
    fact = f"This {how} {paths}, which line {item.line} {_PAST.get(item.how, item.how)}: it stays in that layer"
    if item.secret:
        advice = (
            "Anyone who can pull the image can recover it. Keep it out of all layers: mount it with RUN "
            "--mount=type=secret in the step that needs it."
        )
        return DockerfileProblem(DockerfileRule.DELETED_LATER, line, Severity.HIGH, fact, advice, adding_line=item.line)
    if _is_large(item):
        fact += f" with its {bytes_of(weight)}" if weight else ""
        advice = (
            "Fetch, use and remove it in one RUN, or fetch it in another stage and COPY --from only what is needed."
        )
        return DockerfileProblem(
            DockerfileRule.LARGE_THEN_DELETED, line, Severity.MEDIUM, fact, advice, adding_line=item.line
        )
    if item.how == "copied":
        advice = "Don't copy it: list it in .dockerignore, copy fewer files, or use RUN --mount=type=bind."
    else:
        advice = "Create, use and remove it in one RUN, or in another stage."
    return DockerfileProblem(
        DockerfileRule.DELETED_LATER,
        line,
        Severity.LOW if how == "moves" else Severity.MEDIUM,
        fact,
        advice,
        adding_line=item.line,
    )
