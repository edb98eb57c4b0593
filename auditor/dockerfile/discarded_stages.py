"""Problems in stages that are not part of the final image."""

from __future__ import annotations

from dataclasses import replace

from auditor.core.finding import Severity
from auditor.dockerfile.instructions import Stage
from auditor.dockerfile.problems import DockerfileProblem, DockerfileRule
from auditor.dockerfile.stages import StageGraph

_LOWER = {
    Severity.CRITICAL: Severity.HIGH,
    Severity.HIGH: Severity.MEDIUM,
    Severity.MEDIUM: Severity.LOW,
    Severity.LOW: Severity.LOW,
}


def adjust_for_stage(graph: StageGraph, problem: DockerfileProblem) -> DockerfileProblem | None:
    """Lower the severity of a problem in a discarded stage, and name the places where its secret remains.

    Return None for problems of size, which do not matter in a discarded stage.
    """
    stage = next((s for s in reversed(graph.stages) if s.start.instruction.line <= problem.line), None)
    if stage is None or graph.in_image(stage) or problem.copied_to_image or problem.rule is DockerfileRule.CACHE_ORDER:
        return problem
    if (
        problem.rule in (DockerfileRule.LARGE_THEN_DELETED, DockerfileRule.DELETED_LATER)
        and problem.severity.rank < Severity.HIGH.rank
    ):
        return None
    message = f"{problem.message}. {_remains(graph, stage)}"
    return replace(problem, severity=_LOWER[problem.severity], message=message)


def _remains(graph: StageGraph, stage: Stage) -> str:
    discarded = f"It is in the build cache, not in the image: of stage {stage.name or stage.index}"
    taken = [use for use in graph.uses if use.stage == stage.index]
    if not taken:
        return f"{discarded}, nothing is copied"
    paths = ", ".join(f"{use.path} (line {use.step.instruction.line})" for use in taken[:3])
    more = f" and {len(taken) - 3} more" if len(taken) > 3 else ""
    return f"{discarded}, only {paths}{more} is copied"
