"""The shape of the house: who may import whom, and that the errors are all drawn."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from auditor import errors

PACKAGE = Path(errors.__file__).parent
# A module imports only from rooms above its own.
ROOMS = (
    ("errors", "data", "progress", "memory", "limits"),
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
    ("findings", "selection", "verify"),
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


def test_every_error_is_drawn_in_the_docstring_and_explained() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    assert all(issubclass(kind, errors.AuditError) and kind.__doc__ for kind in kinds)
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in kinds)


def test_no_file_names_a_registry_of_packages_or_this_machine() -> None:
    root = PACKAGE.parent
    lock = (root / "requirements.lock").read_text()
    assert "://" not in lock and "--index-url" not in lock and "--find-links" not in lock
