"""Proxies of the environment for an origin, with the exceptions of NO_PROXY, as the library requests has them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace

from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, prepend_scheme_if_needed, select_proxy
from urllib3 import HTTPConnectionPool, ProxyManager

from auditor.registry.connection import CONNECTIONS, ConnectionRules, connection_pools


def proxy_of(origin: str) -> str | None:
    """Return the URL of the proxy for an origin; None without one."""
    proxy = select_proxy(origin, get_environ_proxies(origin))
    return prepend_scheme_if_needed(proxy, "http") if proxy else None  # type: ignore[no-untyped-call]


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
