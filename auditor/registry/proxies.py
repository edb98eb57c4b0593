"""Proxies of the environment for an origin, with the exceptions of NO_PROXY, as the library requests has them.

Loopback has no proxy, as for docker, podman and skopeo: Go's `http.ProxyFromEnvironment`. A proxy elsewhere could not
reach this machine by that name, and would receive the login.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy
from urllib3 import HTTPConnectionPool, ProxyManager
from urllib3.util import Url, parse_url

from auditor.registry.address_guard import is_loopback
from auditor.registry.connection import CONNECTIONS, ConnectionRules, connection_pools

_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
_MALFORMED = "the environment names a proxy whose URL is malformed; set it as http://HOST:PORT"


def proxy_of(origin: str) -> str | None:
    """Return the URL of the proxy for an origin; None without one, and for loopback. Raises ValueError."""
    if is_loopback(origin.partition("://")[2]):
        return None
    named = select_proxy(origin, get_environ_proxies(origin))
    if named is None:
        return None
    proxy = _parsed(named)
    if proxy is None or not proxy.host or proxy.scheme not in _SCHEMES:  # not in `except`: causes are shown
        raise ValueError(_MALFORMED)
    return proxy.url


def _parsed(proxy: str) -> Url | None:
    """Return a URL, by default of HTTP; None if it is malformed. The error of urllib3 would show its password."""
    with suppress(ValueError):
        return parse_url(proxy if "://" in proxy else f"http://{proxy}")
    return None


def proxy_pool(
    proxy: str,
    origin: str,
    rules: ConnectionRules,
    tls: Mapping[str, ssl.SSLContext],
    tls_of: Callable[[str], ssl.SSLContext],
) -> HTTPConnectionPool:
    """Return connections to an origin through a proxy, which may itself be reached by TLS. Raises ValueError.

    They have no address check: the proxy resolves the names behind it.
    """
    own = {"proxy_ssl_context": tls_of(proxy)} if proxy.startswith("https:") else {}
    manager: ProxyManager = HTTPAdapter().proxy_manager_for(proxy, **own)
    if type(manager) is ProxyManager:  # not of SOCKS, which has connections of its own
        manager.pool_classes_by_scheme = connection_pools(replace(rules, check=None, deadline=None))
    return manager.connection_from_url(origin, {"maxsize": CONNECTIONS, **tls})
