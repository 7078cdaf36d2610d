"""Ports for tests: free ones, and each only once, however many test processes there are."""

from __future__ import annotations

import itertools
import os
import socket
from typing import Final

__all__ = ["free_ports"]

_PORTS: Final = range(20000, 32000)
"""Below the ports that Linux gives out by itself (ip_local_port_range), so nobody takes one meanwhile."""
_BLOCK: Final = 64
"""A process takes so many neighbouring ports at once, for one descriptor that holds them all: thousands
of tests ask for ports, and some wait with select(2), which knows no descriptor past 1,023."""

_next_port = itertools.cycle(_PORTS)
for _ in range(os.getpid() * 61 % len(_PORTS)):  # test processes beside each other begin apart
    next(_next_port)
_blocks: dict[int, bool] = {}
"""Blocks that were asked for, and whether they are ours."""


def free_ports(count: int = 1) -> int:
    """The first of `count` neighbouring ports that are free in TCP and UDP, IPv4 and IPv6.

    They are this process's for as long as it lives: no other that asks here gets them.
    """
    while True:
        first = next(_next_port)
        wanted = range(first, first + count)
        if wanted[-1] in _PORTS and all(map(_is_ours, wanted)) and all(map(_is_free, wanted)):
            for _ in wanted[1:]:
                next(_next_port)
            return first


def _is_ours(port: int) -> bool:
    block = port // _BLOCK
    if block not in _blocks:
        _blocks[block] = _reserve(block)
    return _blocks[block]


def _reserve(block: int) -> bool:
    """Take a name for a block that only one process can have (unix(7), abstract sockets)."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.bind(f"\0sekimori-test-ports-{block}")
    except OSError:
        sock.close()
        return False
    sock.detach()  # the kernel lets it go when the process ends
    return True


def _is_free(port: int) -> bool:
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                with socket.socket(family, kind) as sock:
                    if family == socket.AF_INET6:
                        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    sock.bind((address, port))
    except OSError:
        return False
    return True
