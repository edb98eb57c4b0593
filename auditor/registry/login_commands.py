"""The command that logs in to a registry, for error messages. Sources: the pages listed in docs/registries.md."""

from __future__ import annotations

import re

_COMMANDS = (
    (
        r"\d{12}\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)",
        "aws ecr get-login-password --region {region} | docker login --username AWS --password-stdin {host}",
    ),
    (r"public\.ecr\.aws", "aws ecr-public get-login-password --region us-east-1 | docker login --username AWS "
                          "--password-stdin {host}"),
    (r"(?P<name>[a-z0-9-]+)\.azurecr\.(?:io|us|cn)", "az acr login --name {name}"),
    (r"(?:[a-z0-9-]+-docker\.pkg\.dev|(?:[a-z]+\.)?gcr\.io)", "gcloud auth configure-docker {host}"),
    (r"docker\.io", "docker login"),
)  # fmt: skip
"""Expressions of host names, with the command of their registry."""


def login_command(host: str) -> str:
    """Return the command that stores credentials for a host."""
    for pattern, command in _COMMANDS:
        if match := re.fullmatch(pattern, host):
            return command.format(host=host, **match.groupdict())
    return f"docker login {host}"
