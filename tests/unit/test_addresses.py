from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.http.addresses import is_public


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "172.32.0.1",
        "100.128.0.1",
        "168.63.129.17",
        "199.36.153.3",
        "2606:4700::1111",
        "64:ff9b::808:808",
    ],
)
def test_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.0.1", "169.254.169.254", "172.16.0.1",
        "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
        "203.0.113.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255",
        "168.63.129.16", "161.26.0.10", "166.8.0.1", "166.11.255.255", "199.36.153.4", "199.36.153.11",
        "100.100.100.200", "192.0.0.192", "169.254.170.2", "169.254.0.23",
        "::", "::1", "::ffff:8.8.8.8", "::ffff:10.0.0.1", "::8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::a00:1",
        "64:ff9b:1::1", "64:ff9b::a83f:8110",
        "100::1", "2001::1", "2001:db8::1", "2002:a00:1::", "2002:808:808::", "3fff::1", "5f00::1",
        "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254",
        "fd00:c1::a9fe:a9fe", "fd00:42::42",
    ],
)  # fmt: skip
def test_not_public(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_an_embedded_ipv4_address_is_checked(address: IPv4Address) -> None:
    assert is_public(f"64:ff9b::{address}") == is_public(str(address))
    assert not is_public(f"::ffff:{address}")
    assert not is_public(str(IPv6Address((0x2002 << 112) | (int(address) << 80))))


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6, network="2000::/3"))
def test_special_purpose_addresses_are_not_public(address: IPv4Address | IPv6Address) -> None:
    if (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
    ):
        assert not is_public(str(address))
