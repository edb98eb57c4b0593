"""Cache folder: its key, and checksummed files that are written atomically.

Key and files are private to the user. Those that belong to another user are ignored, because the folder may be writable
by others. There is no protection against programs of the same user.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar

from auditor.core.atomic_files import atomic_write

KEY_NAME, RULES_LOCK = "key", "rules.lock"
_KEY_BYTES = 32
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAGIC = b"image-audit cache 2\n"
T = TypeVar("T")


def cache_folder() -> Path:
    """Return the user's cache folder for this program: XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base and Path(base).is_absolute() else home() / ".cache"
    return root / "image-audit"


def config_home() -> Path:
    """Return the folder of the user's settings: XDG base directory specification."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return Path(base) if base and Path(base).is_absolute() else home() / ".config"


def home() -> Path:
    """Return the user's home folder; without one `/`, as container engines do."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def folder_key(folder: Path, *, new: bool = False) -> bytes:
    """Return the key of a cache folder; create it if it is missing, readable by others, or if `new` is set.

    Raises OSError if the folder is not writable, PermissionError if the key belongs to another user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / KEY_NAME
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600), "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # one of several processes creates the key
        status = os.fstat(file.fileno())
        check_owner(path, status)
        key = None if new else _private_key(file)
        if key is None:
            if status.st_nlink > 1:
                raise PermissionError(f"{path} has a second hard link, perhaps to a file that is no key")
            key = secrets.token_bytes(_KEY_BYTES)
            os.fchmod(file.fileno(), 0o600)
            file.truncate(0)
            file.seek(0)
            file.write(key)
        return key


def check_owner(path: Path, status: os.stat_result) -> None:
    """Raise PermissionError unless a file is a regular file of this user."""
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to another user, or is not a regular file")


def read_cache_file(path: Path) -> bytes | None:
    """Return the payload of a cache file; None if it is missing, damaged, renamed, or of another user."""
    try:
        with path.open("rb", buffering=0) as file:  # compiled rules are 6 MB: one copy less
            check_owner(path, os.fstat(file.fileno()))
            head, payload = file.read(len(_MAGIC) + 32), file.readall()
    except OSError:
        return None
    return payload if head == _MAGIC + _sum(path.name, payload) else None


def write_cache_file(path: Path, payload: bytes) -> None:
    """Write a cache file, if the folder is writable."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_write(path, 0o600) as out:
            out.write(_MAGIC + _sum(path.name, payload) + payload)


def read_or_make(read: Callable[[], T | None], make: Callable[[], T], lock: Path | None) -> T:
    """Return what `read` finds, or else what `make` makes: one process at a time where `lock` can be locked.

    Processes that start together wait for the first one, and read what it made.
    """
    found = read()
    if found is None:
        with _locked(lock) if lock else contextlib.nullcontext():
            found = read()
            if found is None:
                found = make()
    return found


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; none where the file can't be written, or belongs to another user, who may keep it."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = stack.enter_context(os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600), "r+b"))
            check_owner(path, os.fstat(file.fileno()))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sum(name: str, payload: bytes) -> bytes:
    """Return a checksum of name and payload, because names are keys."""
    state = hashlib.sha256(name.encode() + b"\0")
    state.update(payload)
    return state.digest()


def _private_key(file: IO[bytes]) -> bytes | None:
    """Return the key in a file; None if others can read or write it, or if it has another size."""
    key = file.read(_KEY_BYTES + 1)
    private = not os.fstat(file.fileno()).st_mode & 0o077
    return key if private and len(key) == _KEY_BYTES else None
