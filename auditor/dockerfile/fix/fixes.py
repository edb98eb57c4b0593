"""Fix a Dockerfile problem by problem: propose, check again, and keep only proven fixes.

A fix is proven if the fixed file parses, the problem is gone, every other problem that is gone belongs to an edited
instruction, and no problem is new.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from auditor.core.dataclass import dataclass
from auditor.core.errors import DockerfileError
from auditor.dockerfile.build_context import BuildContext
from auditor.dockerfile.check import check
from auditor.dockerfile.dockerignore import compile_patterns
from auditor.dockerfile.fix.copied_files import fix_copied_secret
from auditor.dockerfile.fix.copy_order import fix_order
from auditor.dockerfile.fix.ignore_lines import fix_context
from auditor.dockerfile.fix.joined_steps import fix_removed_later
from auditor.dockerfile.fix.literal_secrets import fix_literal
from auditor.dockerfile.fix.proposal import SYNTAX_LINE, FixState, Proposal
from auditor.dockerfile.fix.secret_variables import fix_variable
from auditor.dockerfile.fix.source_text import NotFixable, SourceText
from auditor.dockerfile.parser import parse
from auditor.dockerfile.problems import DockerfileProblem, DockerfileRule
from auditor.dockerfile.stages import build_stage_graph
from auditor.scan import Scanner

_FIXERS: dict[DockerfileRule, Callable[[FixState, DockerfileProblem], Proposal]] = {
    DockerfileRule.SECRET_IN_ENV: fix_variable,
    DockerfileRule.SECRET_IN_ARG: fix_variable,
    DockerfileRule.SECRET_IN_RUN: fix_literal,
    DockerfileRule.CREDENTIALS_IN_URL: fix_literal,
    DockerfileRule.SECRET_FILE_COPIED: fix_copied_secret,
    DockerfileRule.COPY_CONTEXT: fix_context,
    DockerfileRule.DELETED_LATER: fix_removed_later,
    DockerfileRule.LARGE_THEN_DELETED: fix_removed_later,
    DockerfileRule.CACHE_ORDER: fix_order,
}
_OF_THE_CONTEXT = (
    DockerfileRule.COPY_CONTEXT,
    DockerfileRule.SECRET_FILE_COPIED,
    DockerfileRule.DELETED_LATER,
    DockerfileRule.LARGE_THEN_DELETED,
)
"""Rules with problems that another ignore file removes."""
_LINE = re.compile(r"\bline \d+")
_MAX_TRIALS = 100
_MAX_INSTRUCTIONS = 10_000
_MAX_BYTES = 8 << 20
"""Limits of all checks of one file together; what is left is reported as not tried."""

Selection = Callable[[Sequence[DockerfileProblem]], Sequence[DockerfileProblem]]
"""Choice of problems by the options of the user."""
_Key = tuple[str, str, str, bool]


@dataclass(frozen=True, slots=True)
class FixedFiles:
    """Result. Lines of `fixed` and `unfixed` are those of the original file; `remaining` has the lines of the new one.

    `ignore_lines` is None where the ignore file stays as it is.
    """

    source: SourceText
    ignore_lines: tuple[str, ...] | None
    fixed: tuple[DockerfileProblem, ...]
    unfixed: tuple[tuple[DockerfileProblem, str], ...]
    remaining: tuple[DockerfileProblem, ...]
    build_options: tuple[str, ...]
    notes: tuple[str, ...]


def fix_file(
    name: str, source: SourceText, ignore_lines: Sequence[str], context: BuildContext, scanner: Scanner,
    chosen: Selection,
) -> FixedFiles:  # fmt: skip
    """Fix all chosen problems that can be fixed. Raises DockerfileError for a file that can't be parsed."""
    return _Fixing(name, source, tuple(ignore_lines), context, scanner, chosen).run()


class _Fixing:
    """The loop over the problems, from the last line up, so that a variable is removed after its uses."""

    def __init__(
        self, name: str, source: SourceText, ignore_lines: tuple[str, ...], context: BuildContext, scanner: Scanner,
        chosen: Selection,
    ) -> None:  # fmt: skip
        self._name, self._scanner, self._chosen = name, scanner, chosen
        self._state = self._parsed(source, context, ignore_lines)
        self._first_ignore_lines = ignore_lines
        self._problems = self._check(self._state)
        self._reasons: dict[tuple[_Key, int], str] = {}
        self._tried: set[tuple[_Key, int]] = set()
        self._fixed: list[DockerfileProblem] = []
        self._options: dict[str, str] = {}  # by the id of the secret
        self._notes: dict[str, None] = {}

    def run(self) -> FixedFiles:
        instructions = max(1, len(self._state.graph.dockerfile.instructions))
        size = max(1, len(self._state.source.text))
        trials = min(_MAX_TRIALS, _MAX_INSTRUCTIONS // instructions, _MAX_BYTES // size)
        while (problem := self._next()) and trials > 0:
            trials -= 1
            self._try(problem)
        self._add_syntax()
        state = self._state
        unfixed = tuple(
            (self._original(problem), self._reasons.get(self._place(problem), "not tried: the file is too large"))
            for problem in self._problems
        )
        changed = state.ignore_lines != self._first_ignore_lines
        return FixedFiles(
            state.source, state.ignore_lines if changed else None,
            tuple(sorted(self._fixed, key=lambda problem: problem.line)), unfixed, tuple(self._problems),
            tuple(self._options.values()), tuple(self._notes),
        )  # fmt: skip

    def _next(self) -> DockerfileProblem | None:
        waiting = [problem for problem in self._problems if self._place(problem) not in self._tried]
        return max(waiting, key=lambda problem: problem.line, default=None)

    def _try(self, problem: DockerfileProblem) -> None:
        self._tried.add(self._place(problem))
        try:
            proposed = _FIXERS[problem.rule](self._state, problem)
            state = replace(self._proposed(proposed), named={**self._state.named, **dict(proposed.named)})
            problems = self._check(state)
            gone = self._proven(problem, problems, proposed)
        except NotFixable as exc:
            self._reasons[self._place(problem)] = str(exc)
            return
        except DockerfileError:
            self._reasons[self._place(problem)] = "the fixed file could not be parsed"
            return
        self._fixed += map(self._original, gone)
        self._state, self._problems = state, problems
        self._options |= {option.partition(",")[0]: option for option in proposed.build_options}
        self._notes |= dict.fromkeys(proposed.notes)
        # What failed before may succeed now: a variable can go once its last use is gone.
        self._tried.clear()

    def _proven(
        self, problem: DockerfileProblem, after: Sequence[DockerfileProblem], proposed: Proposal
    ) -> list[DockerfileProblem]:
        """Return the problems that the fix removes. Raises NotFixable where the check does not prove it."""
        left, before = Counter(map(_key, after)), Counter(map(_key, self._problems))
        if left - before:
            raise NotFixable(f"a fix was tried and dropped: it would cause {next(iter(left - before))[0]}")
        missing = before - left
        if _key(problem) not in missing:
            raise NotFixable("a fix was tried and dropped: the problem remained")
        ignoring = proposed.ignore_lines is not None
        gone = []
        # Of several equal problems, those of edited instructions are gone.
        for one in sorted(self._problems, key=lambda one: one.line not in proposed.edited):
            if missing[_key(one)]:
                missing[_key(one)] -= 1
                gone.append(one)
                if one.line not in (problem.line, *proposed.edited) and not (ignoring and one.rule in _OF_THE_CONTEXT):
                    raise NotFixable(f"a fix was tried and dropped: it would hide {one.rule} in line {one.line}")
        return gone

    def _proposed(self, proposed: Proposal) -> FixState:
        context, ignore = self._state.context, proposed.ignore_lines
        if ignore is not None:
            context = context.with_patterns(compile_patterns(ignore))
        return self._parsed(proposed.source, context, self._state.ignore_lines if ignore is None else ignore)

    def _parsed(self, source: SourceText, context: BuildContext, ignore_lines: tuple[str, ...]) -> FixState:
        graph = build_stage_graph(parse(source.text.removeprefix(source.bom), self._name))
        return FixState(source, graph, context, ignore_lines, self._scanner)

    def _check(self, state: FixState) -> list[DockerfileProblem]:
        return list(self._chosen(check(state.graph.dockerfile, self._scanner, state.context)))

    def _place(self, problem: DockerfileProblem) -> tuple[_Key, int]:
        """Return a problem's key with its original line: a command may hold the same secret as another."""
        return _key(problem), self._state.source.origins[problem.line - 1]

    def _original(self, problem: DockerfileProblem) -> DockerfileProblem:
        return replace(problem, line=self._state.source.origins[problem.line - 1])

    def _add_syntax(self) -> None:
        """Add the directive that selects a builder with mounts, if a fix added one and the file has none."""
        source = self._state.source
        has_syntax = self._state.graph.dockerfile.syntax is not None
        mounted = any("--mount=type=secret" in line or "--mount=type=ssh" in line for line in source.lines)
        if mounted and self._fixed and not has_syntax:
            state = self._parsed(source.with_first_line(SYNTAX_LINE), self._state.context, self._state.ignore_lines)
            self._state, self._problems = state, self._check(state)


def _key(problem: DockerfileProblem) -> _Key:
    """Return the parts of a problem that do not depend on line numbers."""
    message = _LINE.sub("line", problem.message)
    return problem.rule.value, problem.severity.value, message, problem.copied_to_image
