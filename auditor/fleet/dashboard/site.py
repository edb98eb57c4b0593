"""The folder of the site. Each file is written beside its place and renamed; what is not ours is left alone.

A manifest in the folder names our files. It is written before them, so that a run that was killed leaves none behind
that the next one would not know.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from auditor.core.errors import UsageError
from auditor.core.output_file import write_output
from auditor.fleet.dashboard.site_paths import is_site_file

MANIFEST = ".image-audit-site.json"
SCHEMA = "image-audit-site/1"
_FOLDERS = ("", "images", "secrets", "csv")


class Site:
    """A site that is being written: see `opened`."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, frozenset(names)
        self._before = _own_files(folder)

    def begin(self) -> None:
        """Claim the names. Raises UsageError where one is somebody else's file."""
        for name in sorted(self._names - self._before):
            if os.path.lexists(self._folder / name):
                raise UsageError(f"--report {self._folder}: {name} is there, and image-audit did not write it")
        self._keep(self._before | self._names)
        for name in _FOLDERS:
            (self._folder / name).mkdir(exist_ok=True)
        self._remove_halves()

    def write(self, name: str, text: str) -> None:
        """Write one of the names."""
        write_output(self._folder / name, text)

    def end(self) -> None:
        """Remove the files of earlier runs that are no longer part of the site."""
        for name in self._before - self._names:
            (self._folder / name).unlink(missing_ok=True)
        self._keep(self._names)

    def _remove_halves(self) -> None:
        """Remove what a killed run was just writing: `.NAME.RANDOM` beside NAME."""
        for name in _FOLDERS:
            for path in (self._folder / name).glob(".*.????????"):
                target = path.name[1:-9]
                if target == MANIFEST or is_site_file(f"{name}/{target}".lstrip("/")):
                    path.unlink()

    def _keep(self, names: frozenset[str]) -> None:
        document = {"schema": SCHEMA, "files": sorted(names)}
        write_output(self._folder / MANIFEST, json.dumps(document, indent=1) + "\n")


def check_folder(folder: Path) -> None:
    """Raise UsageError where a folder can't become a site, as far as that shows without writing."""
    try:
        if os.path.lexists(folder):
            _own_files(folder)
    except OSError as exc:
        raise UsageError(f"--report {folder}: can't be used: {exc.strerror}") from exc


@contextmanager
def open_site(folder: Path, names: Sequence[str]) -> Iterator[Site]:
    """Give a folder to write a site of these files to; one process does at a time, others wait.

    Raises UsageError where the folder can't be written, or holds other people's files.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            site = Site(folder, names)
            site.begin()
            yield site
            site.end()
    except OSError as exc:
        raise UsageError(f"--report {folder}: can't be written: {exc.strerror}") from exc


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some network file systems know no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _own_files(folder: Path) -> frozenset[str]:
    """Return the files that earlier runs wrote. Raises UsageError where there is anything, and no manifest."""
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = document["files"] if document["schema"] == SCHEMA else None
    except FileNotFoundError:
        if any(path.name[:-9] != f".{MANIFEST}" for path in folder.iterdir()):
            raise UsageError(
                f"--report {folder}: holds files that image-audit did not write; name an empty or new folder"
            ) from None
        return frozenset()
    except (ValueError, KeyError, TypeError):
        files = None
    if not isinstance(files, list) or not all(isinstance(name, str) and is_site_file(name) for name in files):
        raise UsageError(f"--report {folder}: {MANIFEST} is damaged; name another folder, or empty this one")
    return frozenset(files)
