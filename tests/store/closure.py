"""The import closure of modules, by their source: imports within functions too, but not those for type checkers."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement

from auditor.core.cache_keys import PACKAGE


@dataclass(frozen=True)
class Closure:
    """Files of the package by their place in it, and the names of third-party modules."""

    files: frozenset[str]
    foreign: frozenset[str]


def closure(roots: Iterable[str]) -> Closure:
    """Follow the imports of some modules of the package."""
    files, foreign, todo = dict[str, Path](), set[str](), list(roots)
    while todo:
        name = todo.pop()
        if name.split(".")[0] != PACKAGE.name:
            foreign.add(name.split(".")[0])
            continue
        path = _path(name)
        if path is None or name in files:  # a name that a module defines, or a module that was followed
            continue
        files[name] = path
        todo += [name.rpartition(".")[0]] if "." in name else []
        todo += _imported(ast.parse(path.read_text()), name)
    own = frozenset(str(path.relative_to(PACKAGE)) for path in files.values())
    return Closure(own, frozenset(foreign - sys.stdlib_module_names))


def limits_read(files: Iterable[str]) -> set[str]:
    """Return the names of the limits that some files read, as `room.limits.members` or `current().members`."""
    trees = (ast.parse((PACKAGE / name).read_text()) for name in files if name.endswith(".py"))
    reads = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return {node.attr for node in reads if ast.unparse(node.value).endswith(("limits", "current()"))}


def named_distributions(modules: Iterable[str]) -> set[str]:
    """Return the distributions of some modules."""
    by_module = packages_distributions()
    return {canonical(name) for module in modules for name in by_module.get(module, ())}


def distributions(modules: Iterable[str], without: Iterable[str]) -> set[str]:
    """Return the distributions of some modules, and those that they require; of `without` neither."""
    left_out, found = set(map(canonical, without)), set[str]()
    todo = sorted(named_distributions(modules))
    while todo:
        name = canonical(todo.pop())
        if name in found or name in left_out:
            continue
        try:
            wanted = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:  # not needed here
            continue
        found.add(name)
        todo += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def canonical(name: str) -> str:
    """Return the name of a distribution as indexes compare it: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _path(name: str) -> Path | None:
    path = PACKAGE.parent.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((one for one in candidates if one.is_file()), None)


def _imported(tree: ast.AST, module: str) -> Iterator[str]:
    for node in _run(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{module}: imports are absolute"
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that may run."""
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        inner: Iterable[ast.AST] = node.orelse
    else:
        yield node
        inner = ast.iter_child_nodes(node)
    for child in inner:
        yield from _run(child)
