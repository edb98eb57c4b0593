"""Check the structure of the package: `python -m tools.structure` prints each figure with its limit.

Exit code 1 where a limit is exceeded, with the places. The order of packages is that of docs/design.md.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "auditor"
ORDER = (
    "core", "codec", "registry", "images", "layers", "detect", "rulebook", "extract", "provenance", "published", "scan",
    "store", "findings", "verify", "advice", "pipeline", "rebuild", "attest", "report", "dockerfile", "config", "api",
    "explore", "fleet", "hook", "cli", "__main__",
)  # fmt: skip
"""Packages, and modules at the root. A module imports from its own package and from those before it."""
AT_ROOT = frozenset({"__init__", "__main__", "pipeline"})
RIDDLES = re.compile(
    r"\b(what|whose|whoever|whatever|anew|nobody|of these|there is no|such a|thing|things)\b", re.IGNORECASE
)
"""Words that replace a noun of the field; docs/glossary.md has the nouns."""
_UNTYPED = re.compile(r"\b(?:given|options|settings|params|kwargs)(?:\[\"|\['|\.get\()")


@dataclass(frozen=True, slots=True)
class Module:
    """A module by its dotted name within the package, with its source and syntax tree."""

    name: str
    path: Path
    source: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """First part of the name: a package, or a module at the root."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Figure:
    """A count with its limit, and the places that make it up."""

    title: str
    value: float
    limit: float
    places: Sequence[str]
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether the count is within its limit."""
        return self.value <= self.limit


def modules(package: Path = PACKAGE) -> dict[str, Module]:
    """Read every module of a package, by its dotted name without the package's own."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        source = path.read_text()
        found[name] = Module(name, path, source, ast.parse(source))
    return found


def imports(module: Module, known: Mapping[str, Module]) -> Iterator[tuple[str, ast.stmt, bool]]:
    """Yield the modules of the package that a module imports, the statement, and whether type checkers alone see it."""
    for node, checked in _import_statements(module.tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            target = _module(name, known)
            if target is not None:
                yield target, node, checked


def _import_statements(tree: ast.AST, checked: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, checked
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                yield from _import_statements(ast.Module([child], []), True)
            for child in node.orelse:
                yield from _import_statements(ast.Module([child], []), checked)
        else:
            yield from _import_statements(node, checked)


def _module(dotted: str, known: Mapping[str, Module]) -> str | None:
    """Return the module that an imported name belongs to; None for one of another package."""
    first, _, rest = dotted.partition(".")
    if first != PACKAGE.name:
        return None
    while rest:
        if rest in known:
            return rest
        rest = rest.rpartition(".")[0]
    return "__init__"


def cycle(known: Mapping[str, Module]) -> Figure:
    """Count import cycles, those of type checkers included."""
    graph = {name: {target for target, _, _ in imports(module, known)} - {name} for name, module in known.items()}
    graph["__init__"] = set()  # it imports lazily, and no module may import from it (`upward` counts that)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        return Figure("import cycles", 1, 0, [" -> ".join(exc.args[1])])
    return Figure("import cycles", 0, 0, [])


def upward(known: Mapping[str, Module]) -> Figure:
    """Count imports from a package that is later in the order."""
    rank = {name: number for number, name in enumerate(ORDER)}
    places = []
    for name, module in known.items():
        if name == "__init__":
            continue
        for target, node, _ in imports(module, known):
            own, used = module.package, target.partition(".")[0]
            if rank.get(used, len(ORDER)) > rank.get(own, -1):
                places.append(f"{_place(module, node)}: {own} imports {target}")
    return Figure("imports from a later package", len(places), 0, places)


def roots(known: Mapping[str, Module]) -> Figure:
    """Count modules at the root beyond those allowed."""
    extra = [str(m.path) for m in known.values() if m.path.parent == PACKAGE and m.path.stem not in AT_ROOT]
    return Figure("modules at the root", len(extra), 0, extra)


def inner_imports(known: Mapping[str, Module]) -> tuple[Figure, Figure]:
    """Count imports inside functions, and those without a comment that gives the reason."""
    places, bare = [], []
    for module in known.values():
        lines = module.source.splitlines()
        for node in _in_functions(module.tree):
            places.append(_place(module, node))
            near = lines[max(0, node.lineno - 2) : node.end_lineno]
            if not any("#" in line for line in near) and not _follows_reason(lines, node.lineno):
                bare.append(_place(module, node))
    return (
        Figure("imports inside functions", len(places), 60, places),
        Figure("of them without a reason", len(bare), 0, bare),
    )


def _follows_reason(lines: Sequence[str], number: int) -> bool:
    """Whether a comment heads the run of imports that ends before line `number`, from 1."""
    at = number - 2
    while at >= 0 and re.match(r"\s*(from|import) ", lines[at]):
        at -= 1
    return at >= 0 and lines[at].lstrip().startswith("#")


def _in_functions(tree: ast.Module) -> Iterator[ast.stmt]:
    found: dict[int, ast.stmt] = {}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    found[node.lineno] = node
    return iter(found[line] for line in sorted(found))


def module_names(known: Mapping[str, Module]) -> Figure:
    """Count module names that three packages or more have, `cli/` aside."""
    homes: dict[str, set[str]] = defaultdict(set)
    for module in known.values():
        if module.package != "cli" and module.path.stem != "__init__":
            homes[module.path.stem].add(str(module.path.parent))
    shared = [f"{name}: {', '.join(sorted(where))}" for name, where in sorted(homes.items()) if len(where) > 2]
    return Figure("module names in three packages", len(shared), 0, shared)


def class_names(known: Mapping[str, Module]) -> Figure:
    """Count names of public classes that are used twice."""
    homes: dict[str, list[str]] = defaultdict(list)
    for module in known.values():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(_place(module, node))
    shared = [f"{name}: {', '.join(where)}" for name, where in sorted(homes.items()) if len(where) > 1]
    return Figure("public class names used twice", len(shared), 3, shared)


def untyped(known: Mapping[str, Module]) -> Figure:
    """Count look-ups of options by a text."""
    places = [
        f"{module.path}:{number}: {line.strip()}"
        for module in known.values()
        for number, line in enumerate(module.source.splitlines(), 1)
        for _ in _UNTYPED.findall(line)
    ]
    return Figure("untyped option look-ups", len(places), 10, places)


def docstrings(known: Mapping[str, Module]) -> Figure:
    """Return the share of docstrings whose first paragraph has a word that replaces a noun."""
    total, places = 0, []
    for module in known.values():
        for place, text in _docstrings(module):
            total += 1
            first = text.strip().partition("\n\n")[0]
            if RIDDLES.search(first):
                places.append(f"{place}: {' '.join(first.split())}")
    return Figure("docstrings to rewrite", round(100 * len(places) / max(1, total), 1), 3, places, " %")


def _docstrings(module: Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield f"{module.path}:{getattr(node, 'lineno', 1)}", text


def package_docstrings(known: Mapping[str, Module]) -> Figure:
    """Count packages without a docstring that says their responsibility."""
    bare = [
        str(module.path)
        for module in known.values()
        if module.path.stem == "__init__" and len(ast.get_docstring(module.tree) or "") < 30
    ]
    return Figure("packages without a docstring", len(bare), 0, bare)


def _place(module: Module, node: ast.AST) -> str:
    return f"{module.path.relative_to(PACKAGE.parent)}:{getattr(node, 'lineno', 1)}"


def figures(known: Mapping[str, Module]) -> list[Figure]:
    """Return every figure, in the order in which they are printed."""
    return [
        cycle(known),
        upward(known),
        roots(known),
        *inner_imports(known),
        module_names(known),
        class_names(known),
        untyped(known),
        docstrings(known),
        package_docstrings(known),
    ]


def main(arguments: Sequence[str]) -> int:
    """Print the figures, and the places of each that exceeds its limit.

    `-v` prints all places; further arguments are the packages to print places of.
    """
    known = modules()
    found = figures(known)
    only = [argument for argument in arguments if not argument.startswith("-")]
    for figure in found:
        print(f"{figure.title:<34} {figure.value:>6g}{figure.unit:<2} limit {figure.limit:g}{figure.unit}")
        if not figure.holds or "-v" in arguments:
            places = [place for place in figure.places if not only or any(f"auditor/{name}" in place for name in only)]
            print(*(f"  {place.replace(f'{PACKAGE.parent}/', '')}" for place in places), sep="\n")
    largest = Counter({name: module.source.count("\n") for name, module in known.items()}).most_common(1)
    print(f"modules: {len(known)}, the longest {largest[0][0]} with {largest[0][1]} lines")
    return 0 if all(figure.holds for figure in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
