"""Run all rules on one Dockerfile."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from auditor.dockerfile.build_context import BuildContext, open_context
from auditor.dockerfile.cache_order import check_order
from auditor.dockerfile.copied_files import CopyRules
from auditor.dockerfile.discarded_stages import adjust_for_stage
from auditor.dockerfile.instruction_secrets import TextRules
from auditor.dockerfile.instructions import Dockerfile
from auditor.dockerfile.parser import read_dockerfile
from auditor.dockerfile.problems import DockerfileProblem, DockerfileRule
from auditor.dockerfile.removals import RemovalRules
from auditor.dockerfile.stages import build_stage_graph
from auditor.scan import Scanner

_LEAKS = (DockerfileRule.SECRET_IN_RUN, DockerfileRule.CREDENTIALS_IN_URL, DockerfileRule.SECRET_FILE_COPIED)


def check_file(path: Path, scanner: Scanner, context: Path | None = None) -> tuple[DockerfileProblem, ...]:
    """Return the problems of a Dockerfile by line. Its folder is the default `context`. Raises AuditError."""
    parsed = read_dockerfile(path)
    return check(parsed, scanner, open_context(path, context))


def check(dockerfile: Dockerfile, scanner: Scanner, context: BuildContext) -> tuple[DockerfileProblem, ...]:
    """Return the problems of a parsed Dockerfile, by line."""
    graph = build_stage_graph(dockerfile)
    secrets = [*TextRules(scanner, graph).check(), *CopyRules(scanner, graph, context).check()]
    leaking = frozenset(problem.line for problem in secrets if problem.rule in _LEAKS)
    others = [*RemovalRules(graph, context, leaking).check(), *check_order(graph)]
    found = (adjust_for_stage(graph, problem) for problem in (*secrets, *others))
    order = list(DockerfileRule)
    return tuple(
        sorted(
            {problem for problem in found if problem},
            key=lambda p: (p.line, -p.severity.rank, order.index(p.rule), p.message),
        )
    )


def select_problems(
    problems: Iterable[DockerfileProblem], only: Collection[str], without: Collection[str]
) -> tuple[DockerfileProblem, ...]:
    """Return the problems of the rules in `only` (empty: all rules) that are not in `without`."""
    return tuple(p for p in problems if (not only or p.rule in only) and p.rule not in without)
