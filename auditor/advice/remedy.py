"""Advice for one finding: what to do first, what then, and how to keep it from coming back."""

from __future__ import annotations

import shlex

from auditor.core.finding import Finding, State


def recover_command(target: str, finding: Finding, nth: int | None) -> str | None:
    """Return the command that brings the file back; None for metadata, which `docker inspect` shows.

    `nth` tells which of several entries of the path in its layer holds it, None where there is one.
    """
    if finding.path is None:
        return None
    path = finding.path + (f"!{finding.member}" if finding.member else "")
    pieces = ["image-audit", "recover", target, path, "--layer", str(finding.added_in)]
    if nth is not None:
        pieces += ["--nth", str(nth)]
    return shlex.join(pieces)


def advice(target: str, finding: Finding) -> tuple[str, ...]:
    """Return what to do, most urgent first."""
    where = f" at {finding.revoke}" if finding.revoke else ""
    steps = [f"Revoke or rotate it{where}: whoever has the image has it."]
    if finding.entry_path is not None:
        steps += _in_header(target, finding)
    elif finding.state in (State.DELETED, State.OVERWRITTEN):
        steps += _hidden(target, finding)
    elif finding.state is State.PRESENT:
        steps.append(
            "The file is in the final image: leave it out of the build (.dockerignore), or mount it where it is needed "
            "with RUN --mount=type=secret, or at run time."
        )
    else:
        steps.append(_metadata(finding))
    if finding.inherited:
        steps.append("It comes with the base image: take a newer base, or tell who publishes it.")
    return tuple(steps)


def _hidden(target: str, finding: Finding) -> list[str]:
    done = "deletes" if finding.state is State.DELETED else "overwrites"
    return [
        f"Layer {finding.hidden_in} only {done} it; in layer {finding.added_in} it can still be dug out: flatten the "
        f"image ({shlex.join(['image-audit', 'flatten', target])} -t NAME), or rebuild it without the step.",
        "In the Dockerfile use RUN --mount=type=secret, or a build stage that the final image does not copy it from.",
    ]


def _in_header(target: str, finding: Finding) -> list[str]:
    steps = [f"It is part of {finding.where}, which the layer's tar holds: name it otherwise where the build makes it."]
    if finding.is_hidden:
        flatten = shlex.join(["image-audit", "flatten", target])
        steps.append(f"Layer {finding.hidden_in} only hides the entry: flatten the image ({flatten} -t NAME).")
    return steps


def _metadata(finding: Finding) -> str:
    where = finding.where or ""
    if where.startswith("history["):
        return "It stands in the image's history: pass it with RUN --mount=type=secret, not as ARG or in the command."
    if ".Env[" in where:
        return "It stands in the image's environment: set it at run time (docker run --env-file, orchestrator secrets)."
    if where.startswith("attestation["):
        return (
            "It stands in the build's attestation: don't pass it as a build argument; build with mode=min provenance."
        )
    return f"It stands in {where}: build the image without it."
