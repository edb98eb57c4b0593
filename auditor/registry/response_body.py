"""Bodies of responses as streams of bounded length that resume after a broken connection."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError

from auditor.core.dataclass import dataclass
from auditor.core.errors import Temporary
from auditor.registry.connection import PIECE, BoundedResponse
from auditor.registry.http_session import innermost_cause
from auditor.registry.retry import RetryBudget


@dataclass(frozen=True, slots=True)
class RegistryResponse:
    """A complete response. `body` is empty if it is longer than the limit of error bodies."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    message: str
    """Status and error message of the registry, and the limit that was reached."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Continuation of a broken body: `reopen` opens its content from an offset, within the request's retry budget."""

    budget: RetryBudget
    reopen: Callable[[int], HTTPResponse]


class ResponseBody(io.RawIOBase):
    """The body of a response as sent; no Content-Encoding is decoded.

    `check` is called before each read, and may raise. Reads raise Temporary on a slow or broken connection that can't
    be resumed, and `too_long` after `limit` bytes.
    """

    def __init__(
        self,
        response: HTTPResponse,
        name: str,
        limit: int,
        too_long: Exception,
        check: Callable[[], None],
        resume: Resume | None = None,
    ) -> None:
        self._response, self._name, self._limit, self._too_long, self._check = response, name, limit, too_long, check
        self._resume = resume
        self._broken = False
        self._size = self._piece_start = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read the next bytes."""
        if self._resume is None:
            return self._read(buffer)
        return self._resume.budget.run(lambda: self._read(buffer))

    def close(self) -> None:
        """Release the connection, which ends it if bytes are unread."""
        self._response.close()
        super().close()

    def _read(self, buffer: memoryview) -> int:
        self._check()
        if self._broken and self._resume is not None:
            self._response = self._resume.reopen(self._size)
            self._broken = False
            if self._response.status == 200:  # the server does not support ranges
                self._discard(self._size)
        got = self._receive(buffer)
        self._count(got)
        return got

    def _receive(self, buffer: memoryview) -> int:
        try:
            return int(self._response.readinto(buffer))
        except Temporary:
            self._break()
            raise
        except (HTTPError, OSError, ValueError) as exc:
            self._break()
            raise Temporary(f"{self._name}: the connection broke off: {innermost_cause(exc)}") from exc

    def _discard(self, count: int) -> None:
        buffer = memoryview(bytearray(1 << 16))
        while count:
            self._check()
            got = self._receive(buffer[:count])
            if not got:
                self._break()
                raise Temporary(f"{self._name}: the connection broke off, and the content is shorter than before")
            count -= got

    def _break(self) -> None:
        self._response.close()
        self._broken = True

    def _count(self, got: int) -> None:
        self._size += got
        if self._size > self._limit:
            raise self._too_long
        if got and self._resume is not None:
            self._resume.budget.progressed()
        if self._size - self._piece_start >= PIECE:
            self._piece_start = self._size
            response = self._response._original_response  # requests uses this attribute, too
            if isinstance(response, BoundedResponse):
                response.next_piece()


def read_all(body: ResponseBody) -> bytes:
    """Read a body to its end, and close it."""
    with body, io.BufferedReader(body, 1 << 16) as stream:
        return stream.read()
