"""Atomic writes: a result is written in a hidden work folder beside its path, and renamed.

A work folder is removed at the end of its run. A killed run leaves it; the next run in the same folder removes it. The
owner of a work folder holds a lock (flock) on it, which the kernel releases when the process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_PREFIX = ".image-audit-work-"
_NAME = re.compile(re.escape(_PREFIX) + r"[0-9a-f]{16}")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_own: set[Path] = set()
"""Work folders of this process."""
_cleaned: set[str] = set()
"""Folders that this process has cleaned of abandoned work folders."""


@contextmanager
def work_folder(parent: Path | None = None) -> Iterator[Path]:
    """Create a work folder in `parent`, or in the folder for temporary files; remove it at exit. Raises OSError."""
    place = Path(tempfile.gettempdir() if parent is None else parent).absolute()
    _remove_abandoned(place)
    folder = place / (_PREFIX + secrets.token_hex(8))
    lock = None
    _own.add(folder)  # before it exists, so that a signal in between leaves nothing
    try:
        lock = _create_locked(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _own.discard(folder)
        if lock is not None:
            os.close(lock)


@contextmanager
def atomic_write(path: Path, mode: int) -> Iterator[IO[bytes]]:
    """Open a temporary file, and rename it to `path` on success: readers never see a partial file. Raises OSError."""
    with work_folder(path.parent) as folder:
        temporary = folder / "file"
        with temporary.open("wb") as out:
            yield out
        temporary.chmod(mode)
        temporary.replace(path)


def remove_own_folders() -> None:
    """Remove all work folders of this process, before it ends without cleanup."""
    for folder in list(_own):
        shutil.rmtree(folder, ignore_errors=True)
        _own.discard(folder)


def _remove_abandoned(place: Path) -> None:
    """Remove abandoned work folders in a folder, once per process, as far as permissions allow."""
    if str(place) in _cleaned:
        return
    _cleaned.add(str(place))
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                _remove_unlocked(Path(entry.path))


def _remove_unlocked(folder: Path) -> None:
    """Remove a work folder of this user that no process holds a lock on."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, _FOLDER)
        try:
            if os.fstat(descriptor).st_uid == os.geteuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


def _create_locked(folder: Path) -> int | None:
    """Create and lock a work folder; return the descriptor of the lock, None on a file system without locks.

    Another process may remove the folder before it is locked: then it is created again. Without locks no process
    removes it. Raises OSError.
    """
    while True:
        folder.mkdir(mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder, _FOLDER)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError:
                os.close(descriptor)
                return None
            if os.fstat(descriptor).st_nlink:
                return descriptor
            os.close(descriptor)
