"""HTML pages from templates: one inline style, one inline script, both hashed in the Content-Security-Policy."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from auditor.core.package_data import data_path
from auditor.core.text import instruction, plural, printable, shortened, size
from auditor.images.source import short_names
from auditor.report.file_text import secrets_text, totals_text
from auditor.report.html.template_cache import TemplateCache

_LINK = re.compile(r"https://[^\s<>\"']+[^\s<>\"'.:,;)]")


def page(
    template: str, *, styles: Sequence[str], scripts: Sequence[str], rules: Sequence[str] = (), **values: Any
) -> str:
    """Render a template of reports/templates.

    `styles` and `scripts` are files of that folder. `rules` are CSS rules with numbers of this page, because the policy
    allows no style attributes. They must not contain texts of an image.
    """
    style = "".join([*(_text(name) for name in styles), *(f"{rule}\n" for rule in rules)])
    script = "".join(_text(name) for name in scripts)
    policy = (
        f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    inline = {"style": Markup(style), "script": Markup(script), "policy": Markup(policy)}  # noqa: S704
    return _environment().get_template(template).render(**inline, **values)


def cache_templates(folder: Path) -> None:
    """Keep compiled templates in a cache folder: they compile in a fifth of a second."""
    _environment().bytecode_cache = TemplateCache(folder)


@functools.cache
def _text(name: str) -> str:
    return data_path(f"reports/templates/{name}").read_text(encoding="utf-8")


def _source(text: str) -> str:
    """Return the CSP source of an inline block, or 'none' for an empty one. CSP level 3, section 2.3.1."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'" if text else "'none'"


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(data_path("reports/templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        size=size,
        number=lambda count: f"{count:,}",
        shown=lambda value: printable(str(value)),
        step=_step,
        tail=_tail,
        linked=_linked,
        totals=totals_text,
        secrets=secrets_text,
        short_names=short_names,
    )
    environment.globals["plural"] = plural
    return environment


def _step(created_by: str | None, limit: int) -> str:
    """Return the instruction of a build step, shortened to `limit` characters."""
    return shortened(printable(instruction(created_by)), limit)


def _tail(path: str, limit: int) -> str:
    """Return the last `limit` characters of a path: the end identifies the file."""
    text = printable(path)
    return text if len(text) <= limit else "…" + text[1 - limit :]


def _linked(text: str) -> Markup:
    """Turn the URLs of a text into links. The text must be our own, never one of an image."""
    pieces, at = Markup(""), 0
    for match in _LINK.finditer(text):
        link = Markup('<a href="{0}" rel="noopener noreferrer">{0}</a>').format(match[0])
        pieces += escape(text[at : match.start()]) + link
        at = match.end()
    return pieces + escape(text[at:])
