"""Output files of commands: complete or absent, with a message for the user where writing fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from auditor.core import atomic_files
from auditor.core.errors import UsageError


def write_output(path: Path, text: str, *, private: bool = False) -> None:
    """Write a text atomically; a private file is readable by its owner alone. Raises UsageError."""
    with open_output(path, 0o600 if private else default_mode()) as out:
        out.write(text.encode())


@contextmanager
def open_output(path: Path, mode: int) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` and rename it to `path` on success.

    Raises UsageError if the file can't be written, or if `path` is a device or a pipe.
    """
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: not a regular file. Choose another path")
    try:
        with atomic_files.atomic_write(path, mode) as out:
            yield out
    except OSError as exc:
        raise UsageError(f"{path}: can't be written: {exc.strerror}") from exc


def require_writable(path: Path, option: str) -> None:
    """Check, before any work, that an option's file can be created or replaced. Raises UsageError."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: not a regular file, which {option} needs")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder")
    try:
        if not os.path.lexists(path):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            path.unlink()
        with atomic_files.work_folder(path.parent):
            pass
    except OSError as exc:
        raise UsageError(f"{path}: can't be written: {exc.strerror}") from exc


def create_text(path: Path, text: str, root: Path) -> bool:
    """Write a new file below `root`, and the folders above it. Return whether it was written; False if it exists.

    A symbolic link counts as an existing file. Raises UsageError, also where a link leads out of `root`.
    """
    if not _real(path.parent).is_relative_to(_real(root)):
        raise UsageError(f"{path}: a symbolic link leads out of {root}; write the file yourself")
    if os.path.lexists(path):
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:  # never replaces a file that another process wrote meanwhile
            file.write(text)
    except OSError as exc:
        raise UsageError(f"{path}: can't be written: {exc.strerror}") from exc
    return True


def replace_text(path: Path, text: str, root: Path) -> None:
    """Write a file of a folder atomically, with its former mode. Its symbolic links may not leave the folder.

    Raises UsageError.
    """
    target = _real(path)
    if path.is_symlink() and not target.is_relative_to(_real(root)):
        raise UsageError(f"{path}: is a symbolic link to a file outside of {root}; write that file yourself")
    mode = target.stat().st_mode & 0o777 if target.exists() else default_mode()
    with open_output(target, mode) as out:
        out.write(text.encode("utf-8", "surrogateescape"))


def _real(path: Path) -> Path:
    """Return the path without symbolic links. `Path.resolve` would raise RuntimeError on a loop of links."""
    return Path(os.path.realpath(path))


def default_mode() -> int:
    """Return the mode of a new file under the umask of this process."""
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask
