"""Files that ship with the program: they lie in a wheel inside the package, in a checkout beside it."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def data_path(name: str) -> Path:
    """Return the path of `rules`, `reports/templates/…` and the like."""
    packed = _PACKAGE / "_data" / name
    return packed if packed.exists() else _PACKAGE.parent / name
