"""Formats by name and by file ending, and where they are written."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from auditor.core import atomic_files
from auditor.core.errors import UsageError
from auditor.core.finding import Severity
from auditor.pipeline import Audit, Failure

FORMATS = ("table", "json", "html", "sarif", "markdown", "gitlab", "junit")
_ENDINGS = {
    ".json": "json",
    ".html": "html",
    ".htm": "html",
    ".sarif": "sarif",
    ".md": "markdown",
    ".xml": "junit",
    ".txt": "table",
}
_GITLAB = "gl-secret-detection-report.json"
"""The name that GitLab's documentation gives the report."""


@dataclass(frozen=True, slots=True)
class Shown:
    """How a report is shown: `width` and `color` of the table, the severity that fails, whether secrets are whole.

    `failures` are the targets that were not audited.
    """

    width: int = 100
    color: bool = False
    fail_on: Severity | None = Severity.HIGH
    show_secrets: bool = False
    failures: Sequence[Failure] = ()


def format_of(path: Path) -> str:
    """Return the format that a file's name or ending asks for. Raises UsageError on any other ending."""
    if path.name == _GITLAB:
        return "gitlab"
    try:
        return _ENDINGS[path.suffix.lower()]
    except KeyError:
        raise UsageError(f"-o {path}: unknown ending; want one of {', '.join(_ENDINGS)}, or {_GITLAB}") from None


def render(form: str, audits: Sequence[Audit], created: str, shown: Shown) -> str:
    """Render a report in one of FORMATS. `created` is RFC 3339 in UTC."""
    if form == "table":
        from auditor.report import table

        return table.render(
            audits, failures=shown.failures, width=shown.width, color=shown.color, show_secrets=shown.show_secrets
        )
    if form == "junit":
        from auditor.report import junit

        return junit.render(
            audits, created, failures=shown.failures, fail_on=shown.fail_on, show_secrets=shown.show_secrets
        )
    module = importlib.import_module("auditor.report." + {"json": "document"}.get(form, form))
    text: str = module.render(audits, created, failures=shown.failures, show_secrets=shown.show_secrets)
    return text


def write_file(path: Path, text: str, *, private: bool = False) -> None:
    """Write a text whole or not at all; a private one is for the user alone. Raises UsageError."""
    with whole(path, 0o600 if private else 0o666 & ~_umask()) as out:
        out.write(text.encode())


@contextmanager
def whole(path: Path, mode: int) -> Iterator[IO[bytes]]:
    """Give a file beside a path to write to, and rename it in the end, so that nobody sees half of it.

    Raises UsageError where that can't be, or where a device or a pipe lies there.
    """
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is no plain file; -o wants one")
    try:
        with atomic_files.whole(path, mode) as out:
            yield out
    except OSError as exc:
        raise UsageError(f"{path}: can't be written: {exc.strerror}") from exc


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
