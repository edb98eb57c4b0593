"""The cache folder, and files in it that are never seen half-written and never believed when damaged."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

_MAGIC = b"image-audit cache 1\n"


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


def read_kept(path: Path) -> bytes | None:
    """Return what `keep` wrote; None where there is nothing, or it is damaged or another user's."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            data = file.read()
    except OSError:
        return None
    head = len(_MAGIC) + 32
    payload = data[head:]
    whole = data.startswith(_MAGIC) and data[len(_MAGIC) : head] == hashlib.sha256(payload).digest()
    return payload if whole else None


def keep(path: Path, payload: bytes) -> None:
    """Write a cache file; a cache that can't be written is no error."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as out:
            temporary = Path(out.name)
            try:
                out.write(_MAGIC + hashlib.sha256(payload).digest() + payload)
                out.close()
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
