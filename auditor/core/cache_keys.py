"""Cache keys: digests of the code, data and libraries that a cached value depends on.

    Producer  modules and libraries that produce one kind of value
    RULES     parsed rules, compiled rules
    RECORDS   layer records, digests of uncompressed blobs, digests of file slices
    VERDICTS  clean results of the hook
    AUDITS    audits in the store of sweeps

`modules` are files and folders of the package: the import closure of the function that produces the value, with imports
within functions. All files of a folder count, data files too. tests/store/test_keys.py computes and compares the
closures. The content of the files is hashed, not their times; this takes 3 ms.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import sqlite3
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from auditor.core.dataclass import dataclass

PACKAGE = Path(__file__).parents[1]
_DISTRIBUTION = re.compile(r"(.+)-(.+)\.dist-info")


@dataclass(frozen=True, slots=True)
class Producer:
    """Producer of one kind of cached value: modules, and libraries by the names of their distributions."""

    modules: tuple[str, ...]
    libraries: tuple[str, ...]

    @property
    def key(self) -> str:
        """Digest of code, data, and the versions of Python and libraries."""
        return _key(self)

    @property
    def versions(self) -> tuple[tuple[str, str], ...]:
        """Names and versions of Python, of the C libraries in it that read images, and of the distributions."""
        python = ".".join(map(str, sys.version_info))
        own = (
            (sys.implementation.name, python),
            ("sqlite", sqlite3.sqlite_version),
            ("zlib", zlib.ZLIB_RUNTIME_VERSION),
        )
        return (*own, *((library, version_of(library)) for library in self.libraries))

    def files(self) -> Iterator[str]:
        """Yield the files of the modules in a fixed order, data files too, as paths in the package."""
        for name in self.modules:
            if (PACKAGE / name).is_file():
                yield name
            for folder, folders, names in os.walk(PACKAGE / name):
                folders[:] = sorted(one for one in folders if one != "__pycache__")
                inner = os.path.relpath(folder, PACKAGE)
                yield from (f"{inner}/{one}" for one in sorted(names))


@functools.cache
def _key(producer: Producer) -> str:
    state = hashlib.sha256(repr(producer.versions).encode())
    for name in producer.files():
        state.update(_of_file(name))
    return state.hexdigest()


@functools.cache
def _of_file(name: str) -> bytes:
    """Return a digest of a file's path in the package and its content."""
    head = os.fsencode(name)
    with open(f"{PACKAGE}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - a Path takes twice the time
        return hashlib.sha256(len(head).to_bytes(8, "big") + head + file.readall()).digest()


def version_of(library: str) -> str:
    """Return the version of a distribution; an empty text if it is not installed."""
    known = _installed().get(_normalized(library))
    if known is not None:
        return known
    from importlib import metadata  # 15 ms, for distributions without a .dist-info folder

    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""


@functools.cache
def _installed() -> dict[str, str]:
    """Return versions by normalized name, from the names of .dist-info folders: binary distribution format, PyPA."""
    found: dict[str, str] = {}
    for folder in map(Path, sys.path):
        with contextlib.suppress(OSError):
            for entry in sorted(path.name for path in folder.iterdir()):
                if match := _DISTRIBUTION.fullmatch(entry):
                    found.setdefault(_normalized(match[1]), match[2])
    return found


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


_COMMON = ("__init__.py", "core")
_RULES = (*_COMMON, "detect", "registry/__init__.py", "registry/address_classes.py")
_RECORDS = (
    *_RULES, "codec", "extract", "images/__init__.py", "images/source.py", "layers",
    "provenance", "published", "scan", "store",
)  # fmt: skip
_PIPELINE = (
    *_COMMON, "advice", "codec", "config", "detect", "extract", "findings", "images", "layers", "pipeline.py",
    "provenance", "published", "registry", "report", "scan", "store",
)  # fmt: skip

_DETECTORS = ("detect-secrets", "hyperscan", "pathspec", "PyYAML")
_CODECS = (
    "backports.zstd", "brotli", "inflate64", "isal", "multivolumefile", "psutil", "py7zr", "pybcj", "pycryptodomex",
    "pyppmd", "pysequoia", "texttable", "zstandard",
)  # fmt: skip
_CLIENTS = ("docker", "requests", "urllib3")

RULES = Producer(_RULES, _DETECTORS)
RECORDS = Producer(_RECORDS, (*_DETECTORS, *_CODECS))
VERDICTS = Producer((*_PIPELINE, "dockerfile", "hook"), (*_DETECTORS, *_CODECS, *_CLIENTS))
AUDITS = Producer(
    (*_PIPELINE, "fleet"), (*_DETECTORS, *_CODECS, *_CLIENTS, "alembic", "cachetools", "psycopg2-binary", "SQLAlchemy")
)
