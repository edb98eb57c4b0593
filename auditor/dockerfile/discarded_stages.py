"""What becomes of a problem in a stage that the image is not built upon."""

from __future__ import annotations

from dataclasses import replace

from auditor.core.finding import Severity
from auditor.dockerfile.instructions import DockerfileProblem, DockerfileRule, Stage
from auditor.dockerfile.stages import StageGraph

_LOWER = {
    Severity.CRITICAL: Severity.HIGH,
    Severity.HIGH: Severity.MEDIUM,
    Severity.MEDIUM: Severity.LOW,
    Severity.LOW: Severity.LOW,
}


def adjust_for_stage(graph: StageGraph, problem: DockerfileProblem) -> DockerfileProblem | None:
    """Lower the severity of a problem that stands in a discarded stage, and say where its secret remains.

    What such a stage weighs is no problem: None.
    """
    stage = next((s for s in reversed(graph.stages) if s.start.instruction.line <= problem.line), None)
    if stage is None or graph.in_image(stage) or problem.carried or problem.rule is DockerfileRule.CACHE_ORDER:
        return problem
    if (
        problem.rule in (DockerfileRule.LARGE_THEN_DELETED, DockerfileRule.DELETED_LATER)
        and problem.severity.rank < Severity.HIGH.rank
    ):
        return None
    message = f"{problem.message}. {_fate(graph, stage)}"
    return replace(problem, severity=_LOWER[problem.severity], message=message)


def _fate(graph: StageGraph, stage: Stage) -> str:
    discarded = f"It is not in the image, but in the build cache: of stage {stage.name or stage.index}"
    taken = [use for use in graph.uses if use.stage == stage.index]
    if not taken:
        return f"{discarded} nothing goes on"
    what = ", ".join(f"{use.path} (line {use.step.instruction.line})" for use in taken[:3])
    more = f" and {len(taken) - 3} more" if len(taken) > 3 else ""
    return f"{discarded} only {what}{more} goes on"
