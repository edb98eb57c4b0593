"""The cache folder: its key, and files in it that are never seen half-written and never believed when damaged.

All is the user's alone. A key or a file that belongs to another user is not believed: others may be able to write to
the folder. Against programs of the same user nothing here protects.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import IO

from auditor.core.atomic_files import whole

KEY_NAME = "key"
_KEY_BYTES = 32
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAGIC = b"image-audit cache 2\n"


def cache_folder() -> Path:
    """Return the user's cache folder for this program: XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base and Path(base).is_absolute() else home() / ".cache"
    return root / "image-audit"


def home() -> Path:
    """Return the user's home; `/`, as container engines say, where neither HOME nor the list of users has one."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def folder_key(folder: Path, *, new: bool = False) -> bytes:
    """Return the key of a cache folder, which is made where there is none, or where a new one is wanted.

    A key that others could read is replaced. Raises OSError where the folder can't be written to, PermissionError where
    the key belongs to another user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / KEY_NAME
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600), "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # of two processes one makes the key
        status = os.fstat(file.fileno())
        check_owner(path, status)
        key = None if new else _private_key(file)
        if key is None:
            if status.st_nlink > 1:
                raise PermissionError(f"{path} has a second name, perhaps as a file that is no key")
            key = secrets.token_bytes(_KEY_BYTES)
            os.fchmod(file.fileno(), 0o600)
            file.truncate(0)
            file.seek(0)
            file.write(key)
        return key


def check_owner(path: Path, status: os.stat_result) -> None:
    """Raise PermissionError unless a file is a plain one of this user."""
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to another user, or is no plain file")


def read_kept(path: Path) -> bytes | None:
    """Return what `keep` wrote; None where there is nothing, or it is damaged, renamed or another user's."""
    try:
        with path.open("rb") as file:
            check_owner(path, os.fstat(file.fileno()))
            data = file.read()
    except OSError:
        return None
    head = len(_MAGIC) + 32
    payload = data[head:]
    whole = data.startswith(_MAGIC) and data[len(_MAGIC) : head] == _sum(path.name, payload)
    return payload if whole else None


def keep(path: Path, payload: bytes) -> None:
    """Write a cache file; a cache that can't be written is no error."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with whole(path, 0o600) as out:
            out.write(_MAGIC + _sum(path.name, payload) + payload)


def _sum(name: str, payload: bytes) -> bytes:
    """Return a checksum that holds under one name: names are keys."""
    return hashlib.sha256(name.encode() + b"\0" + payload).digest()


def _private_key(file: IO[bytes]) -> bytes | None:
    """Return the key in a file that others may neither read nor write."""
    key = file.read(_KEY_BYTES + 1)
    private = not os.fstat(file.fileno()).st_mode & 0o077
    return key if private and len(key) == _KEY_BYTES else None
