"""Advice for one finding: revoke, clean the image, fix the build."""

from __future__ import annotations

import re
import shlex

from auditor.core.finding import Finding, State
from auditor.core.text import instruction


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


def advice(finding: Finding, flatten: str) -> tuple[str, ...]:
    """Return the steps to take, most urgent first. `flatten` is the command that flattens the image."""
    where = f" at {finding.revoke}" if finding.revoke else ""
    steps = [f"Revoke or rotate the secret{where}. Anyone who can pull the image can read it."]
    if finding.is_hidden:
        done = {State.DELETED: "deletes", State.OVERWRITTEN: "overwrites"}.get(finding.state, "hides")
        recover = f"; it can be recovered from layer {finding.added_in}" if finding.path is not None else ""
        steps.append(
            f"Layer {finding.hidden_in} only {done} it{recover}. Flatten the image: {flatten}. "
            "Or rebuild it without the step."
        )
    elif finding.state is State.PRESENT:
        steps.append("The file is visible in the final image.")
    elif finding.where:
        steps.append(f"It is in {_metadata_name(finding.where)}.")
    steps.append(build_fix(finding))
    return tuple(steps)


_MADE_BY_INSTALLATION = re.compile(
    r"""(?x)(?:^|/)(?:
    etc/ssl/private/ssl-cert-snakeoil\.key|etc/pki/tls/private/localhost\.key|etc/ssh/ssh_host_\w+_key|
    etc/(?:bind|named)/rndc\.key|etc/rndc\.key|etc/unbound/unbound_\w+\.key|etc/munge/munge\.key|etc/mysql/debian\.cnf|
    var/lib/mysql/[\w-]*key\.pem|etc/exim4/exim\.key|etc/dovecot/private/[\w.-]+|etc/ssl/private/dovecot\.pem|
    etc/cups/ssl/[\w.-]+\.key|etc/webmin/miniserv\.pem|etc/ldap/slapd\.d/cn=config/olcDatabase=\{1\}mdb\.ldif|\.erlang\.cookie
    )\Z"""
)
"""Keys that the installation of a package makes."""


def build_fix(finding: Finding) -> str:
    """Return the change of the build that keeps the secret out, one or two sentences."""
    if finding.path is not None and finding.package is None and _MADE_BY_INSTALLATION.search(finding.path):
        return (
            "The installation of a package made this key, so all containers of the image share it. "
            "Delete it in the step that installs the package, and make a new one when a container starts."
        )
    if finding.inherited:
        return "It comes from the base image. Use a newer base image, or report it to the publisher."
    if finding.entry_path is not None:
        return f"It is part of {finding.where}. Change the name in the build step that creates it."
    if finding.path is None:
        return _metadata_fix(finding.where or "")
    step = instruction(finding.added_by)
    if step.startswith(("COPY", "ADD")):
        return "Exclude the file in .dockerignore, or mount it: RUN --mount=type=secret, or at run time."
    if step.startswith(CONTAINER_STEP):
        return "Mount the secret into the container instead of writing it to a file."
    return "Mount the secret with RUN --mount=type=secret, or use a build stage from which the file is not copied."


CONTAINER_STEP = "a process in container "
"""Start of the text of the step that stands for a container's writable layer."""


def _metadata_name(where: str) -> str:
    if where.startswith("history["):
        return "the image history"
    if ".Env[" in where:
        return "the image environment"
    return "the build attestation" if where.startswith("attestation[") else where


def _metadata_fix(where: str) -> str:
    if where.startswith("history["):
        return "Pass it with RUN --mount=type=secret, not as ARG or in a command."
    if ".Env[" in where:
        return "Set it at run time (docker run --env-file, orchestrator secrets)."
    if where.startswith("attestation["):
        return "Do not pass it as a build argument; build with mode=min provenance."
    return f"Build the image without {where}."
