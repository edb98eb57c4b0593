"""Blocked addresses: which addresses a server's answer, a rule or a receiver may make the program connect to.

A redirect to 127.0.0.1 or to a cloud's metadata service would send a request into the user's own network on behalf of a
stranger (server-side request forgery). An `AddressCheck` receives all resolved addresses of a host before the
connection is opened, so that no second name resolution can replace them.

Sources: IANA's registries of special-purpose addresses, as `ipaddress` has them; the clouds' pages on metadata.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from enum import Enum
from urllib.parse import urljoin, urlsplit

from auditor.core.errors import BlockedAddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

AddressCheck = Callable[[str, Sequence[str]], None]
"""Called with a host and its resolved addresses before a connection is opened. Raises BlockedAddress."""


class AddressClass(Enum):
    """Reachability of an address."""

    PUBLIC = "public"
    PRIVATE = "private"
    LINK_LOCAL = "link-local"
    LOOPBACK = "loopback"
    RESERVED = "metadata or reserved"


_ALLOWED = {
    AddressClass.PUBLIC: (AddressClass.PUBLIC,),
    AddressClass.PRIVATE: (AddressClass.PUBLIC, AddressClass.PRIVATE),
    AddressClass.LINK_LOCAL: (AddressClass.PUBLIC, AddressClass.PRIVATE, AddressClass.LINK_LOCAL),
    AddressClass.LOOPBACK: (AddressClass.PUBLIC, AddressClass.PRIVATE, AddressClass.LOOPBACK),
    AddressClass.RESERVED: (AddressClass.PUBLIC,),
}
"""Classes that a registry of a class may redirect to: equally or more widely reachable ones."""

# Metadata services: AWS, GCP, Azure and most others; AWS containers; AWS by IPv6; Alibaba; Oracle; Azure's host.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
_PLAIN_PATH = re.compile(r"(?:\w[\w.@-]*/)+\w[\w.:@-]*", re.ASCII)
"""Relative paths that `urljoin` would append unchanged: no scheme, no dot segments."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")  # obsolete: RFC 4291, 2.5.5.1
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")  # RFC 6890
_CARRIER_NAT = ipaddress.ip_network("100.64.0.0/10")  # RFC 6598; neither global nor private for `ipaddress`


def address_class(address: str) -> AddressClass:
    """Return the class of an IP address, with or without an IPv6 scope. Raises ValueError on other text."""
    ip = _embedded_ipv4(ipaddress.ip_address(address.partition("%")[0]))
    if ip in _METADATA or ip in _THIS_NETWORK or ip.is_unspecified or ip.is_multicast:
        return AddressClass.RESERVED
    if ip.is_loopback:
        return AddressClass.LOOPBACK
    if ip.is_link_local:
        return AddressClass.LINK_LOCAL
    if ip.is_global:
        return AddressClass.PUBLIC
    if (ip.is_private and not ip.is_reserved) or ip in _CARRIER_NAT:
        return AddressClass.PRIVATE
    return AddressClass.RESERVED


def _embedded_ipv4(ip: IPAddress) -> IPAddress:
    """Return the IPv4 address inside a mapped, translated or 6to4 address; other addresses unchanged."""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64 or (ip in _IPV4_COMPATIBLE and int(ip) > 1):
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        return ip.ipv4_mapped or ip.sixtofour or ip
    return ip


def class_of_host(host: str) -> AddressClass | None:
    """Return the class of a host that needs no name resolution, an IP address or `localhost`; None for other names."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return AddressClass.LOOPBACK
    try:
        return address_class(name)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine."""
    return class_of_host(urlsplit(f"//{host}").hostname or "") is AddressClass.LOOPBACK


def origin_of(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port, which decide whether credentials are sent. Raises ValueError on a bad port."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or (443 if parts.scheme == "https" else 80)


def is_same_origin(url: str, base: str) -> bool:
    """Whether a URL has the origin of `base`, which ends in a slash. Raises ValueError on a bad port."""
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
        """Return the absolute URL of a location, relative or absolute. Raises BlockedAddress on a malformed one."""
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
        own = self._own_class or class_of_host(urlsplit(f"//{self._host}").hostname or "") or AddressClass.PUBLIC
        if found not in _ALLOWED[own]:
            raise BlockedAddress(
                f"registry {self._host}: {reference}, a {found.value} address: blocked, "
                f"because the registry has a {own.value} address"
            )
