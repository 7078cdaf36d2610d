"""Flows that were ended are not taken up again half way. Pure.

Conntrack takes up a TCP connection in the middle (`nf_conntrack_tcp_loose`), so one that it is told to
forget would go on with its next packet: from outside as long as its mapping stands; from inside even without,
as what the LAN sends out, which the gateway translates to its own address and mostly the same port. That
is right after a restart or a loss of the table, and wrong for a flow that was ended. So such a connection's
ends are remembered for as long as one of them may be silent, and the next packet of either is answered with a
reset. A new connection may take the same ends: it begins with a SYN.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sekimori.model.address import IpProtocol
from sekimori.planes.kernel.elements import Item
from sekimori.planes.kernel.readings import is_live
from sekimori.wire.conntrack import IPV4, Entry, Tuple
from sekimori.wire.nftelements import address_port_data

__all__ = ["ENDED_CHAIN", "ENDED_SETS", "TO_ENDED", "ended_items"]

ENDED_SETS: Final = {
    "ended4": "ipv4_addr . inet_service . ipv4_addr . inet_service",
    "ended6": "ipv6_addr . inet_service . ipv6_addr . inet_service",
}
"""The sets of remembered ends, with the type of their keys: source, port, destination, port."""

ENDED_CHAIN: Final = (
    "ended",
    tuple(
        f"{family} saddr . tcp sport . {family} daddr . tcp dport @{name} counter reject with tcp reset"
        for name, family in (("ended4", "ip"), ("ended6", "ip6"))
    ),
)
"""The chain that resets what is remembered, with its rules."""

TO_ENDED: Final = f"ct state new tcp flags & (fin | syn | rst | ack) != syn jump {ENDED_CHAIN[0]}"
"""The rule that leads there, for prerouting, before DNAT, and for what this machine itself sends."""

_REMEMBERED: Final = 8000.0
"""Seconds. An idle connection says something after 7,200 s, where it has keep-alives (tcp(7)); then eight
times in ten minutes."""
_TCP: Final = IpProtocol.TCP.number


def ended_items(entries: Iterable[Entry], now: float) -> list[Item]:
    """What has the kernel refuse to take up these flows again, from either end."""
    found: dict[Item, None] = {}
    for entry in entries:
        if entry.protocol != _TCP or not is_live(entry):
            continue
        name = "ended4" if entry.family == IPV4 else "ended6"
        for way in (entry.original, entry.reply):
            found[Item(name, _key(way), until=now + _REMEMBERED)] = None
    return list(found)


def _key(way: Tuple) -> bytes:
    source = address_port_data(way.source, way.source_port or 0)
    return source + address_port_data(way.destination, way.destination_port or 0)
