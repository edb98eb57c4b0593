"""The wire to a registry: connections that hold every answer to limits of time and size, and tell who answers.

`requests` bounds neither: its timeout starts anew with each byte, and http.client reads interim answers, trailers and
the extensions of chunks for as long as they come. So the reader below all of that counts.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.poolmanager import ProxyManager
from urllib3.util import Retry

from auditor.errors import Damaged, Unreachable
from auditor.images.login import reason
from auditor.limits import Limits, named

_CONNECTIONS = 64
_PIECE = 1 << 20
_FRAMED = 16  # bytes of chunks' framing and trailers that may come with a byte, on the average of a piece
_REPEATED = (429, 500, 502, 503, 504)

Peer = Callable[[socket.socket], None]
"""Told of each connection to a server, before anything is sent; raises AuditError where it may not be used."""


class _Paced(io.RawIOBase):
    """Reads a socket, for so many seconds of waiting and so many bytes until it is allowed more."""

    def __init__(self, raw: Any, what: str) -> None:
        self._raw, self._what = raw, what
        self._left_s, self._left, self._limit = 0.0, 0, ""

    def allow(self, seconds: float, size: int, limit: str) -> None:
        """Grant time and bytes; `limit` is what bounds the bytes."""
        self._left_s, self._left, self._limit = seconds, size, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        began = time.monotonic()
        try:
            got: int = self._raw.readinto(buffer) or 0
        except TimeoutError:
            raise self._too_slow() from None
        self._left_s -= time.monotonic() - began
        self._left -= got
        if self._left_s < 0:
            raise self._too_slow()
        if self._left < 0:
            raise Damaged(f"{self._what}: an answer has more around its content than it may {named(self._limit)}")
        return got

    def _too_slow(self) -> Unreachable:
        return Unreachable(f"{self._what}: answers too slowly, or not at all {named('registry-time')}")

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer whose head comes within its limits; of its body each piece must."""

    def __init__(self, limits: Limits, host: str, sock: socket.socket, *rest: Any, **more: Any) -> None:
        super().__init__(sock, *rest, **more)
        self._limits = limits
        self._paced = _Paced(self.fp.detach(), f"registry {host}")
        self.fp = io.BufferedReader(self._paced)

    def begin(self) -> None:
        self._paced.allow(self._limits.registry_time, self._limits.registry_headers, "registry-headers")
        super().begin()
        self.next_piece()

    def next_piece(self) -> None:
        """Allow time for the next MiB of the body, and for what frames it."""
        self._paced.allow(self._limits.registry_time, _FRAMED * _PIECE, "registry-headers")


def _pools(limits: Limits, peer: Peer | None) -> dict[str, Any]:
    """Return the pools of connections that an adapter uses, by scheme."""

    class Judged:
        host: str

        def response_class(self, *arguments: Any, **more: Any) -> _Answer:
            return _Answer(limits, self.host, *arguments, **more)

        def _new_conn(self) -> socket.socket:
            sock: socket.socket = super()._new_conn()  # type: ignore[misc]
            try:
                if peer is not None:
                    peer(sock)
            except BaseException:
                sock.close()
                raise
            return sock

    class Plain(HTTPConnectionPool):
        ConnectionCls = type("Plain", (Judged, HTTPConnection), {})

    class Secure(HTTPSConnectionPool):
        ConnectionCls = type("Secure", (Judged, HTTPSConnection), {})

    return {"http": Plain, "https": Secure}


class Adapter(HTTPAdapter):
    """Sends at most `rate` requests a second, tries again what a server puts off, and holds answers to limits.

    Where nobody has answered yet it is not tried again to connect: of a server that is down one hears at once.
    Of a proxy `peer` is not told: what lies behind it, it alone knows.
    """

    def __init__(self, limits: Limits, peer: Peer, rate: float | None) -> None:
        self._limits, self._peer = limits, peer
        self._gap_s = 1 / rate if rate else 0.0
        self._lock = threading.Lock()
        self._next = 0.0
        self._patient = _patience(limits.registry_wait)(
            total=4, backoff_factor=0.5, status_forcelist=_REPEATED, raise_on_status=False
        )
        super().__init__(max_retries=self._patient.new(connect=0, other=0), pool_maxsize=_CONNECTIONS)

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        """Make the pools of requests without a proxy."""
        super().init_poolmanager(*arguments, **more)
        self.poolmanager.pool_classes_by_scheme = _pools(self._limits, self._peer)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        """Make the pools of requests through a proxy."""
        manager = super().proxy_manager_for(proxy, **more)
        if type(manager) is ProxyManager:
            manager.pool_classes_by_scheme = _pools(self._limits, None)
        return manager

    def send(self, *arguments: Any, **more: Any) -> requests.Response:
        """Send a request, when it is its turn."""
        if self._gap_s:
            with self._lock:
                now = time.monotonic()
                at = max(self._next, now)
                self._next = at + self._gap_s
            time.sleep(at - now)
        response = super().send(*arguments, **more)
        self.max_retries = self._patient
        return response


def asked_to_wait(headers: Mapping[str, str]) -> float:
    """Return the seconds that `Retry-After` asks for; 0 where it says nothing that can be understood."""
    try:
        return float(Retry().parse_retry_after(headers.get("Retry-After", "0")))
    except (HTTPError, ValueError, OverflowError):
        return 0.0


def _patience(longest_s: int) -> type[Retry]:
    class Patience(Retry):
        def get_retry_after(self, response: Any) -> float | None:
            wanted = super().get_retry_after(response)
            return None if wanted is None else min(wanted, longest_s)

    return Patience


class Body(io.RawIOBase):
    """The body of an answer as it came over the wire: whatever Content-Encoding says, nothing is decoded.

    `check` is called before each read, and may raise. Reads raise Unreachable where it comes too slowly or breaks off,
    and `too_long` after `most` bytes.
    """

    def __init__(
        self, response: requests.Response, what: str, most: int, too_long: Exception, check: Callable[[], None]
    ) -> None:
        self._response, self._what, self._most, self._too_long, self._check = response, what, most, too_long, check
        self._size = self._marked = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read what comes next."""
        self._check()
        try:
            got = int(self._response.raw.readinto(buffer))
        except (HTTPError, OSError, ValueError) as exc:
            raise Unreachable(f"{self._what} breaks off: {reason(exc)}") from exc
        self._size += got
        if self._size > self._most:
            raise self._too_long
        if self._size - self._marked >= _PIECE:
            self._marked = self._size
            answer = self._response.raw._original_response  # as requests itself comes by it
            if isinstance(answer, _Answer):
                answer.next_piece()
        return got

    def close(self) -> None:
        """Let the connection go: where not all was read it is ended."""
        self._response.close()
        super().close()


def read_at_most(body: Body) -> bytes:
    """Read a body to its end, and close it."""
    with body, io.BufferedReader(body, 1 << 16) as stream:
        return stream.read()
