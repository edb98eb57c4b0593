"""The wire to a registry: connections that hold every answer to limits of time and size, and tell who answers.

`requests` bounds neither: its timeout starts anew with each byte, and http.client reads interim answers, trailers and
the extensions of chunks for as long as they come. So the reader below all of that counts.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.poolmanager import ProxyManager

from auditor.core.errors import Damaged, Temporary
from auditor.core.limits import Limits, named
from auditor.core.version import __version__
from auditor.registry.address_guard import Guard
from auditor.registry.authentication import keep_header, reason
from auditor.registry.retry import RetryBudget

_CONNECTIONS = 64
_PIECE = 1 << 20
_FRAMED = 16  # bytes of chunks' framing and trailers that may come with a byte, on the average of a piece

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

    def _too_slow(self) -> Temporary:
        return Temporary(f"{self._what}: answers too slowly, or not at all {named('registry-time')}")

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


def _pools(limits: Limits, peer: Peer | None, rate: AbstractContextManager[object]) -> dict[str, Any]:
    """Return the pools of connections that an adapter uses, by scheme."""

    class Judged:
        host: str
        sock: socket.socket | None
        connect: Callable[[], None]

        def request(self, *arguments: Any, **more: Any) -> None:
            if self.sock is None:
                self.connect()  # before the turn: it may take long
            with rate:
                super().request(*arguments, **more)  # type: ignore[misc]

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
    """Holds answers to limits. Each request is sent once, within the context `rate`.

    Of a proxy `peer` is not told: what lies behind it, it alone knows.
    """

    def __init__(self, limits: Limits, peer: Peer, rate: AbstractContextManager[object]) -> None:
        self._limits, self._peer, self._rate = limits, peer, rate
        super().__init__(pool_maxsize=_CONNECTIONS)

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        """Make the pools of requests without a proxy."""
        super().init_poolmanager(*arguments, **more)
        self.poolmanager.pool_classes_by_scheme = _pools(self._limits, self._peer, self._rate)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        """Make the pools of requests through a proxy."""
        manager = super().proxy_manager_for(proxy, **more)
        if type(manager) is ProxyManager:
            manager.pool_classes_by_scheme = _pools(self._limits, None, self._rate)
        return manager


def session(server: str, limits: Limits, guard: Guard, rate: AbstractContextManager[object]) -> requests.Session:
    """Return a session that keeps no cookies; what goes to the registry itself has connections of its own."""
    session = requests.Session()
    session.headers["User-Agent"] = f"image-audit/{__version__}"
    session.auth = keep_header
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    home, abroad = Adapter(limits, guard.met, rate), Adapter(limits, guard.met_elsewhere, rate)
    for scheme in ("https://", "http://"):
        session.mount(f"{scheme}{server}/", home)
        session.mount(scheme, abroad)
    return session


def may_pass(exc: Exception, *, answered: bool) -> bool:
    """Whether another try may do better. Where the server never `answered`, a refused connection is final."""
    if isinstance(exc, ValueError):
        return False  # an address or a header that makes no sense
    causes = list(_causes(exc))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return False
    refused = any(isinstance(cause, NewConnectionError | ConnectTimeoutError | ssl.SSLError) for cause in causes)
    return answered or not refused


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it: requests and urllib3 wrap one in the other."""
    seen: BaseException | None = exc
    while seen is not None:
        yield seen
        seen = seen.__context__


@dataclass(frozen=True, slots=True)
class Resume:
    """How a body that broke off goes on: `rest` opens its content from an offset, within the budget of the request."""

    budget: RetryBudget
    rest: Callable[[int], requests.Response]


class Body(io.RawIOBase):
    """The body of an answer as it came over the wire: whatever Content-Encoding says, nothing is decoded.

    `check` is called before each read, and may raise. Reads raise Temporary where it comes too slowly or breaks off and
    can't be resumed, and `too_long` after `most` bytes.
    """

    def __init__(
        self,
        response: requests.Response,
        what: str,
        most: int,
        too_long: Exception,
        check: Callable[[], None],
        resume: Resume | None = None,
    ) -> None:
        self._response, self._what, self._most, self._too_long, self._check = response, what, most, too_long, check
        self._resume = resume
        self._broken = False
        self._size = self._marked = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read what comes next."""
        if self._resume is None:
            return self._read(buffer)
        return self._resume.budget.run(lambda: self._read(buffer))

    def close(self) -> None:
        """Let the connection go: where not all was read it is ended."""
        self._response.close()
        super().close()

    def _read(self, buffer: memoryview) -> int:
        self._check()
        if self._broken and self._resume is not None:
            self._response = self._resume.rest(self._size)
            self._broken = False
            if self._response.status_code == 200:  # a server that knows no ranges
                self._read_past(self._size)
        got = self._receive(buffer)
        self._count(got)
        return got

    def _receive(self, buffer: memoryview) -> int:
        try:
            return int(self._response.raw.readinto(buffer))
        except Temporary:
            self._break()
            raise
        except (HTTPError, OSError, ValueError) as exc:
            self._break()
            raise Temporary(f"{self._what} breaks off: {reason(exc)}") from exc

    def _read_past(self, count: int) -> None:
        buffer = memoryview(bytearray(1 << 16))
        while count:
            self._check()
            got = self._receive(buffer[:count])
            if not got:
                self._break()
                raise Temporary(f"{self._what} breaks off, and is shorter than before")
            count -= got

    def _break(self) -> None:
        self._response.close()
        self._broken = True

    def _count(self, got: int) -> None:
        self._size += got
        if self._size > self._most:
            raise self._too_long
        if got and self._resume is not None:
            self._resume.budget.progressed()
        if self._size - self._marked >= _PIECE:
            self._marked = self._size
            answer = self._response.raw._original_response  # as requests itself comes by it
            if isinstance(answer, _Answer):
                answer.next_piece()


def read_at_most(body: Body) -> bytes:
    """Read a body to its end, and close it."""
    with body, io.BufferedReader(body, 1 << 16) as stream:
        return stream.read()
