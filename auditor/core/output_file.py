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
    with open_output(path, 0o600 if private else 0o666 & ~_umask()) as out:
        out.write(text.encode())


@contextmanager
def open_output(path: Path, mode: int) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` and rename it to `path` on success.

    Raises UsageError if the file can't be written, or if `path` is a device or a pipe.
    """
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: not a regular file; -o needs one")
    try:
        with atomic_files.atomic_write(path, mode) as out:
            yield out
    except OSError as exc:
        raise UsageError(f"{path}: can't be written: {exc.strerror}") from exc


def create_text(path: Path, text: str, root: Path) -> bool:
    """Write a new file below `root`, and the folders above it. Return whether it was written; False if it exists.

    Raises UsageError, also where a symbolic link leads out of `root`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.resolve().is_relative_to(root.resolve()):
            raise UsageError(f"{path}: a symbolic link leads out of {root}; write the file yourself")
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as exc:
        raise UsageError(f"{path}: can't be written: {exc.strerror}") from exc
    return True


def replace_text(path: Path, text: str, root: Path) -> None:
    """Write a file of a folder atomically, with its former mode. Its symbolic links may not leave the folder.

    Raises UsageError.
    """
    target = path.resolve()
    if path.is_symlink() and not target.is_relative_to(root.resolve()):
        raise UsageError(f"{path}: is a symbolic link to a file outside of {root}; write that file yourself")
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    with open_output(target, mode) as out:
        out.write(text.encode("utf-8", "surrogateescape"))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
