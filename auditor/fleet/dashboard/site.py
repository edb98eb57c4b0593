"""The folder of the site. Each file is written to a temporary name and renamed; files of other programs stay.

A manifest in the folder lists the files of the site. It is written first, so that the next run can remove the files of
a killed one.
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
from auditor.fleet.dashboard.site_paths import FOLDERS, is_site_file

MANIFEST = ".image-audit-site.json"
SCHEMA = "image-audit-site/1"
_FOLDERS = ("", *FOLDERS)


class Site:
    """A site during writing: see `open_site`."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, frozenset(names)
        self._before = _own_files(folder)

    def begin(self) -> None:
        """Claim the paths. Raises UsageError if another program's file has one of them."""
        for name in sorted(self._names - self._before):
            if os.path.lexists(self._folder / name):
                raise UsageError(
                    f"--report {self._folder}: {name} exists, and image-audit did not write it. Name another folder."
                )
        self._keep(self._before | self._names)
        for name in _FOLDERS:
            (self._folder / name).mkdir(exist_ok=True)
        self._remove_temporary_files()

    def write(self, name: str, text: str) -> None:
        """Write one of the files."""
        write_output(self._folder / name, text)

    def end(self) -> None:
        """Remove files of earlier runs that are no longer part of the site."""
        for name in self._before - self._names:
            (self._folder / name).unlink(missing_ok=True)
        self._keep(self._names)

    def _remove_temporary_files(self) -> None:
        """Remove the temporary files of a killed run: `.NAME.RANDOM` beside NAME."""
        for name in _FOLDERS:
            for path in (self._folder / name).glob(".*.????????"):
                target = path.name[1:-9]
                if target == MANIFEST or is_site_file(f"{name}/{target}".lstrip("/")):
                    path.unlink()

    def _keep(self, names: frozenset[str]) -> None:
        document = {"schema": SCHEMA, "files": sorted(names)}
        write_output(self._folder / MANIFEST, json.dumps(document, indent=1) + "\n")


def check_folder(folder: Path) -> None:
    """Raise UsageError if a folder can't hold a site, as far as that is visible without writing."""
    try:
        if os.path.lexists(folder):
            _own_files(folder)
    except OSError as exc:
        raise UsageError(f"--report {folder}: can't be used: {exc.strerror}") from exc


@contextmanager
def open_site(folder: Path, names: Sequence[str]) -> Iterator[Site]:
    """Open a folder for writing these files; other processes wait meanwhile.

    Raises UsageError if the folder can't be written, or holds files of other programs.
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
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _own_files(folder: Path) -> frozenset[str]:
    """Return the files of earlier runs. Raises UsageError if the folder has files but no manifest."""
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = document["files"] if document["schema"] == SCHEMA else None
    except FileNotFoundError:
        if any(path.name[:-9] != f".{MANIFEST}" for path in folder.iterdir()):
            raise UsageError(
                f"--report {folder}: contains files that image-audit did not write. Name an empty or new folder."
            ) from None
        return frozenset()
    except (ValueError, KeyError, TypeError):
        files = None
    if not isinstance(files, list) or not all(isinstance(name, str) and is_site_file(name) for name in files):
        raise UsageError(f"--report {folder}: {MANIFEST} is damaged. Name another folder, or empty this one.")
    return frozenset(files)
