"""Single HTTP requests on the connections of `connection`: with the proxies of the environment, without cookies."""

from __future__ import annotations

import functools
import re
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO
from urllib.parse import urlencode

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPResponse, Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProxyError
from urllib3.util import parse_url

from auditor.core.dataclass import dataclass
from auditor.core.version import __version__
from auditor.registry.connection import CONNECTIONS, ConnectionRules, connection_pools

USER_AGENT = f"image-audit/{__version__}"
CONNECT_S = 10
FAILURES = (HTTPError, OSError, ValueError)
"""Errors of a request without a response; ValueError is a malformed URL or header."""
REDIRECTS = (301, 302, 303, 307, 308)
_ORIGINS = 16  # whose connections are kept
_REFUSED_TUNNEL = "Tunnel connection failed: 4"  # begin of urllib3's message, before the rest of the status
_PLAIN_URL = re.compile(
    r"(https?://[a-z0-9._:-]+)(/(?:[A-Za-z0-9_@][\w.:@-]*/)*(?:[A-Za-z0-9_@][\w.:@-]*)?(?:\?[\w=&-]*)?)", re.ASCII
)
"""URLs that urllib3 would not normalise: no escapes, no dot segments."""

RulesOf = Callable[[str], ConnectionRules]
"""Returns the rules of connections to an origin, `http://HOST[:PORT]` or `https://HOST[:PORT]`."""
TlsOf = Callable[[str], ssl.SSLContext]
"""Returns the TLS context for an origin."""


@dataclass(frozen=True, slots=True)
class _Route:
    """Connections to one origin, direct or through a proxy. `prefix` precedes the path in the request line."""

    pool: HTTPConnectionPool
    prefix: str = ""


class HttpSession:
    """Sends requests, each once and without following redirects. Thread-safe.

    `rules_of` and `tls_of` are called once for each origin that requests go to.
    """

    def __init__(self, rules_of: RulesOf, tls_of: TlsOf) -> None:
        self._route = functools.lru_cache(_ORIGINS)(functools.partial(_new_route, rules_of, tls_of))
        self._lock = threading.Lock()  # several threads would otherwise each make a route to a new origin

    def failed_proxy(self, url: str, failure: BaseException) -> str | None:
        """Return the origin of the proxy that caused the failure of a request; None if no proxy did."""
        if not isinstance(failure, ProxyError):
            return None
        with self._lock:
            proxy = self._route(_split(url)[0]).pool.proxy
        return f"{proxy.scheme}://{proxy.netloc}" if proxy is not None else None

    def send(
        self, method: str, url: str, headers: Mapping[str, str], timeout: Timeout, body: bytes | IO[bytes] | None = None
    ) -> HTTPResponse:
        """Send a request; the body of its response is not read yet, and is not decoded. Raises one of FAILURES.

        A stream as `body` needs a Content-Length header, without which it is sent in chunks.
        """
        origin, target = _split(url)
        with self._lock:
            route = self._route(origin)
        response: BaseHTTPResponse = route.pool.urlopen(
            method, route.prefix + target, body, {"User-Agent": USER_AGENT, "Accept": "*/*", **headers}, retries=False,
            redirect=False, assert_same_host=False, timeout=timeout, preload_content=False, decode_content=False,
        )  # fmt: skip
        assert isinstance(response, HTTPResponse)  # noqa: S101 - HTTP/2 is a class of connections of its own
        return response


def with_query(url: str, fields: Mapping[str, str | Sequence[str]]) -> str:
    """Return a URL with further fields in its query; a field with several values is repeated."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(fields, doseq=True)}"


def _split(url: str) -> tuple[str, str]:
    """Return origin and request target of a URL. Raises ValueError."""
    if plain := _PLAIN_URL.fullmatch(url):
        return plain[1], plain[2]
    parts = parse_url(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("a URL without scheme or host")
    return f"{parts.scheme}://{parts.netloc}", parts.request_uri


def _new_route(rules_of: RulesOf, tls_of: TlsOf, origin: str) -> _Route:
    parts, own = parse_url(origin), rules_of(origin)
    tls = {"ssl_context": tls_of(origin)} if parts.scheme == "https" else {}
    if urllib.request.getproxies():
        from auditor.registry import proxies  # requests, which takes 0.02 s

        if proxy := proxies.proxy_of(origin):
            pool = proxies.proxy_pool(proxy, origin, own, tls, tls_of)
            return _Route(pool, origin if pool.proxy is not None and parts.scheme == "http" else "")
    pool = connection_pools(own)[parts.scheme or "https"](parts.host, parts.port, maxsize=CONNECTIONS, **tls)
    return _Route(pool)


def is_temporary(exc: Exception, *, has_answered: bool) -> bool:
    """Whether a retry may succeed. If the server never answered before, a refused connection is final."""
    if isinstance(exc, ValueError):
        return False  # a malformed URL or header
    causes = list(_causes(exc))
    if any(isinstance(cause, ssl.SSLCertVerificationError) or _REFUSED_TUNNEL in str(cause) for cause in causes):
        return False
    refused = any(isinstance(cause, NewConnectionError | ConnectTimeoutError | ssl.SSLError) for cause in causes)
    return has_answered or not refused


def innermost_cause(exc: BaseException) -> str:
    """Return the text of the innermost cause, with a hint where its remedy is known; no memory addresses of objects."""
    *_, cause = _causes(exc)
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    text = re.sub(r"<[^>]* object at 0x[0-9a-f]+>:? ?", "", text)[:200] or type(cause).__name__
    return text + next((hint for kind, words, hint in _HINTS if isinstance(cause, kind) and words in text), "")


_CLIENT_CERTIFICATE = (
    "; if the server requires a client certificate, store it as client.cert and client.key in /etc/docker/certs.d/HOST"
)
_HINTS: tuple[tuple[type[BaseException], str, str], ...] = (
    (ConnectionRefusedError, "", "; is the server running, and is its port right?"),
    (socket.gaierror, "", "; is the host name right?"),
    (ssl.SSLError, "WRONG_VERSION_NUMBER", "; for a registry with plain HTTP use --insecure"),
    (ssl.SSLError, "wrong version number", "; for a registry with plain HTTP use --insecure"),
    (ssl.SSLCertVerificationError, "", "; for a private CA set SSL_CERT_FILE"),
    (ssl.SSLError, "CERTIFICATE_REQUIRED", _CLIENT_CERTIFICATE),
    (ssl.SSLError, "certificate required", _CLIENT_CERTIFICATE),
    (ssl.SSLError, "HANDSHAKE_FAILURE", _CLIENT_CERTIFICATE),
    (OSError, f"{_REFUSED_TUNNEL}07", "; put the login of the proxy into HTTPS_PROXY, http://USER:PASSWORD@HOST:PORT"),
)
"""Errors by type and words of their text, with what to do next."""


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, innermost last: requests and urllib3 wrap one in the other."""
    cause: BaseException | None = exc
    while cause is not None:
        yield cause
        cause = cause.__context__
