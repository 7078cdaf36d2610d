"""Connection tracking over netlink: flows dumped, filtered by the kernel, and deleted one by one.

Layouts: linux/netfilter/nfnetlink_conntrack.h. Numbers are in network order, except the flags
of CTA_FILTER (host order) and the labels (an array of `unsigned long`).
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from sekimori.wire.errors import BadPacket
from sekimori.wire.nfnetlink import CONNTRACK, DUMP, PREFIX, read_messages_untrusted, request
from sekimori.wire.nlattributes import Path, Reader, attribute, be16, be32, nested, u8

__all__ = [
    "ASSURED",
    "DST_NAT",
    "IPV4",
    "IPV6",
    "SEEN_REPLY",
    "SRC_NAT",
    "Entry",
    "Filter",
    "Tuple",
    "delete_request",
    "dump_request",
    "parse_untrusted",
]

Packed = bytes
"""An address in network order, in classes where `bytes` counts traffic."""

IPV4: Final = 2
IPV6: Final = 10

# enum ip_conntrack_status
SEEN_REPLY: Final = 0x2
ASSURED: Final = 0x4
SRC_NAT: Final = 0x10
DST_NAT: Final = 0x20

_ICMP, _ICMPV6 = 1, 58
_NEW, _GET, _DELETE = 0, 1, 2  # IPCTNL_MSG_CT_*

# CTA_*
_ORIGINAL, _REPLY, _STATUS, _PROTOINFO, _TIMEOUT, _MARK = 1, 2, 3, 4, 7, 8
_COUNTERS_ORIGINAL, _COUNTERS_REPLY, _ID, _ZONE, _TIMESTAMP, _LABELS, _FILTER = 9, 10, 12, 18, 20, 22, 25
# CTA_TUPLE_*, CTA_IP_*, CTA_PROTO_*
_IP, _PROTO = 1, 2
_ADDRESSES: Final = {IPV4: (1, 2), IPV6: (3, 4)}
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_ICMP_FIELDS: Final = {IPV4: (4, 5, 6), IPV6: (7, 8, 9)}  # id, type, code
_FILTER_FLAGS: Final = 1  # CTA_FILTER_ORIG_FLAGS
# Bits of its value: CTA_FILTER_F_* of the kernel's net/netfilter/nf_internals.h (in no public header)
_BY_SOURCE, _BY_DESTINATION, _BY_PROTOCOL, _BY_SOURCE_PORT, _BY_DESTINATION_PORT = 1, 2, 8, 16, 32

_LABEL_WORDS: Final = struct.Struct("=2Q")
_HOST_32: Final = struct.Struct("=L")


class Tuple(NamedTuple):
    """One direction of a flow: addresses packed (4 or 16 bytes), ports, or what ICMP has instead.

    Ports are None for ICMP and for protocols that have none; for GRE they are its key (PPTP's
    call id), or 0. `icmp` is (type, code, id).
    """

    source: Packed
    source_port: int | None
    destination: Packed
    destination_port: int | None
    icmp: tuple[int, int, int] | None = None

    @property
    def source_text(self) -> str:
        """The source address as text."""
        return str(ip_address(self.source))

    @property
    def destination_text(self) -> str:
        """The destination address as text."""
        return str(ip_address(self.destination))


class Entry(NamedTuple):
    """A tracked flow, as it stood when it was told.

    Attributes:
        family: 2 (IPv4) or 10 (IPv6).
        protocol: as in the IP header.
        original: as the first packet was before any translation.
        reply: as answers to it are, before they are translated back.
        status: bits, of which this module names some.
        mark: the connection mark.
        labels: bit n is set for `ct label` n.
        timeout: seconds that are left.
        packets: original direction; counters are None while net.netfilter.nf_conntrack_acct was 0.
        bytes: likewise, IP headers included.
        reply_packets: the other direction.
        reply_bytes: likewise.
        started: nanoseconds since the epoch; None while net.netfilter.nf_conntrack_timestamp was 0.
        tcp_state: 1 SYN_SENT, 2 SYN_RECV, 3 ESTABLISHED, 4 FIN_WAIT, 5 CLOSE_WAIT, 6 LAST_ACK,
            7 TIME_WAIT, 8 CLOSE (linux/netfilter/nf_conntrack_tcp.h).
        id: the kernel's; a later flow with the same ends has another, unless it took the same
            place in the kernel's memory.
        zone: of both directions; a zone for one direction only is not told.
    """

    family: int
    protocol: int
    original: Tuple
    reply: Tuple
    status: int
    mark: int
    labels: int
    timeout: int | None
    packets: int | None
    bytes: int | None
    reply_packets: int | None
    reply_bytes: int | None
    started: int | None
    tcp_state: int | None
    id: int
    zone: int


class Filter(NamedTuple):
    """Which flows to tell, by their original direction; None is any. Ports need a protocol."""

    protocol: int | None = None
    source: bytes | None = None
    source_port: int | None = None
    destination: bytes | None = None
    destination_port: int | None = None

    def matches(self, entry: Entry) -> bool:
        """Whether it lets a flow through."""
        told = entry.original
        return (
            self.protocol in (None, entry.protocol)
            and self.source in (None, told.source)
            and self.source_port in (None, told.source_port)
            and self.destination in (None, told.destination)
            and self.destination_port in (None, told.destination_port)
        )


def dump_request(family: int, only: Filter | None = None) -> bytes:
    """The question for the flows of a family (0 for both, without a filter) that a filter lets through.

    The answer may hold others too, for `Filter.matches` to leave out: kernels before 5.8 do not
    filter, and of IPv6 addresses they are not asked to, as they leave out just the flows that
    have the address (seen on Linux 6.18, ctnetlink_filter_match_tuple).

    Raises:
        ValueError: a port without a protocol, an address of the other family, or a filter for both.
    """
    if only is None:
        return request(CONNTRACK, _GET, family, flags=DUMP)
    if family not in _ADDRESSES:
        raise ValueError("the kernel filters flows of one family only")
    if only.protocol is None and (only.source_port, only.destination_port) != (None, None):
        raise ValueError("a port means something with a protocol only")
    size = 4 if family == IPV4 else 16
    if any(len(address) != size for address in (only.source, only.destination) if address is not None):
        raise ValueError("a filter with an address of the other family")
    return request(CONNTRACK, _GET, family, _wanted(family, only), DUMP)


def _wanted(family: int, only: Filter) -> bytes:
    """The attributes of a filter: a tuple, and which of its fields count."""
    source, destination = _ADDRESSES[family]
    by_address = family == IPV4
    ends = (
        (_BY_SOURCE, by_address, source, only.source),
        (_BY_DESTINATION, by_address, destination, only.destination),
    )
    transport = (
        (_BY_PROTOCOL, 1, _NUMBER, only.protocol),
        (_BY_SOURCE_PORT, 2, _SOURCE_PORT, only.source_port),
        (_BY_DESTINATION_PORT, 2, _DESTINATION_PORT, only.destination_port),
    )
    addresses = [
        (flag, attribute(kind, value)) for flag, asked, kind, value in ends if asked and value is not None
    ]
    numbers = [
        (flag, attribute(kind, value.to_bytes(size, "big")))
        for flag, size, kind, value in transport
        if value is not None
    ]
    flags = sum(flag for flag, _ in (*addresses, *numbers))
    if not flags:
        return b""
    tuple_ = nested(
        _ORIGINAL,
        nested(_IP, *(each for _, each in addresses)),
        nested(_PROTO, *(each for _, each in numbers)),
    )
    return tuple_ + nested(_FILTER, attribute(_FILTER_FLAGS, _HOST_32.pack(flags)))


def delete_request(entry: Entry) -> bytes:
    """The request to forget exactly this flow; ENOENT when it has ended, even if its like has begun."""
    attributes = _tuple(entry) + be32(_ID, entry.id)
    if entry.zone:
        attributes += be16(_ZONE, entry.zone)
    return request(CONNTRACK, _DELETE, entry.family, attributes)


def parse_untrusted(data: bytes) -> list[Entry]:
    """The flows in a datagram of an answer; messages of other kinds are passed over.

    Raises:
        BadPacket: it is cut off, or a flow lacks its addresses or protocol.
    """
    return [
        _entry(message.payload)
        for message in read_messages_untrusted(data)
        if message.kind == CONNTRACK << 8 | _NEW
    ]


def _tuple(entry: Entry) -> bytes:
    told = entry.original
    source, destination = _ADDRESSES[entry.family]
    transport = [u8(_NUMBER, entry.protocol)]
    if told.icmp is not None:
        kind, code, number = told.icmp
        number_at, kind_at, code_at = _ICMP_FIELDS[entry.family]
        transport += [u8(kind_at, kind), u8(code_at, code), be16(number_at, number)]
    if told.source_port is not None and told.destination_port is not None:
        transport += [be16(_SOURCE_PORT, told.source_port), be16(_DESTINATION_PORT, told.destination_port)]
    addresses = nested(_IP, attribute(source, told.source), attribute(destination, told.destination))
    return nested(_ORIGINAL, addresses, nested(_PROTO, *transport))


def _fields(family: int) -> dict[Path, str]:
    address = "4s" if family == IPV4 else "16s"
    fields: dict[Path, str] = {}
    for way in (_ORIGINAL, _REPLY):
        source, destination = _ADDRESSES[family]
        number_at, kind_at, code_at = _ICMP_FIELDS[family]
        fields |= {
            (way, _IP, source): address,
            (way, _PROTO, _SOURCE_PORT): "H",
            (way, _IP, destination): address,
            (way, _PROTO, _DESTINATION_PORT): "H",
            (way, _PROTO, kind_at): "B",
            (way, _PROTO, code_at): "B",
            (way, _PROTO, number_at): "H",
        }
    return fields | {
        (_ORIGINAL, _PROTO, _NUMBER): "B",
        (_STATUS,): "I",
        (_MARK,): "I",
        (_LABELS,): "",
        (_ID,): "I",
        (_ZONE,): "H",
        (_TIMEOUT,): "I",
        (_COUNTERS_ORIGINAL, 1): "Q",  # CTA_COUNTERS_PACKETS
        (_COUNTERS_ORIGINAL, 2): "Q",  # CTA_COUNTERS_BYTES
        (_COUNTERS_REPLY, 1): "Q",
        (_COUNTERS_REPLY, 2): "Q",
        (_TIMESTAMP, 1): "Q",  # CTA_TIMESTAMP_START
        (_PROTOINFO, 1, 1): "B",  # CTA_PROTOINFO_TCP, CTA_PROTOINFO_TCP_STATE
    }


_READERS: Final = {family: Reader(_fields(family)) for family in (IPV4, IPV6)}


def _entry(payload: bytes) -> Entry:
    if len(payload) < PREFIX:
        raise BadPacket("flow without netfilter's header")
    family = payload[0]
    reader = _READERS.get(family)
    if reader is None:
        raise BadPacket("flow of a family that is neither IPv4 nor IPv6")
    values = reader.read_untrusted(payload, PREFIX, len(payload))
    protocol, status, mark, labels, number, zone, timeout, *figures = values[14:]
    if protocol is None:
        raise BadPacket("flow without a protocol")
    packets, octets, reply_packets, reply_octets, started, tcp_state = figures
    return Entry(
        family,
        protocol,
        _direction(values[:7]),
        _direction(values[7:14]),
        status or 0,
        mark or 0,
        _label_bits(labels),
        timeout,
        packets,
        octets,
        reply_packets,
        reply_octets,
        started,
        tcp_state,
        number or 0,
        zone or 0,
    )


def _direction(values: tuple[Any, ...]) -> Tuple:
    source, source_port, destination, destination_port, kind, code, number = values
    if source is None or destination is None:
        raise BadPacket("flow without its addresses")
    if kind is None:
        return Tuple(source, source_port, destination, destination_port)
    return Tuple(source, source_port, destination, destination_port, (kind, code or 0, number or 0))


def _label_bits(labels: bytes | None) -> int:
    if labels is None:
        return 0
    if len(labels) != _LABEL_WORDS.size:
        raise BadPacket("labels of another size than 128 bits")
    low, high = _LABEL_WORDS.unpack(labels)
    return int(low | high << 64)
