"""A hook of MkDocs: what pages link to outside docs/ comes along, so that the site is whole without a code host.

A file of the repository lies under `repository/` in the site; a folder becomes a page that lists its files. JSON
Schemas lie under `schemas/`, as their `$id` says.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

_ROOT = Path(__file__).parents[1]
_OUTSIDE = "repository"
_SCHEMAS = "reports/schemas"
_LINK = re.compile(r"(?<=\]\()[^)\s#:]+(?=[)#])")
_CELLS = re.compile(r"^\|.*\|$", re.MULTILINE)


def on_files(files: Files, *, config: Any) -> Files:
    """Add what the pages link to, and what those link to."""
    waiting = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    while waiting:
        for path in _linked(waiting.pop()):
            uri = _uri(path)
            if files.get_file_from_path(uri) is None:
                source: dict[str, str] = {"abs_src_path": str(_ROOT / path)}
                if (_ROOT / path).is_dir():
                    source = {"content": _listing(path)}
                files.append(File.generated(config, uri, inclusion=InclusionLevel.NOT_IN_NAV, **source))
                waiting.append(path)
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links that hold in the repository to where things lie in the site.

    In a table a code host wants `\\|` where Python-Markdown, in code, wants `|`.
    """
    uri = page.file.src_uri
    source = uri.removeprefix(f"{_OUTSIDE}/") if uri.startswith(f"{_OUTSIDE}/") else f"docs/{uri}"
    markdown = _CELLS.sub(lambda row: re.sub("`[^`]*`", lambda code: code[0].replace(r"\|", "|"), row[0]), markdown)
    return _LINK.sub(lambda link: _moved(source, uri, link[0]), markdown)


def _moved(source: str, uri: str, link: str) -> str:
    path = _path(source, link)
    return link if path is None else posixpath.relpath(_uri(path), posixpath.dirname(uri) or ".")


def _linked(path: str) -> list[str]:
    """Return the paths in the repository of all that a page links to; of a folder, of its files."""
    page = _ROOT / path
    if page.is_dir():
        return [f"{path}/{item.name}" for item in page.iterdir() if item.is_file()]
    links = _LINK.findall(page.read_text()) if path.endswith(".md") else []
    return [linked for link in links if (linked := _path(path, link)) is not None]


def _path(source: str, link: str) -> str | None:
    """Return the path in the repository that a page's link leads to, None where there is nothing."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    return path if not path.startswith("..") and (_ROOT / path).exists() else None


def _uri(path: str) -> str:
    """Return where a path of the repository lies in the site."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith("reports/schemas/"):
        return path.removeprefix("reports/")
    return f"{_OUTSIDE}/{path}" + ("/index.md" if (_ROOT / path).is_dir() else "")


def _listing(folder: str) -> str:
    names = sorted(posixpath.basename(path) for path in _linked(folder))
    return f"# {folder}\n\n" + "".join(f"- [{name}]({name})\n" for name in names)
