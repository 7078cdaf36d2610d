"""The networks that this machine is in, as the kernel has them now."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress

__all__ = ["own_networks"]


def own_networks() -> tuple[str, ...]:
    """The prefixes of all addresses of all interfaces, in order; loopback and link-local ones too."""
    # Imported late: most processes never ask.
    import psutil

    found: set[str] = set()
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family in (socket.AF_INET, socket.AF_INET6):
                host = each.address.partition("%")[0]
                with suppress(ValueError):  # an address without a mask (point to point) is a network alone
                    found.add(_prefix(host, each.netmask))
    return tuple(sorted(found))


def _prefix(host: str, netmask: str | None) -> str:
    if not netmask:
        return str(ipaddress.ip_network(host))
    bits = int(ipaddress.ip_address(netmask)).bit_count()
    return str(ipaddress.ip_network(f"{host}/{bits}", strict=False))
