"""All rules over one Dockerfile."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from auditor.dockerfile.context import Context, open_context
from auditor.dockerfile.copies import CopyRules
from auditor.dockerfile.discarded import of_stage
from auditor.dockerfile.model import Dockerfile, Problem, Rule
from auditor.dockerfile.order import check_order
from auditor.dockerfile.parse import read
from auditor.dockerfile.removals import RemovalRules
from auditor.dockerfile.secrets import TextRules
from auditor.dockerfile.stages import plan
from auditor.scan import Scanner

_LEAKS = (Rule.SECRET_IN_RUN, Rule.CREDENTIALS_IN_URL, Rule.SECRET_FILE_COPIED)


def check_file(path: Path, scanner: Scanner, context: Path | None = None) -> tuple[Problem, ...]:
    """Return the problems of a Dockerfile, by line. `context` is by default its folder. Raises AuditError."""
    parsed = read(path)
    return check(parsed, scanner, open_context(path, context))


def check(dockerfile: Dockerfile, scanner: Scanner, context: Context) -> tuple[Problem, ...]:
    """Return the problems of a parsed Dockerfile, by line."""
    laid_out = plan(dockerfile)
    secrets = [*TextRules(scanner, laid_out).check(), *CopyRules(scanner, laid_out, context).check()]
    leaking = frozenset(problem.line for problem in secrets if problem.rule in _LEAKS)
    others = [*RemovalRules(laid_out, context, leaking).check(), *check_order(laid_out)]
    found = (of_stage(laid_out, problem) for problem in (*secrets, *others))
    order = list(Rule)
    return tuple(
        sorted(
            {problem for problem in found if problem},
            key=lambda p: (p.line, -p.severity.rank, order.index(p.rule), p.message),
        )
    )


def chosen(problems: Iterable[Problem], only: Collection[str], without: Collection[str]) -> tuple[Problem, ...]:
    """Keep the problems of the rules named, or of all, less those left out."""
    return tuple(p for p in problems if (not only or p.rule in only) and p.rule not in without)
