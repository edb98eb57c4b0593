"""Sessions of requests with the rules of `connection`: no cookies, no ~/.netrc, no retries, chosen proxies and TLS."""

from __future__ import annotations

import functools
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies
from urllib3 import HTTPConnectionPool, Timeout
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.poolmanager import ProxyManager

from auditor.core.dataclass import dataclass
from auditor.core.version import __version__
from auditor.registry.address_guard import is_loopback, origin_of
from auditor.registry.connection import ConnectionRules, connection_pools

USER_AGENT = f"image-audit/{__version__}"
CONNECT_S = 10
_CONNECTIONS = 64
_REFUSED_TUNNEL = "Tunnel connection failed: 4"  # begin of urllib3's message, before the rest of the status
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")  # the second is OpenSSL's own


class _Adapter(HTTPAdapter):
    """Applies rules to connections. Sends each request once.

    Connections to a proxy have no address check: the proxy resolves the names behind it.
    """

    def __init__(self, rules: ConnectionRules) -> None:
        self._rules = rules
        self._tls: dict[str, Any] = {"ssl_context": rules.tls} if rules.tls else {}
        super().__init__(pool_maxsize=_CONNECTIONS)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        """Create the pools of requests without a proxy."""
        super().init_poolmanager(connections, maxsize, block, **{**more, **self._tls})
        self.poolmanager.pool_classes_by_scheme = connection_pools(self._rules)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        """Create the pools of requests through a proxy."""
        manager = super().proxy_manager_for(proxy, **{**more, **self._tls})
        if type(manager) is ProxyManager:
            manager.pool_classes_by_scheme = connection_pools(replace(self._rules, check=None, deadline=None))
        return manager


def new_session(rules: Mapping[str, ConnectionRules]) -> requests.Session:
    """Return a session with rules by URL prefix; the longest prefix of a URL applies."""
    session = requests.Session()
    session.headers["User-Agent"] = USER_AGENT
    session.auth = keep_header
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for prefix, own in rules.items():
        session.mount(prefix, _Adapter(own))
    return session


def keep_header(request: Any) -> Any:
    """Authentication that leaves the Authorization header as it is; without one, requests would read ~/.netrc."""
    return request


@dataclass(frozen=True, slots=True)
class Route:
    """Connections to one origin, direct or through a proxy. A request through an HTTP proxy names the `whole_url`."""

    pool: HTTPConnectionPool
    whole_url: bool

    def send(self, method: str, url: str, headers: Mapping[str, str], timeout: Timeout) -> requests.Response:
        """Send a request without a body, whose URL needs no normalisation. Raises HTTPError of urllib3, OSError.

        requests takes longer to prepare and wrap such a request than urllib3 to send it.
        """
        request = requests.PreparedRequest()
        request.method, request.url, request.hooks = method, url, {}
        request.headers = CaseInsensitiveDict({"User-Agent": USER_AGENT, "Accept": "*/*", **headers})
        target = url if self.whole_url else url[url.index("/", len("https://")) :]
        raw = self.pool.urlopen(
            method, target, headers=request.headers, retries=False, redirect=False, assert_same_host=False,
            preload_content=False, decode_content=False, timeout=timeout,
        )  # fmt: skip
        response = requests.Response()
        response.status_code, response.reason, response.raw = raw.status, raw.reason or "", raw
        response.url, response.request = url, request
        response.headers = CaseInsensitiveDict(raw.headers)
        return response


def find_route(session: requests.Session, url: str, verify: bool | str, proxies: dict[str, str]) -> Route:
    """Return the connections of a session to the origin of a URL; `verify` and `proxies` are as requests takes them."""
    adapter, request = session.get_adapter(url), requests.PreparedRequest()
    assert isinstance(adapter, HTTPAdapter)  # noqa: S101 - all of `new_session` are
    request.method, request.url = "GET", url
    pool: Any = adapter.get_connection_with_tls_context(request, verify, proxies)
    adapter.cert_verify(pool, url, verify, None)  # type: ignore[no-untyped-call]
    return Route(pool, whole_url=adapter.request_url(request, proxies) == url)


class ProxyTable:
    """The environment's proxies by origin. requests would look them up before each request."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, int], dict[str, str]] = {}

    def proxies(self, url: str) -> dict[str, str]:
        """Return the proxies for a URL, as requests takes them."""
        origin = origin_of(url)
        if origin not in self._known:
            self._known[origin] = get_environ_proxies(url)
        return self._known[origin]


def trusted_certificates(url: str, ca: Path | None = None, *, has_own: bool = False) -> bool | str:
    """Return the value of `verify` for requests: a CA file, True for the default.

    Certificates of loopback are not verified, as in Docker, unless `ca` is given or the connection has authorities of
    its own (`has_own`).
    """
    if ca is not None:
        return str(ca)
    if not has_own and is_loopback(urlsplit(url).netloc.rpartition("@")[2]):
        return False
    return ca_bundle()


def ca_bundle() -> bool | str:
    """Return the CA file that the environment names, as `verify` for requests; True for the default."""
    return next((file for name in _CA_VARIABLES if (file := os.environ.get(name))), True)


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Trust the system's authorities and those of certifi: slim images have no certificates of their own."""
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


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
