"""Read Dockerfiles and .dockerignore files, up to a size limit."""

from __future__ import annotations

from pathlib import Path

from auditor.core.errors import DockerfileError

MAX_BYTES = 1 << 20


def read_small(path: Path) -> bytes:
    """Return the bytes of a file. Raises DockerfileError if it can't be read or is larger than MAX_BYTES."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise DockerfileError(f"{path}: can't be read: {exc.strerror}") from exc
    if len(data) > MAX_BYTES:
        raise DockerfileError(f"{path}: larger than {MAX_BYTES} bytes. Is it a Dockerfile?")
    return data
