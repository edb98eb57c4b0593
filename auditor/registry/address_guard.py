"""Where a registry may lead: the addresses of redirects, token servers, uploads.

Whoever names a registry trusts it with a login and a download, and not with requests into the own network: an answer
that leads to 127.0.0.1 or to a cloud's metadata service would have us ask there on a stranger's behalf.

Sources: IANA's registries of special-purpose addresses, as `ipaddress` has them; the clouds' own pages on metadata.
"""

from __future__ import annotations

import ipaddress
import socket
from enum import Enum
from urllib.parse import urljoin, urlsplit

from auditor.core.errors import Misled

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Zone(Enum):
    """What kind of place an address is, from here."""

    GLOBAL = "public"
    PRIVATE = "private"
    LINK = "link-local"
    LOOPBACK = "loopback"
    NEVER = "metadata or reserved"


_NEAR = {
    Zone.GLOBAL: (Zone.GLOBAL,),
    Zone.PRIVATE: (Zone.GLOBAL, Zone.PRIVATE),
    Zone.LINK: (Zone.GLOBAL, Zone.PRIVATE, Zone.LINK),
    Zone.LOOPBACK: (Zone.GLOBAL, Zone.PRIVATE, Zone.LOOPBACK),
    Zone.NEVER: (Zone.GLOBAL,),
}
"""Where a registry in a zone may lead: to what is as far or farther."""

# Metadata services: AWS, GCP, Azure and most others; AWS by IPv6; Alibaba; Oracle; Azure's host.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_EMBEDDED = ipaddress.ip_network("::/96")  # IPv4-compatible, long obsolete: RFC 4291, 2.5.5.1
_THIS = ipaddress.ip_network("0.0.0.0/8")  # "this network", RFC 6890
_SHARED = ipaddress.ip_network("100.64.0.0/10")  # of carriers, RFC 6598; neither global nor private to `ipaddress`


def zone_of(address: str) -> Zone:
    """Return the zone of an address, with or without an IPv6 scope. Raises ValueError where it is none."""
    ip = _plain(ipaddress.ip_address(address.partition("%")[0]))
    if ip in _METADATA or ip in _THIS or ip.is_unspecified or ip.is_multicast:
        return Zone.NEVER
    if ip.is_loopback:
        return Zone.LOOPBACK
    if ip.is_link_local:
        return Zone.LINK
    if ip.is_global:
        return Zone.GLOBAL
    if (ip.is_private and not ip.is_reserved) or ip in _SHARED:
        return Zone.PRIVATE
    return Zone.NEVER


def _plain(ip: Address) -> Address:
    """Take an IPv4 address out of the forms of IPv6 that carry one."""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64 or (ip in _EMBEDDED and int(ip) > 1):
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        return ip.ipv4_mapped or ip.sixtofour or ip
    return ip


def may_lead(home: Zone, there: Zone) -> bool:
    """Whether a registry in a zone may lead to another."""
    return there in _NEAR[home]


def zone_of_name(host: str) -> Zone | None:
    """Return the zone of a host that says itself where it is: a number, or a name of loopback; None for other names."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return Zone.LOOPBACK
    try:
        return zone_of(name)
    except ValueError:
        return None


def zones(host: str, port: int) -> list[Zone]:
    """Return the zones of all addresses that a host has; none where it has none."""
    try:
        return [zone_of(str(found[4][0])) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError, ValueError):
        return []  # nothing can be connected to either


def origin_of(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port, which together say who gets to see a login. Raises ValueError on a bad port."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or (443 if parts.scheme == "https" else 80)


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine."""
    return zone_of_name(urlsplit(f"//{host}").hostname or "") is Zone.LOOPBACK


def place_of(url: str) -> str:
    """Return the host of an address; the rest may hold what opens a door. Raises ValueError as `origin_of`."""
    scheme, host, port = origin_of(url)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"[:150]


class Guard:
    """Judges where the registry at a host leads. Threads may share it."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._zone: Zone | None = None  # where the registry itself was met

    def joined(self, base: str, place: str) -> str:
        """Return the address that a place, relative or whole, means at another. Raises Misled where it is none."""
        try:
            return urljoin(base, place)
        except ValueError:
            raise Misled(f"registry {self._host}: leads to what is no address") from None

    def own(self, base: str, place: str) -> str:
        """Return the address of a place at the registry itself. Raises Misled where it is elsewhere."""
        url = self.joined(base, place)
        try:
            if origin_of(url) == origin_of(base):
                return url
        except ValueError:
            pass
        raise Misled(f"registry {self._host}: its list goes on at another host; see docs/security.md")

    def judge(self, url: str, base: str, does: str) -> None:
        """Raise Misled where the registry at the address `base` has no business to lead to another.

        Behind a proxy names are the proxy's to look up: only numbers are judged.
        """
        try:
            scheme, host, port = there = origin_of(url)
        except ValueError:
            scheme = host = ""
        if scheme not in ("http", "https") or not host:
            raise Misled(f"registry {self._host}: {does} what is no address")
        if there == origin_of(base):
            return
        if scheme == "http" and base.startswith("https:"):
            raise Misled(f"registry {self._host}: {does} {place_of(url)}, which is not under TLS")
        said = zone_of_name(host)
        for zone in [said] if said else [] if _is_proxied(url) else zones(host, port):
            self._allow(zone, f"{does} {place_of(url)}")

    def met(self, sock: socket.socket) -> None:
        """Note where the registry is; of several addresses the farthest counts."""
        zone = zone_of(str(sock.getpeername()[0]))
        if self._zone is None or may_lead(self._zone, zone):
            self._zone = zone

    def met_elsewhere(self, sock: socket.socket) -> None:
        """Judge who answers in fact: a name may have another address than when it was looked up."""
        self._allow(zone_of(str(sock.getpeername()[0])), "leads")

    def _allow(self, zone: Zone, what: str) -> None:
        home = self._zone or zone_of_name(urlsplit(f"//{self._host}").hostname or "") or Zone.GLOBAL
        if not may_lead(home, zone):
            raise Misled(f"registry {self._host}: {what}, a {zone.value} address; see docs/security.md")


def _is_proxied(url: str) -> bool:
    from requests.utils import get_environ_proxies, select_proxy

    return select_proxy(url, get_environ_proxies(url)) is not None
