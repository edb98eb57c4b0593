"""The way without this tool: `docker export | docker import`, which drops the config; --change gives it back."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

_TEMPORARY = "image-audit-flat"


def export_command(target: str, transport: str, name: str, flat: str, config: Mapping[str, Any]) -> str:
    """Return shell commands that flatten an image with an engine alone.

    `name` is what the image is called once the engine has it, `flat` what the result is called.
    """
    changes = [shlex.quote(f"--change={text}") for text in _changes(config)]
    if transport == "container":
        container = shlex.quote(target.removeprefix("container:"))
        return " ".join([f"docker export {container} | docker import", *changes, "-", flat])
    steps = [
        *_into_engine(target, transport, name),
        f"docker create --name {_TEMPORARY} {shlex.quote(_in_engine(target, transport, name))}",
        " ".join([f"docker export {_TEMPORARY} | docker import", *changes, "-", flat]),
        f"docker rm {_TEMPORARY}",
    ]
    return " && ".join(steps)


def _into_engine(target: str, transport: str, name: str) -> list[str]:
    match transport:
        case "docker-archive":
            return [shlex.join(["docker", "load", "-i", target.removeprefix("docker-archive:")])]
        case "oci" | "oci-archive":
            source = target if target.startswith(f"{transport}:") else f"{transport}:{target}"
            return [shlex.join(["skopeo", "copy", source, f"docker-daemon:{name}"])]
        case _:
            return []


def _in_engine(target: str, transport: str, name: str) -> str:
    match transport:
        case "docker-daemon":
            return target.removeprefix("docker-daemon:")
        case "docker":
            return target.removeprefix("docker://")
        case _:
            return name


def _changes(config: Mapping[str, Any]) -> list[str]:
    changes = []
    for key, instruction in (("Entrypoint", "ENTRYPOINT"), ("Cmd", "CMD"), ("Shell", "SHELL")):
        if isinstance(config.get(key), list):
            changes.append(f"{instruction} {json.dumps(config[key])}")
    for key, instruction in (("WorkingDir", "WORKDIR"), ("User", "USER"), ("StopSignal", "STOPSIGNAL")):
        if isinstance(config.get(key), str) and config[key] and "****" not in config[key]:
            changes.append(f"{instruction} {config[key]}")
    env = config.get("Env")
    # A masked variable would come back masked: it is left out.
    changes += [f"ENV {text}" for text in env if isinstance(text, str) and "****" not in text] if env else []
    for key, instruction in (("ExposedPorts", "EXPOSE"), ("Volumes", "VOLUME")):
        value = config.get(key)
        changes += [f"{instruction} {text}" for text in value if "****" not in text] if isinstance(value, dict) else []
    return changes
