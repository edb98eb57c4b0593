"""Command that flattens with an engine alone: `docker export | docker import`, with --change to restore the config."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from auditor.images.transports import TRANSPORTS, Transport

_TEMPORARY = "image-audit-flat"


def export_command(target: str, transport: str, name: str, flat: str, config: Mapping[str, Any]) -> str:
    """Return shell commands that flatten an image with an engine alone.

    `name` is the name of the image in the engine, `flat` that of the result.
    """
    changes = [shlex.quote(f"--change={text}") for text in _changes(config)]
    row = TRANSPORTS[transport]
    if row.is_container:
        container = shlex.quote(row.bare(target))
        return " ".join([f"docker export {container} | docker import", *changes, "-", flat])
    steps = [
        *_import_steps(target, row, name),
        f"docker create --name {_TEMPORARY} {shlex.quote(row.bare(target) if row.has_names else name)}",
        " ".join([f"docker export {_TEMPORARY} | docker import", *changes, "-", flat]),
        f"docker rm {_TEMPORARY}",
    ]
    return " && ".join(steps)


def _import_steps(target: str, transport: Transport, name: str) -> list[str]:
    """Return the command that loads the image into the engine; none where the engine has it or pulls it."""
    value = transport.bare(target)
    parts = [part.format(value=value, target=transport.prefix + value, name=name) for part in transport.import_command]
    return [shlex.join(parts)] if parts else []


def _changes(config: Mapping[str, Any]) -> list[str]:
    changes = []
    for key, instruction in (("Entrypoint", "ENTRYPOINT"), ("Cmd", "CMD"), ("Shell", "SHELL")):
        if isinstance(config.get(key), list):
            changes.append(f"{instruction} {json.dumps(config[key])}")
    for key, instruction in (("WorkingDir", "WORKDIR"), ("User", "USER"), ("StopSignal", "STOPSIGNAL")):
        if isinstance(config.get(key), str) and config[key] and "****" not in config[key]:
            changes.append(f"{instruction} {config[key]}")
    env = config.get("Env")
    # A masked variable is left out: it would be restored in its masked form.
    changes += [f"ENV {text}" for text in env if isinstance(text, str) and "****" not in text] if env else []
    for key, instruction in (("ExposedPorts", "EXPOSE"), ("Volumes", "VOLUME")):
        value = config.get(key)
        changes += [f"{instruction} {text}" for text in value if "****" not in text] if isinstance(value, dict) else []
    return changes
