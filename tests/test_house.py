"""The shape of the house: who may import whom, how long a function may be, where tests lie, that errors are drawn."""

from __future__ import annotations

import ast
import inspect
import tomllib
from pathlib import Path

from auditor import __version__, errors

PACKAGE = Path(errors.__file__).parent
# A module imports only from rooms above its own.
ROOMS = (
    ("errors", "data", "progress", "memory", "limits", "workfiles"),
    ("model",),
    ("globs",),
    ("codec",),
    ("images",),
    ("layers",),
    ("store",),
    ("detect",),
    ("unpack",),
    ("scan",),
    ("records",),
    ("provenance",),
    ("headers", "findings", "selection", "verify"),
    ("advice",),
    ("pipeline",),
    ("rebuild",),
    ("report",),
    ("dockerfile",),
    ("keys", "yamlfile"),
    ("config", "baseline"),
    ("effective",),
    ("api",),
    ("fleet",),
    ("hook",),
    ("cli", "__main__"),
)
LONGEST = 50
"""Lines of a function."""
ABOUT_ALL = ("bench", "browser", "docs", "engines", "hostile", "security", "transports")
"""Folders of tests that are of no one room: the last reads images in every form."""
ABOUT_THE_WHOLE = ("deploy", "house", "scan")
FLOOR = {name: number for number, names in enumerate(ROOMS) for name in names}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("auditor."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "auditor":
            found |= {alias.name for alias in node.names if alias.name != "__version__"}
    return found


def test_a_module_imports_only_from_rooms_above_it() -> None:
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for used in imports(path):
            assert FLOOR[used] <= FLOOR[room], f"{path.name} in {room} imports {used}"


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
    assert rooms <= {*FLOOR, *ABOUT_ALL}
    modules = {path.stem.removeprefix("test_") for path in tests.glob("test_*.py")}
    assert modules <= {*FLOOR, *ABOUT_THE_WHOLE}


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
