"""Resolves hosts that users name, and refuses addresses that are not public (protection against SSRF)."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from worker.errors import ErrorCode, SiteError

# IPv4 addresses embedded in IPv6 (RFC 6052). Such an address is public if the IPv4 address is.
_NAT64 = IPv6Network("64:ff9b::/96")
# Global unicast addresses (https://www.iana.org/assignments/ipv6-address-space). All others are local or map to an
# IPv4 address.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Special-purpose networks that older versions of `ipaddress` report as global
# (https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry).
_SPECIAL = tuple(
    map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)
# Public by number, but a cloud platform routes them to internal services of its own: agents and name servers
# (https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16), service endpoints
# (https://cloud.ibm.com/docs/vpc?topic=vpc-service-endpoints-for-vpc), APIs
# (https://cloud.google.com/vpc/docs/configure-private-google-access). Other platforms use link-local or private ranges.
_PLATFORMS = tuple(
    map(ip_network, ("168.63.129.16/32", "161.26.0.0/16", "166.8.0.0/14", "199.36.153.4/30", "199.36.153.8/30"))
)


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to a host on the internet.

    Addresses of this machine, of its network and of a cloud platform's internal services are not public.

    Args:
        address: The address as text. An IPv6 address may have a zone (`fe80::1%eth0`).
    """
    ip: IPv4Address | IPv6Address = ip_address(address)
    if isinstance(ip, IPv6Address):
        if ip in _NAT64:
            return is_public(str(IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip not in _GLOBAL_UNICAST:
            return False
    is_special = any(ip in net for net in (*_SPECIAL, *_PLATFORMS))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not is_special


async def public_addresses(host: str, port: int) -> list[str]:
    """Resolve the host that a user named.

    Returns:
        Its IP addresses, preferred first, all of them public. Connect to one of these: a second lookup of the same
        name may return other addresses (DNS rebinding).

    Raises:
        SiteError: `network`: the host has no address. `invalid_parameters`: one of its addresses is not public.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise SiteError(ErrorCode.NETWORK, f"{host} has no address") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not addresses or not all(map(is_public, addresses)):
        # The message does not name the address: it would reveal the internal network.
        raise SiteError(ErrorCode.INVALID_PARAMETERS, f"{host} is not a public host")
    return addresses
