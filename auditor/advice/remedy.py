"""Advice for one finding: revoke, clean the image, fix the build."""

from __future__ import annotations

import shlex

from auditor.core.finding import Finding, State


def recover_command(target: str, finding: Finding, nth: int | None) -> str | None:
    """Return the command that recovers the file; None for metadata, which `docker inspect` shows.

    `nth` is the number of the entry among several of its path in the layer, None where there is one.
    """
    if finding.path is None:
        return None
    path = finding.path + (f"!{finding.member}" if finding.member else "")
    pieces = ["image-audit", "recover", target, path, "--layer", str(finding.added_in)]
    if nth is not None:
        pieces += ["--nth", str(nth)]
    return shlex.join(pieces)


def advice(target: str, finding: Finding) -> tuple[str, ...]:
    """Return the steps to take, most urgent first."""
    where = f" at {finding.revoke}" if finding.revoke else ""
    steps = [f"Revoke or rotate the secret{where}. Anyone who can pull the image can read it."]
    if finding.entry_path is not None:
        steps += _in_header(target, finding)
    elif finding.state in (State.DELETED, State.OVERWRITTEN):
        steps += _hidden(target, finding)
    elif finding.state is State.PRESENT:
        steps.append(
            "The file is visible in the final image. Exclude it from the build (.dockerignore), or mount it with "
            "RUN --mount=type=secret or at run time."
        )
    else:
        steps.append(_metadata(finding))
    if finding.inherited:
        steps.append("It comes from the base image. Use a newer base image, or report it to the publisher.")
    return tuple(steps)


def _hidden(target: str, finding: Finding) -> list[str]:
    done = "deletes" if finding.state is State.DELETED else "overwrites"
    return [
        f"Layer {finding.hidden_in} only {done} it; it can be recovered from layer {finding.added_in}. "
        f"Flatten the image: {shlex.join(['image-audit', 'flatten', target])} -t NAME. Or rebuild it without the step.",
        "In the Dockerfile, use RUN --mount=type=secret, or a build stage from which the file is not copied.",
    ]


def _in_header(target: str, finding: Finding) -> list[str]:
    steps = [
        f"It is part of {finding.where} in the tar of the layer. Change the name in the build step that creates it."
    ]
    if finding.is_hidden:
        flatten = shlex.join(["image-audit", "flatten", target])
        steps.append(f"Layer {finding.hidden_in} only hides the entry. Flatten the image: {flatten} -t NAME")
    return steps


def _metadata(finding: Finding) -> str:
    where = finding.where or ""
    if where.startswith("history["):
        return "It is in the image history. Pass it with RUN --mount=type=secret, not as ARG or in a command."
    if ".Env[" in where:
        return "It is in the image environment. Set it at run time (docker run --env-file, orchestrator secrets)."
    if where.startswith("attestation["):
        return "It is in the build attestation. Do not pass it as a build argument; build with mode=min provenance."
    return f"It is in {where}. Build the image without it."
