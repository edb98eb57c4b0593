"""Work folders: hidden folders beside a result, in which a run makes it before it is renamed to its place.

Each is removed when the run is done with it. A run that is killed leaves it, and the next run that works in the same
place removes it: a lock (flock) on a work folder tells that its owner lives, and the kernel gives it up with the owner.
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
"""The work folders of this process."""
_swept: set[str] = set()
"""Folders in which this process has looked for work folders of dead runs."""


@contextmanager
def work_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a work folder in `parent`, or where temporary files lie, and remove it afterwards. Raises OSError."""
    place = Path(tempfile.gettempdir() if parent is None else parent).absolute()
    _sweep(place)
    folder = place / (_PREFIX + secrets.token_hex(8))
    lock = None
    _own.add(folder)  # before it is there, so that no signal comes between
    try:
        lock = _made(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _own.discard(folder)
        if lock is not None:
            os.close(lock)


@contextmanager
def whole(path: Path, mode: int) -> Iterator[IO[bytes]]:
    """Give a file to write to, and rename it to `path` in the end: no reader sees half of it. Raises OSError."""
    with work_folder(path.parent) as folder:
        temporary = folder / "file"
        with temporary.open("wb") as out:
            yield out
        temporary.chmod(mode)
        temporary.replace(path)


def remove_own() -> None:
    """Remove all work folders of this process: it is about to end without leaving them in order."""
    for folder in list(_own):
        shutil.rmtree(folder, ignore_errors=True)
        _own.discard(folder)


def _sweep(place: Path) -> None:
    """Remove the work folders of dead runs in a place, once a process. What can't be is left."""
    if str(place) in _swept:
        return
    _swept.add(str(place))
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                _remove_dead(Path(entry.path))


def _remove_dead(folder: Path) -> None:
    """Remove a work folder of ours whose owner holds no lock on it any more."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, _FOLDER)
        try:
            if os.fstat(descriptor).st_uid == os.geteuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


def _made(folder: Path) -> int | None:
    """Make and lock a work folder; None where the file system has no locks, and so no run takes it for a dead one's.

    A run that comes between making and locking may remove it: then it is made again. Raises OSError.
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
