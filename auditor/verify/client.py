"""One HTTPS request to a public address, and its bounded answer.

On http.client and not on a library that helps: nothing here follows redirects, reads ~/.netrc or the proxy variables,
keeps cookies, or logs, and the address that was judged is the one that is connected to.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from auditor.verify.message import Message

MAX_ANSWER = 1 << 16
"""Bytes of an answer that are read; one that is longer counts as none."""

_MAX_ADDRESSES = 3
"""Addresses of a host that are tried, each in its share of the time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, and the content where it was asked for and fits."""

    status: int
    content: bytes | None
    retry_after: str | None


def send(message: Message, *, timeout_s: float, reads: bool) -> Answer | None:
    """Return the answer; None where the address is refused, or no whole answer comes in time. Raises nothing.

    Why is not told: messages of the layers below may quote what was sent.
    """
    ends = time.monotonic() + timeout_s
    try:
        with _connected(message, timeout_s) as sock, _cut_off(sock, ends - time.monotonic()):
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            return _exchanged(message, sock, reads)
    except (OSError, HTTPException, ValueError):
        return None


def _exchanged(message: Message, sock: socket.socket, reads: bool) -> Answer:
    kind = HTTPSConnection if message.secure else HTTPConnection
    connection = kind(message.host, message.port)
    connection.sock = sock
    connection.request(message.method, message.path, message.body, dict(message.headers))
    with connection.getresponse() as response:
        return Answer(response.status, _content(response) if reads else None, response.headers.get("Retry-After"))


def _content(response: HTTPResponse) -> bytes | None:
    data = response.read(MAX_ANSWER + 1)
    return data if len(data) <= MAX_ANSWER else None


@contextmanager
def _connected(message: Message, timeout_s: float) -> Iterator[socket.socket]:
    """Connect to an address that may be asked, over TLS without its handshake. Raises OSError where there is none."""
    context = _tls() if message.secure else None
    sock = _dialled(addresses(message.host, message.port, local=message.local), timeout_s)
    if context:
        sock = context.wrap_socket(sock, server_hostname=message.host, do_handshake_on_connect=False)
    with sock:
        yield sock


def _dialled(targets: list[tuple[int, tuple[Any, ...]]], timeout_s: float) -> socket.socket:
    failed = OSError("no address that may be asked")
    for family, address in targets:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(timeout_s / len(targets))
        try:
            sock.connect(address)
        except OSError as exc:
            sock.close()
            failed = exc
            continue
        sock.settimeout(timeout_s)
        return sock
    raise failed


def addresses(host: str, port: int, *, local: bool) -> list[tuple[int, tuple[Any, ...]]]:
    """Resolve a host to (family, socket address); none where one of its addresses may not be asked.

    Loopback is asked only where the rule names it (`local`); private, link-local and reserved addresses never: a name
    that leads there would send a secret to whatever answers inside the network.
    """
    resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    found: list[tuple[int, tuple[Any, ...]]] = [(item[0], item[4]) for item in resolved]
    allowed = all(_may_be_asked(str(address[0]), local) for _, address in found)
    return found[:_MAX_ADDRESSES] if allowed else []


def _may_be_asked(address: str, local: bool) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return ip.is_loopback if local else ip.is_global and not ip.is_multicast


@contextmanager
def _cut_off(sock: socket.socket, timeout_s: float) -> Iterator[None]:
    """Break the connection after a time, however slowly bytes drip: a socket's own timeout starts anew with each."""
    timer = threading.Timer(max(timeout_s, 0), _shut, (sock,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut(sock: socket.socket) -> None:
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # below TLS, which has no answer to wait for
    except OSError:
        return  # it is closed already


@functools.cache
def _tls() -> ssl.SSLContext:
    """Trust what the system trusts, and what requests brings where the system has no certificates, as slim images."""
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context
