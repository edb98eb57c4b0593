"""Templates to pages that a strict Content-Security-Policy seals: one inline style, one inline script, both hashed."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from auditor.core.package_data import data_path
from auditor.core.text import instruction, plural, printable, shortened, size

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

_LINK = re.compile(r"https://[^\s<>\"']+[^\s<>\"'.:,;)]")


def page(
    template: str, *, styles: Sequence[str], scripts: Sequence[str], rules: Sequence[str] = (), **values: Any
) -> str:
    """Render a template of reports/templates.

    `styles` and `scripts` are files there, `rules` more CSS: a page's own numbers, for which the policy allows no style
    attribute. Nothing in them may come from an image.
    """
    from markupsafe import Markup

    style = "".join([*(_text(name) for name in styles), *(f"{rule}\n" for rule in rules)])
    script = "".join(_text(name) for name in scripts)
    policy = (
        f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    sealed = {"style": Markup(style), "script": Markup(script), "policy": Markup(policy)}  # noqa: S704
    return _environment().get_template(template).render(**sealed, **values)


def _text(name: str) -> str:
    return data_path(f"reports/templates/{name}").read_text(encoding="utf-8")


def _source(text: str) -> str:
    """Return the CSP source of an inline block, or 'none' for an empty one. CSP level 3, section 2.3.1."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'" if text else "'none'"


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

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
    )
    environment.globals["plural"] = _plural
    return environment


def _plural(count: int, noun: str) -> str:
    return plural(count, noun).replace(str(count), f"{count:,}", 1)


def _step(created_by: str | None, limit: int) -> str:
    """Return an instruction as its Dockerfile says it, cut to `limit` characters."""
    return shortened(printable(instruction(created_by)), limit)


def _tail(path: str, limit: int) -> str:
    """Return a path cut to `limit` characters at its start: the end tells files apart."""
    text = printable(path)
    return text if len(text) <= limit else "…" + text[1 - limit :]


def _linked(text: str) -> Markup:
    """Return a text of ours, never one of an image, with its addresses as links."""
    from markupsafe import Markup, escape

    pieces, at = Markup(""), 0
    for match in _LINK.finditer(text):
        link = Markup('<a href="{0}" rel="noopener noreferrer">{0}</a>').format(match[0])
        pieces += escape(text[at : match.start()]) + link
        at = match.end()
    return pieces + escape(text[at:])
