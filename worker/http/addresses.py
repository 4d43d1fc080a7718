"""Which addresses of the internet a user may have this worker connect to."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from worker.errors import ErrorCode, SiteError

# IPv4 addresses for hosts that have IPv6 alone (RFC 6052): as public as the address inside.
_NAT64 = IPv6Network("64:ff9b::/96")
# Global unicast addresses (https://www.iana.org/assignments/ipv6-address-space). All others are local, or lead to an
# IPv4 address in a roundabout way.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Within the rest, what is no host's own address, also where an early Python takes it for one
# (https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry).
_SPECIAL = tuple(
    map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)
# Of the internet by number, but answered by the platform that a worker runs on, and to its machines alone: its agents
# and name servers (https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16), its services
# (https://cloud.ibm.com/docs/vpc?topic=vpc-service-endpoints-for-vpc), its APIs
# (https://cloud.google.com/vpc/docs/configure-private-google-access). The others' are of link-local or private ranges.
_PLATFORMS = tuple(
    map(ip_network, ("168.63.129.16/32", "161.26.0.0/16", "166.8.0.0/14", "199.36.153.4/30", "199.36.153.8/30"))
)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to a host on the internet: not to this machine, its network or a provider's inside.

    Args:
        address: As text; of IPv6 also with a zone.
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
    """Resolve a host that a user named.

    Returns:
        Its IP addresses, best first, all of them public. A connection has to go to one of these: the same name may
        lead elsewhere a moment later.

    Raises:
        SiteError: `network`, it has no address; `invalid_parameters`, one of them is not public.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise SiteError(ErrorCode.NETWORK, f"{host} has no address") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not addresses or not all(map(is_public, addresses)):
        # Which one, and where it leads, is nobody's business who asks from outside.
        raise SiteError(ErrorCode.INVALID_PARAMETERS, f"{host} is not a public host")
    return addresses
