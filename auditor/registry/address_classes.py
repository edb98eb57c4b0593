"""Classes of IP addresses by their reachability.

Sources: IANA's registries of special-purpose addresses, as `ipaddress` has them; the clouds' pages on metadata.
"""

from __future__ import annotations

import ipaddress
import socket
from enum import Enum

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressClass(Enum):
    """Reachability of an address."""

    PUBLIC = "public"
    PRIVATE = "private"
    LINK_LOCAL = "link-local"
    LOOPBACK = "loopback"
    RESERVED = "metadata or reserved"


# Metadata services: AWS, GCP, Azure and most others; AWS containers; AWS by IPv6; Alibaba; Oracle; Azure's host.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
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
        pass
    try:
        return address_class(socket.inet_ntoa(socket.inet_aton(name)))  # 0x7f000001, 127.1: resolvers accept them
    except (OSError, ValueError):
        return None
