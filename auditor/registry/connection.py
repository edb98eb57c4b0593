"""Connections of all HTTP requests of the program: checked addresses, bounded waiting, bounded headers.

urllib3 alone bounds neither: its timeout starts again with each byte, and http.client reads interim responses,
trailers and chunk extensions without an end. The reader below http.client therefore counts time and bytes.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field
from types import TracebackType
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from auditor.core.dataclass import dataclass
from auditor.core.errors import Damaged, Temporary
from auditor.registry.address_guard import AddressCheck

PIECE = 1 << 20
"""Bytes of a body for which the time starts again."""

CONNECTIONS = 64
"""Idle connections that are kept for an origin."""

_FRAMING = 16  # bytes of chunk framing and trailers allowed for each byte of a body, on the average of a piece


class Deadline(AbstractContextManager["Deadline"]):
    """A time after which the connections opened within the context are shut down, however slowly bytes arrive."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._shut_down)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        for sock in self._sockets:
            sock.close()

    def left_s(self) -> float:
        """Return the seconds until the deadline, at least a little."""
        return max(self._end - time.monotonic(), 0.001)

    def watch(self, sock: socket.socket) -> None:
        """Include a connection."""
        self._sockets.append(sock.dup())  # TLS takes the descriptor of the original

    def _shut_down(self) -> None:
        for sock in self._sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed already


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    """Address check, rate and limits of connections.

    `wait_s` bounds the waiting for the head of a response and for each MiB of its body, `header_bytes` the head.
    `wait_limit` and `header_limit` name the limits in errors. `rate` is entered for each request.
    """

    check: AddressCheck | None
    wait_s: float
    header_bytes: int
    wait_limit: str = ""
    header_limit: str = ""
    rate: AbstractContextManager[object] = field(default_factory=nullcontext)
    deadline: Deadline | None = None


class _BoundedReader(io.RawIOBase):
    """Reads a socket within an allowance of waiting time and bytes."""

    def __init__(self, raw: Any, host: str, rules: ConnectionRules) -> None:
        self._raw, self._host, self._rules = raw, host, rules
        self._left_s, self._left = 0.0, 0

    def allow(self, size: int) -> None:
        """Start a new allowance: the time of the rules, and a number of bytes."""
        self._left_s, self._left = self._rules.wait_s, size

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
            raise Damaged(f"{self._host}: response headers or chunk framing too large {self._rules.header_limit}")
        return got

    def _too_slow(self) -> Temporary:
        return Temporary(f"{self._host}: the response is too slow or does not come {self._rules.wait_limit}")

    def close(self) -> None:
        self._raw.close()
        super().close()


class BoundedResponse(http.client.HTTPResponse):
    """A response with a bounded head, and a body of bounded pieces."""

    def __init__(self, rules: ConnectionRules, host: str, sock: socket.socket, *rest: Any, **more: Any) -> None:
        super().__init__(sock, *rest, **more)
        self._rules = rules
        self._bounded = _BoundedReader(self.fp.detach(), host, rules)
        self._bounded.allow(rules.header_bytes)  # urllib3 reads a proxy's answer to CONNECT without `begin`
        self.fp = io.BufferedReader(self._bounded)

    def begin(self) -> None:
        self._bounded.allow(self._rules.header_bytes)
        super().begin()
        self.next_piece()

    def next_piece(self) -> None:
        """Allow time for the next MiB of the body, and bytes for its framing."""
        self._bounded.allow(_FRAMING * PIECE)


def connection_classes(rules: ConnectionRules) -> tuple[type[HTTPConnection], type[HTTPSConnection]]:
    """Return urllib3's connection classes, plain and TLS, with the rules applied."""

    class Ruled:
        host: str
        port: int
        timeout: float | None
        sock: socket.socket | None
        is_verified: bool

        def connect(self) -> None:
            super().connect()  # type: ignore[misc]
            self.is_verified = True  # else urllib3 warns of loopback, the only unverified host, on standard error

        def request(self, *arguments: Any, **more: Any) -> None:
            if self.sock is None:
                self.connect()  # outside the rate: it may take long
            with rules.rate:
                super().request(*arguments, **more)  # type: ignore[misc]

        def response_class(self, *arguments: Any, **more: Any) -> BoundedResponse:
            return BoundedResponse(rules, self.host, *arguments, **more)

        def _new_conn(self) -> socket.socket:
            if rules.check is None:
                sock: socket.socket = super()._new_conn()  # type: ignore[misc]
                return sock
            try:
                return _connect(self.host, self.port, self.timeout, rules)
            except TimeoutError as exc:
                raise ConnectTimeoutError(self, f"no connection to {self.host} in time") from exc
            except (OSError, UnicodeError) as exc:
                raise NewConnectionError(self, str(exc)) from exc  # type: ignore[arg-type]

    return type("Plain", (Ruled, HTTPConnection), {}), type("Secure", (Ruled, HTTPSConnection), {})


def connection_pools(rules: ConnectionRules) -> dict[str, Any]:
    """Return the classes of urllib3's pools by scheme, with the rules applied."""
    plain, secure = connection_classes(rules)
    return {
        "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
    }


def _connect(host: str, port: int, timeout: float | None, rules: ConnectionRules) -> socket.socket:
    """Resolve a host once, check all its addresses, and connect to the first that accepts."""
    resolved = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    if rules.check is not None:
        rules.check(host, [str(address[0]) for *_, address in resolved])
    failure = OSError(f"{host} has no address")
    for position, (family, kind, protocol, _, address) in enumerate(resolved):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(rules.deadline.left_s() / (len(resolved) - position) if rules.deadline else timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(address)
            sock.settimeout(timeout)
            if rules.deadline:
                rules.deadline.watch(sock)
        except OSError as exc:
            sock.close()
            failure = exc
            continue
        return sock
    raise failure
