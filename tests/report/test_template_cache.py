"""Compiled templates in the cache folder: used only where they were written with its key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest

from auditor.core.cache_folder import KEY_NAME, folder_key, read_cache_file, write_cache_file
from auditor.report.html.template_cache import TemplateCache

SOURCES = {"page.html": "{% for item in items %}<li>{{ item }}</li>{% endfor %}"}


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the templates that were compiled."""
    names: list[str] = []
    compile_it = jinja2.Environment.compile

    def counted(self: jinja2.Environment, source: str, name: str | None = None, *more: object) -> object:
        names.append(str(name))
        return compile_it(self, source, name, *more)  # type: ignore[call-overload]

    monkeypatch.setattr(jinja2.Environment, "compile", counted)
    yield names
    names.clear()


def rendered(folder: Path, **sources: str) -> str:
    """Render the template as a new process does."""
    loader = jinja2.DictLoader({**SOURCES, **sources})
    environment = jinja2.Environment(loader=loader, autoescape=True, bytecode_cache=TemplateCache(folder))
    return environment.get_template("page.html").render(items=["<a>"])


def the_file(folder: Path) -> Path:
    (path,) = folder.glob("template-*")
    return path


def test_a_template_is_compiled_once(tmp_path: Path, compiled: list[str]) -> None:
    assert [rendered(tmp_path) for _ in range(3)] == ["<li>&lt;a&gt;</li>"] * 3
    assert compiled == ["page.html"]
    assert the_file(tmp_path).stat().st_mode & 0o077 == 0


def test_a_changed_template_is_compiled_again(tmp_path: Path, compiled: list[str]) -> None:
    rendered(tmp_path)
    assert rendered(tmp_path, **{"page.html": "{{ items }}"}) == "[&#39;&lt;a&gt;&#39;]"
    assert len(compiled) == 2


@pytest.mark.parametrize("case", ["other key", "other code", "damaged", "empty"])
def test_code_that_was_not_written_with_the_key_is_not_loaded(tmp_path: Path, compiled: list[str], case: str) -> None:
    rendered(tmp_path)
    path = the_file(tmp_path)
    if case == "other key":
        folder_key(tmp_path, new=True)
    elif case == "other code":
        kept = read_cache_file(path)
        assert kept is not None
        write_cache_file(path, kept[:-1] + bytes([kept[-1] ^ 1]))
    else:
        path.write_bytes(path.read_bytes()[:-1] if case == "damaged" else b"")
    assert [rendered(tmp_path) for _ in range(2)] == ["<li>&lt;a&gt;</li>"] * 2
    assert len(compiled) == 2


def test_without_a_writable_folder_templates_are_compiled(tmp_path: Path, compiled: list[str]) -> None:
    (tmp_path / KEY_NAME).mkdir()  # the key can't be read, even by root
    assert [rendered(tmp_path) for _ in range(2)] == ["<li>&lt;a&gt;</li>"] * 2
    assert len(compiled) == 2 and not list(tmp_path.glob("template-*"))
