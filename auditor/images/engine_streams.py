"""Streams of a Docker engine: the export of an image, and bytes that arrive in chunks."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import BinaryIO

import docker

from auditor.codec.compression import decompressed
from auditor.core.errors import NotFound
from auditor.core.limits import Limits
from auditor.images.engine import WHOLE_IMAGE_TIMEOUT_S, engine, engine_errors

CHUNK = 1 << 21
"""Bytes that one read of an engine's stream asks for."""


@contextmanager
def saved_image(image_id: str, limits: Limits) -> Iterator[BinaryIO]:
    """Stream an image as `docker save` writes it. Raises NotFound, Unreachable."""
    with engine(WHOLE_IMAGE_TIMEOUT_S) as client:
        try:
            chunks = client.api.get_image(image_id, chunk_size=CHUNK)
            first = next(chunks, b"")  # the request is sent here
        except docker.errors.NotFound:
            raise NotFound(f"image {image_id} was removed from the engine before it was exported") from None
        with io.BufferedReader(ChunkStream(chain((first,), chunks)), 1 << 16) as stream:
            yield decompressed(stream, limits)


class ChunkStream(io.RawIOBase):
    """A stream over an iterator of bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            with engine_errors():  # the reader may be outside of the connection's own context
                chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        memoryview(buffer)[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
