"""The networks of this machine, beside what the kernel's own table says."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from sekimori.host.ownnetworks import own_networks


def test_each_is_a_prefix_and_loopback_is_among_them() -> None:
    found = own_networks()
    assert "127.0.0.0/8" in found
    assert [str(ipaddress.ip_network(text)) for text in found] == list(found)
    assert sorted(set(found)) == list(found)


def test_every_ipv6_address_of_the_kernels_is_in_one() -> None:
    networks = [ipaddress.ip_network(text) for text in own_networks()]
    table = Path("/proc/net/if_inet6")  # absent where the kernel has no IPv6
    for line in table.read_text(encoding="ascii").splitlines() if table.exists() else ():
        address = ipaddress.IPv6Address(int(line.split()[0], 16))
        bits = int(line.split()[2], 16)
        assert ipaddress.ip_network((address, bits), strict=False) in networks
