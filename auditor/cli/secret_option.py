"""Options with secret values, which a variable of the environment or a file may give."""

from __future__ import annotations

import os
from pathlib import Path

import click

from auditor.core.errors import reason
from auditor.core.text import printable

_MOST = 1 << 16  # bytes of a file


class SecretOption(click.Option):
    """Option with a variable NAME, or a file that the variable NAME_FILE names.

    Files keep a secret out of environments and process lists: secrets of Docker and Kubernetes, credentials of systemd.
    """

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return the value of the variable, else the text of the file. Raises UsageError if it can't be read."""
        value = super().resolve_envvar_value(ctx)
        variable = f"{self.envvar}_FILE"
        path = os.environ.get(variable)
        if value is not None or not path:
            return value
        try:
            with Path(path).open(encoding="utf-8") as file:
                text = file.read(_MOST).strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise click.UsageError(f"{variable}: can't be read: {printable(reason(exc))}", ctx) from None
        if not text:
            raise click.UsageError(f"{variable}: {printable(path)} is empty", ctx)
        return text
