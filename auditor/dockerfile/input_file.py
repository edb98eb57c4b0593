"""Reading the files of a build that people write by hand, which are small."""

from __future__ import annotations

from pathlib import Path

from auditor.core.errors import DockerfileError

MAX_BYTES = 1 << 20


def read_small(path: Path) -> bytes:
    """Return a file's bytes. Raises DockerfileError where it can't be read or is larger than MAX_BYTES."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise DockerfileError(f"{path}: can't be read: {exc.strerror}") from exc
    if len(data) > MAX_BYTES:
        raise DockerfileError(f"{path}: larger than {MAX_BYTES} bytes; no such file is")
    return data
