"""Data files of the program: inside the package in a wheel, beside it in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def data_path(name: str) -> Path:
    """Return the path of a data file or folder, such as `rules` or `reports/templates`."""
    packed = _PACKAGE / "_data" / name
    return packed if packed.exists() else _PACKAGE.parent / name
