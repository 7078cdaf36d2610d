"""What a rule can ask of a packet: the left side of a match, read for the packet that is asked about."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

from sekimori.model.address import IPAddress
from sekimori.observe.diagnose.probe import Packet, Way
from sekimori.observe.diagnose.strangers import Stranger

__all__ = ["ABSENT", "EPHEMERAL", "PROTOCOLS", "UNKNOWN", "read_field"]


class _Special(Enum):
    UNKNOWN = "unknown"
    ABSENT = "absent"
    EPHEMERAL = "ephemeral"


UNKNOWN: Final = _Special.UNKNOWN
"""It depends on more than the probe says."""
ABSENT: Final = _Special.ABSENT
"""The packet has no such field."""
EPHEMERAL: Final = _Special.EPHEMERAL
"""Some port from 1024 up that a client's system chose, and none in particular."""

PROTOCOLS: Final = {
    1: "icmp",
    6: "tcp",
    17: "udp",
    41: "ipv6",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "ipv6-icmp",
    132: "sctp",
    33: "dccp",
    136: "udplite",
}
"""IANA's protocol numbers, by the names that nft prints."""

_WITH_PORTS: Final = frozenset({"tcp", "udp", "sctp", "dccp", "udplite"})


def read_field(expression: Any, packet: Packet) -> Any:
    """The value of an expression: a number, a name, an address, flags, a tuple (concatenation), or one of
    `UNKNOWN` and `ABSENT`.
    """
    if not isinstance(expression, dict) or len(expression) != 1:
        return UNKNOWN
    ((kind, body),) = expression.items()
    read = _READERS.get(kind)
    return UNKNOWN if read is None else read(body, packet)


def _meta(body: Mapping[str, Any], packet: Packet) -> Any:
    key = body["key"]
    if key in ("iifname", "iif"):
        return packet.iif
    if key in ("oifname", "oif"):
        return packet.oif
    if key == "l4proto":
        return packet.probe.protocol
    if key == "mark":
        return _mark(packet.marks["meta"])
    if key in ("secpath", "ipsec"):
        return False
    if key in ("skuid", "skgid") and packet.probe.way is Way.FORWARD:
        return ABSENT
    return {
        "nfproto": "ipv4" if packet.version == 4 else "ipv6",
        "protocol": "ip" if packet.version == 4 else "ip6",
        "pkttype": "host",
    }.get(key, UNKNOWN)


def _mark(mark: int | None) -> Any:
    return UNKNOWN if mark is None else mark


def _payload(body: Mapping[str, Any], packet: Packet) -> Any:
    protocol, field = body.get("protocol"), body.get("field")
    if protocol in ("ip", "ip6"):
        return _ip(field, packet) if (packet.version == 4) == (protocol == "ip") else ABSENT
    if protocol in _WITH_PORTS or protocol == "th":
        return _transport(str(protocol), field, packet)
    if protocol in ("icmp", "icmpv6", "igmp", "esp", "ah", "gre", "comp"):
        return UNKNOWN if packet.probe.protocol == protocol else ABSENT
    return UNKNOWN


def _ip(field: Any, packet: Packet) -> Any:
    if field == "saddr":
        return packet.saddr
    if field == "daddr":
        return packet.daddr
    if field in ("protocol", "nexthdr"):
        return packet.probe.protocol
    return {"version": packet.version, "frag-off": 0}.get(str(field), UNKNOWN)


def _transport(protocol: str, field: Any, packet: Packet) -> Any:
    mine = packet.probe.protocol
    if mine not in _WITH_PORTS or protocol not in ("th", mine):
        return ABSENT
    if field in ("sport", "dport"):
        port = packet.sport if field == "sport" else packet.dport
        if port is not None:
            return port
        return EPHEMERAL if (field == "dport") is packet.probe.reply else UNKNOWN
    if protocol == "tcp" and field == "flags":
        return frozenset({"syn", "ack"} if packet.probe.reply else {"syn"})
    return UNKNOWN


def _ct(body: Mapping[str, Any], packet: Packet) -> Any:
    key, probe = str(body["key"]), packet.probe
    if key == "state":
        return frozenset({packet.state})
    if key == "status":
        return packet.status
    if key == "direction":
        return "reply" if probe.reply else "original"
    if key == "mark":
        return _mark(packet.marks["ct"])
    if key == "zone":
        return 0
    if key in ("protocol", "l3proto"):
        return probe.protocol if key == "protocol" else "ipv4" if packet.version == 4 else "ipv6"
    return _tuple(key, str(body.get("dir", "original")), packet)


def _tuple(key: str, direction: str, packet: Packet) -> Any:
    """A part of the flow's original or reply tuple, as far as the destination NAT at hand decides it."""
    probe = packet.probe
    if key.startswith("ip6 " if packet.version == 4 else "ip "):
        return ABSENT
    word = key.rsplit(" ", 1)[-1]
    if direction == "original":
        values = {"saddr": probe.stranger, "daddr": probe.destination, "proto-dst": probe.dport}
    else:
        values = {"saddr": probe.target, "daddr": probe.stranger, "proto-src": probe.target_port}
    value = values.get(word)
    return UNKNOWN if value is None else value


def _fib(body: Mapping[str, Any], packet: Packet) -> Any:
    flags = body.get("flags", ())
    if body["result"] == "type":
        address = packet.daddr if "daddr" in flags else packet.saddr
        return "local" if not isinstance(address, Stranger) and address in packet.probe.own else "unicast"
    # Asked as a question of existence: a route back to the source (by this interface).
    if "saddr" in flags and body["result"] in ("oif", "oifname") and packet.probe.sure_route:
        return True
    return UNKNOWN


def _extension(body: Mapping[str, Any], _packet: Packet) -> Any:
    """Extension headers of IPv6, and options: an ordinary packet has none."""
    return ABSENT if "field" in body else False


def _concat(body: list[Any], packet: Packet) -> Any:
    values = tuple(read_field(each, packet) for each in body)
    return ABSENT if ABSENT in values else values


def _and(body: list[Any], packet: Packet) -> Any:
    value = read_field(body[0], packet)
    if isinstance(value, _Special):
        return value
    if isinstance(value, frozenset):
        kept = body[1] if isinstance(body[1], list) else body[1:]
        flat = [
            flag
            for each in kept
            for flag in (each["|"] if isinstance(each, dict) and "|" in each else [each])
        ]
        return value & frozenset(map(str, flat))
    if isinstance(value, IPAddress):
        try:
            return type(value)(int(value) & int(ipaddress.ip_address(str(body[1]))))
        except ValueError:
            return UNKNOWN
    if isinstance(value, int) and all(isinstance(each, int) for each in body[1:]):
        for mask in body[1:]:
            value &= mask
        return value
    return UNKNOWN


def _arithmetic(operate: Callable[[int, int], int]) -> Callable[[list[Any], Packet], Any]:
    def read(body: list[Any], packet: Packet) -> Any:
        values = [each if isinstance(each, int) else read_field(each, packet) for each in body]
        if len(values) == 2 and isinstance(values[0], int) and isinstance(values[1], int):
            return operate(values[0], values[1])
        return UNKNOWN

    return read


_READERS: Final[dict[str, Callable[[Any, Packet], Any]]] = {
    "meta": _meta,
    "payload": _payload,
    "ct": _ct,
    "fib": _fib,
    "concat": _concat,
    "exthdr": _extension,
    "ip option": _extension,
    "&": _and,
    "|": _arithmetic(lambda one, other: one | other),
    "^": _arithmetic(lambda one, other: one ^ other),
}
