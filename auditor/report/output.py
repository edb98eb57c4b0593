"""Formats by name and by file ending, and where they are written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from auditor.audit import Audit
from auditor.errors import UsageError

FORMATS = ("table", "json", "html")
_ENDINGS = {".json": "json", ".html": "html", ".htm": "html", ".txt": "table"}


def format_of(path: Path) -> str:
    """Return the format that a file's ending asks for. Raises UsageError on any other ending."""
    try:
        return _ENDINGS[path.suffix.lower()]
    except KeyError:
        raise UsageError(f"-o {path}: unknown ending; want one of {', '.join(_ENDINGS)}") from None


def render(form: str, audits: Sequence[Audit], created: str, *, width: int, color: bool, show_secrets: bool) -> str:
    """Render a report in one of FORMATS."""
    match form:
        case "json":
            from auditor.report import document

            return document.render(audits, created, show_secrets=show_secrets)
        case "html":
            from auditor.report import html

            return html.render(audits, created, show_secrets=show_secrets)
        case _:
            from auditor.report import table

            return table.render(audits, width=width, color=color, show_secrets=show_secrets)


def write_file(path: Path, text: str) -> None:
    """Write a file beside its place and rename it, so that nobody sees half of it. Raises UsageError."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
        ) as out:
            temporary = Path(out.name)
            try:
                out.write(text)
                out.flush()
                temporary.chmod(0o666 & ~_umask())
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as exc:
        raise UsageError(f"{path}: can't be written: {exc.strerror}") from exc


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
