"""Cache keys: a digest of all that a kept value depends on besides what it was made of.

    Maker     the modules that make one kind of value, and the libraries that take part
    RULES     rules that were parsed, or compiled
    RECORDS   layer records, the digests of what blobs unpack to, the digests of slices
    VERDICTS  that the hook found nothing in an image
    AUDITS    what a sweep keeps of an image

`modules` are files and folders of the package: the import closure of the function that makes the value, imports within
functions included. Of a folder every file counts, so that data files do. tests/store/test_keys.py computes the closures
and compares. Content counts, not the times of files: to read and hash them takes 3 ms.
"""

from __future__ import annotations

import functools
import hashlib
import re
import sqlite3
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
_VERSION = re.compile(r"^Version: *(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Maker:
    """What makes one kind of kept value: modules, and libraries by the names of their distributions."""

    modules: tuple[str, ...]
    libraries: tuple[str, ...]

    @property
    def key(self) -> str:
        """The same text for the same code and data, Python, and versions of libraries."""
        return _key(self)

    @property
    def versions(self) -> tuple[tuple[str, str], ...]:
        """Names and versions of Python, of the libraries that its own modules read images with, and of all others."""
        python = ".".join(map(str, sys.version_info))
        own = (
            (sys.implementation.name, python),
            ("sqlite", sqlite3.sqlite_version),
            ("zlib", zlib.ZLIB_RUNTIME_VERSION),
        )
        return (*own, *((library, version_of(library)) for library in self.libraries))

    def files(self) -> Iterator[Path]:
        """Yield the files of the modules in a fixed order, data files too."""
        for name in self.modules:
            path = PACKAGE / name
            found = sorted(path.rglob("*")) if path.is_dir() else [path]
            yield from (one for one in found if "__pycache__" not in one.parts and not one.is_dir())


@functools.cache
def _key(maker: Maker) -> str:
    state = hashlib.sha256(repr(maker.versions).encode())
    for path in maker.files():
        state.update(_of_file(path))
    return state.hexdigest()


@functools.cache
def _of_file(path: Path) -> bytes:
    """Return a digest of a file's place in the package and of its content."""
    name = str(path.relative_to(PACKAGE)).encode()
    return hashlib.sha256(len(name).to_bytes(8, "big") + name + path.read_bytes()).digest()


def version_of(library: str) -> str:
    """Return the version of a distribution, an empty text where it is not installed."""
    try:  # metadata.version parses the readme too: 10 ms for all
        found = _VERSION.search(Distribution.from_name(library).read_text("METADATA") or "")
        return found[1] if found else Distribution.from_name(library).version
    except PackageNotFoundError:
        return ""


_COMMON = ("__init__.py", "core")
_RULES = (*_COMMON, "detect")
_RECORDS = (
    *_RULES, "codec", "extract", "images/__init__.py", "images/source.py", "layers",
    "provenance", "scan", "store",
)  # fmt: skip
_PIPELINE = (
    *_COMMON, "advice", "codec", "config", "detect", "extract", "findings", "images", "layers", "pipeline.py",
    "provenance", "registry", "report", "scan", "store",
)  # fmt: skip

_DETECTORS = ("detect-secrets", "hyperscan", "pathspec", "PyYAML")
_CODECS = (
    "backports.zstd", "brotli", "inflate64", "isal", "multivolumefile", "psutil", "py7zr", "pybcj", "pycryptodomex",
    "pyppmd", "texttable", "zstandard",
)  # fmt: skip
_CLIENTS = ("docker", "requests", "urllib3")

RULES = Maker(_RULES, _DETECTORS)
RECORDS = Maker(_RECORDS, (*_DETECTORS, *_CODECS))
VERDICTS = Maker((*_PIPELINE, "dockerfile", "hook"), (*_DETECTORS, *_CODECS, *_CLIENTS))
AUDITS = Maker((*_PIPELINE, "fleet"), (*_DETECTORS, *_CODECS, *_CLIENTS, "alembic", "cachetools", "SQLAlchemy"))
