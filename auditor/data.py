"""Files that ship with the program, and its own code.

The former lie in a wheel inside the package, in a checkout beside it.
"""

import functools
import hashlib
from pathlib import Path

_PACKAGE = Path(__file__).parent


def data_path(name: str) -> Path:
    """Return the path of `rules`, `reports/templates/…` and the like."""
    packed = _PACKAGE / "_data" / name
    return packed if packed.exists() else _PACKAGE.parent / name


@functools.cache
def code_digest(*rooms: str) -> str:
    """Return a digest of the code in some rooms of the package: what they made holds until it changes."""
    files = (path for room in rooms for path in sorted((_PACKAGE / room).glob("*.py")))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
