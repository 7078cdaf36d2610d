"""Which ports of this machine are listened on, and by whom one is used: the kernel's socket tables."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from sekimori.model.address import IPAddress

__all__ = ["Listener", "read_connected", "read_listeners"]

_TABLES: Final = (("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp"))
_LISTEN: Final = "0A"  # TCP_LISTEN, include/net/tcp_states.h
_NO_PEER: Final = "0000"


class Listener(NamedTuple):
    """A socket that takes what comes to a port, from anyone."""

    protocol: str
    address: IPAddress
    port: int

    def meets(self, protocol: str, port: int, address: IPAddress | None) -> bool:
        """Whether packets of a port at an address (None is any) come to it."""
        if (self.protocol, self.port) != (protocol, port):
            return False
        if self.address.is_loopback:
            return False
        return address is None or self.address.is_unspecified or self.address == address


def read_listeners(root: Path = Path("/proc/net")) -> tuple[Listener, ...]:
    """Listening TCP sockets and UDP sockets without a peer (proc(5), `/proc/net/tcp`).

    A table that is not there (a kernel without IPv6) has none.
    """
    found: dict[Listener, None] = {}
    for table, protocol in _TABLES:
        try:
            text = (root / table).read_text()
        except FileNotFoundError:
            continue
        found.update(dict.fromkeys(_read(text, protocol)))
    return tuple(found)


def read_connected(port: int, root: Path = Path("/proc/net")) -> frozenset[tuple[IPAddress, int]]:
    """The other ends, by address and port, of the TCP connections to a port of this machine."""
    found = set[tuple[IPAddress, int]]()
    for table in ("tcp", "tcp6"):
        try:
            text = (root / table).read_text()
        except FileNotFoundError:
            continue
        ours = f":{port:04X}"
        for line in text.splitlines()[1:]:
            _, local, remote, state, *_ = line.split()
            if state != _LISTEN and local.endswith(ours):
                host, _, sport = remote.partition(":")
                found.add((_address(host), int(sport, 16)))
    return frozenset(found)


def _read(text: str, protocol: str) -> Iterator[Listener]:
    for line in text.splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        if remote.endswith(_NO_PEER) and (protocol == "udp" or state == _LISTEN):
            host, _, port = local.partition(":")
            yield Listener(protocol, _address(host), int(port, 16))


def _address(text: str) -> IPAddress:
    # Words of 32 bits in the byte order of the machine.
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
