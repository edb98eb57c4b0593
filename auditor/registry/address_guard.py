"""Blocked addresses: which addresses a server's answer, a rule or a receiver may make the program connect to.

A redirect to 127.0.0.1 or to a cloud's metadata service would send a request into the user's own network on behalf of a
stranger (server-side request forgery). An `AddressCheck` receives all resolved addresses of a host before the
connection is opened, so that no second name resolution can replace them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from urllib.parse import urljoin

from urllib3.util import Url, parse_url

from auditor.core.errors import BlockedAddress
from auditor.registry.address_classes import AddressClass, address_class, class_of_host

AddressCheck = Callable[[str, Sequence[str]], None]
"""Called with a host and its resolved addresses before a connection is opened. Raises BlockedAddress."""

_ALLOWED = {
    AddressClass.PUBLIC: (AddressClass.PUBLIC,),
    AddressClass.PRIVATE: (AddressClass.PUBLIC, AddressClass.PRIVATE),
    AddressClass.LINK_LOCAL: (AddressClass.PUBLIC, AddressClass.PRIVATE, AddressClass.LINK_LOCAL),
    AddressClass.LOOPBACK: (AddressClass.PUBLIC, AddressClass.PRIVATE, AddressClass.LOOPBACK),
    AddressClass.RESERVED: (AddressClass.PUBLIC,),
}
"""Classes that a registry of a class may redirect to: equally or more widely reachable ones."""

_PLAIN_PATH = re.compile(r"(?:\w[\w.@-]*/)+\w[\w.:@-]*", re.ASCII)
"""Relative paths that `urljoin` would append unchanged: no scheme, no dot segments."""
_AMBIGUOUS = re.compile(r"[\x00-\x20\x7f\\]|^(?:[^:/?#]*:)?//[^/?#]*@")
"""URLs whose host depends on the parser, and those with a login before the host."""


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine."""
    return _class_of(host) is AddressClass.LOOPBACK


def _class_of(host: str) -> AddressClass | None:
    """Return the class of a host, with or without a port, as `class_of_host`; None for a malformed one."""
    try:
        return class_of_host(_bare_host(parse_url(f"//{host}")))
    except ValueError:
        return None


def _bare_host(url: Url) -> str:
    """Return the host of a URL, of an IPv6 address without its brackets."""
    return (url.host or "").strip("[]")


def origin_of(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port, which decide whether credentials are sent. Raises ValueError on a malformed URL.

    The parser is that of the connections: two parsers may read two hosts in one URL.
    """
    parts = parse_url(url)
    scheme = parts.scheme or ""
    return scheme, _bare_host(parts).rstrip("."), parts.port or (443 if scheme == "https" else 80)


def is_same_origin(url: str, base: str) -> bool:
    """Whether a URL has the origin of `base`, which ends in a slash. Raises ValueError on a malformed URL."""
    return url.startswith(base) or origin_of(url) == origin_of(base)


def display_origin(url: str) -> str:
    """Return the origin of a URL for messages; path and query may be secret. Raises ValueError as `origin_of`."""
    scheme, host, port = origin_of(url)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"[:150]


def check_public(host: str, addresses: Sequence[str]) -> None:
    """Raise BlockedAddress unless all addresses are public. For requests that carry a secret to a provider."""
    _require(host, addresses, (AddressClass.PUBLIC,))


def check_loopback(host: str, addresses: Sequence[str]) -> None:
    """Raise BlockedAddress unless all addresses are loopback. For hosts that a rule names as this machine."""
    _require(host, addresses, (AddressClass.LOOPBACK,))


def check_not_reserved(host: str, addresses: Sequence[str]) -> None:
    """Raise BlockedAddress on a metadata service or a reserved address. For hosts that the user names."""
    _require(host, addresses, tuple(kind for kind in AddressClass if kind is not AddressClass.RESERVED))


def _require(host: str, addresses: Sequence[str], allowed: Sequence[AddressClass]) -> None:
    for address in addresses:
        found = address_class(address)
        if found not in allowed:
            raise BlockedAddress(f"{host}: refused to connect to a {found.value} address")


class RegistryGuard:
    """Address checks of one registry: where its redirects, token servers and uploads may lead. Thread-safe."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._own_class: AddressClass | None = None  # of the registry itself, once it was resolved

    def resolve_url(self, base: str, location: str) -> str:
        """Return the absolute URL of a location, relative or absolute. Raises BlockedAddress on an ambiguous one."""
        location = location.strip(" \t")  # optional around the value of a header: RFC 9110, 5.5
        self._refuse_ambiguous(location, "sends")
        try:
            return urljoin(base, location)
        except ValueError:
            raise BlockedAddress(f"registry {self._host}: sends a malformed URL") from None

    def own_url(self, base: str, location: str) -> str:
        """Return the absolute URL of a location at the registry itself. Raises BlockedAddress on another origin."""
        if _PLAIN_PATH.fullmatch(location) and base.endswith("/"):
            return base + location
        url = self.resolve_url(base, location)
        try:
            if is_same_origin(url, base):
                return url
        except ValueError:
            pass
        raise BlockedAddress(f"registry {self._host}: refused the next page of its list, which is at another host")

    def check_url(self, url: str, base: str, action: str) -> None:
        """Raise BlockedAddress if the registry at `base` may not refer to a URL; `action` begins the message.

        `base` ends in a slash. Addresses behind a name are checked when the connection is opened, or resolved by a
        proxy.
        """
        self._refuse_ambiguous(url, action)
        if url.startswith(base):
            return
        try:
            scheme, host, _ = origin = origin_of(url)
        except ValueError:
            scheme = host = ""
        if scheme not in ("http", "https") or not host:
            raise BlockedAddress(f"registry {self._host}: {action} a malformed URL")
        if origin == origin_of(base):
            return
        if scheme == "http" and base.startswith("https:"):
            raise BlockedAddress(f"registry {self._host}: {action} {display_origin(url)} without TLS")
        known = class_of_host(host)
        if known is not None:
            self._allow(known, f"{action} {display_origin(url)}")

    def _refuse_ambiguous(self, url: str, action: str) -> None:
        """Raise BlockedAddress on a URL that parsers read differently, or that has a login."""
        if _AMBIGUOUS.search(url):
            raise BlockedAddress(
                f"registry {self._host}: {action} a malformed URL: it has a backslash, a space, a control character or "
                "a login"
            )

    def check_own(self, _host: str, addresses: Sequence[str]) -> None:
        """Note the class of the registry's own address; of several addresses the most widely reachable counts."""
        for found in map(address_class, addresses):
            if self._own_class is None or found in _ALLOWED[self._own_class]:
                self._own_class = found

    def check_other(self, host: str, addresses: Sequence[str]) -> None:
        """Raise BlockedAddress if the registry may not redirect to one of the addresses of another host."""
        for address in addresses:
            self._allow(address_class(address), f"refers to {host}")

    def _allow(self, found: AddressClass, reference: str) -> None:
        own = self._own_class or _class_of(self._host) or AddressClass.PUBLIC
        if found not in _ALLOWED[own]:
            raise BlockedAddress(
                f"registry {self._host}: {reference}, a {found.value} address: blocked, "
                f"because the registry has a {own.value} address"
            )
