"""The shape of the house: who may import whom, how long a function may be, where tests lie, that errors are drawn."""

from __future__ import annotations

import ast
import inspect
import tomllib

from auditor import __version__
from auditor.core import errors
from tools import structure

PACKAGE = structure.PACKAGE
LONGEST = 50
"""Lines of a function."""
ABOUT_ALL = ("bench", "browser", "docs", "engines", "hostile", "security", "transports")
"""Folders of tests that are of no one room: the last reads images in every form."""
ABOUT_THE_WHOLE = ("deploy", "house", "scan")


def test_the_structure_holds() -> None:
    """`make lint` prints the figures; tests hold those that are about imports and names of modules."""
    known = structure.modules()
    held = (structure.cycle(known), structure.upward(known), structure.roots(known), structure.module_names(known))
    assert [(figure.title, *figure.places) for figure in held if not figure.holds] == []


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path.name}:{node.lineno}: {node.name}"
        for folder in ("auditor", "tests", "bench", "fuzz", "docs")
        for path in (PACKAGE.parent / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= LONGEST
    ]
    assert long == []


def test_tests_lie_where_what_they_test_does() -> None:
    tests = PACKAGE.parent / "tests"
    rooms = {path.relative_to(tests).parts[0] for path in tests.glob("*/**/test_*.py")}
    assert rooms <= {*structure.ORDER, *ABOUT_ALL}
    modules = {path.stem.removeprefix("test_") for path in tests.glob("test_*.py")}
    assert modules <= {*structure.ORDER, *ABOUT_THE_WHOLE}


def test_the_version_stands_in_one_place_and_has_its_heading_in_the_changes() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    assert "version" not in project and project["dynamic"] == ["version"]
    assert f"## {__version__}" in (PACKAGE.parent / "CHANGELOG.md").read_text()


def test_every_error_is_drawn_in_the_docstring_and_explained() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    assert all(issubclass(kind, errors.AuditError) and kind.__doc__ for kind in kinds)
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in kinds)


def test_no_file_names_a_registry_of_packages_or_this_machine() -> None:
    root = PACKAGE.parent
    lock = (root / "requirements.lock").read_text()
    assert "://" not in lock and "--index-url" not in lock and "--find-links" not in lock
