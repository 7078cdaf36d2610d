"""What the kernel's figures say of mappings: tracked flows, and the counters of set elements. Pure.

Conntrack counts and dates flows only where `net.netfilter.nf_conntrack_acct` and
`net.netfilter.nf_conntrack_timestamp` are 1, from the moment they are: a flow from before has no figures,
which reads as 0.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sekimori.model.actual import Counters, Flow, SourceUse
from sekimori.model.address import IpProtocol
from sekimori.wire.conntrack import ASSURED, IPV6, SEEN_REPLY, Entry
from sekimori.wire.nftelements import Seen

__all__ = [
    "DEFAULT_TIMEOUTS",
    "Timeouts",
    "is_live",
    "read_counters",
    "read_flow",
    "read_sources",
    "timeout_name",
]

Timeouts = Mapping[str, int]
"""Seconds by the ending of their sysctl's name: `net.netfilter.nf_conntrack_` + `udp_timeout_stream`."""

_TCP_STATES: Final = (
    "none",
    "syn_sent",
    "syn_recv",
    "established",
    "fin_wait",
    "close_wait",
    "last_ack",
    "time_wait",
    "close",
    "syn_sent2",
)
"""enum tcp_conntrack (linux/netfilter/nf_conntrack_tcp.h), in conntrack(8)'s words."""

DEFAULT_TIMEOUTS: Final[Timeouts] = {
    "tcp_timeout_syn_sent": 120,
    "tcp_timeout_syn_recv": 60,
    "tcp_timeout_established": 432000,
    "tcp_timeout_fin_wait": 120,
    "tcp_timeout_close_wait": 60,
    "tcp_timeout_last_ack": 30,
    "tcp_timeout_time_wait": 120,
    "tcp_timeout_close": 10,
    "tcp_timeout_unacknowledged": 300,
    "udp_timeout": 30,
    "udp_timeout_stream": 120,
    "sctp_timeout_established": 210,
    "sctp_timeout_cookie_wait": 3,
    "gre_timeout": 30,
    "gre_timeout_stream": 180,
    "icmp_timeout": 30,
    "icmpv6_timeout": 30,
    "generic_timeout": 600,
}
"""The kernel's own (its Documentation/networking/nf_conntrack-sysctl.rst), for all that is asked for."""

_TCP, _UDP, _SCTP, _GRE = (
    each.number for each in (IpProtocol.TCP, IpProtocol.UDP, IpProtocol.SCTP, IpProtocol.GRE)
)
_ICMP, _ICMPV6 = 1, 58  # IANA's protocol numbers
_ESTABLISHED: Final = _TCP_STATES.index("established")
_ENDED: Final = {_TCP_STATES.index("time_wait"), _TCP_STATES.index("close")}
_NAMES: Final = {each.number: str(each) for each in IpProtocol if each.number} | {
    _ICMP: "icmp",
    _ICMPV6: "icmpv6",
    51: "ah",
    136: "udplite",
}
_TIMEOUT_STEMS: Final = {_UDP: "udp_timeout", _GRE: "gre_timeout"}


def is_live(entry: Entry) -> bool:
    """Whether bytes may still go through: a TCP connection that has ended is remembered for a while."""
    return entry.protocol != _TCP or entry.tcp_state not in _ENDED


def read_flow(entry: Entry, now: float, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> Flow:
    """One flow as people are told of it. In is the direction of its first packet.

    Args:
        entry: a flow of a mapping, which began outside.
        now: Unix seconds, at which `entry` was told.
        timeouts: as they are set on this machine; what is missing has the kernel's default.
    """
    original, reply = entry.original, entry.reply
    return Flow(
        protocol=_NAMES.get(entry.protocol, str(entry.protocol)),
        source=_endpoint(entry, original.source, original.source_port),
        target=_endpoint(entry, reply.source, reply.source_port),
        bytes_in=entry.bytes or 0,
        bytes_out=entry.reply_bytes or 0,
        packets_in=entry.packets or 0,
        packets_out=entry.reply_packets or 0,
        age=_age(entry, now),
        idle=_idle(entry, timeouts),
        state=_state(entry),
    )


def read_sources(
    entries: Iterable[Entry], now: float, timeouts: Timeouts = DEFAULT_TIMEOUTS
) -> list[SourceUse]:
    """What each source did with a mapping, the latest seen first, as far as conntrack remembers: the totals
    are those of flows that are live or have just ended.
    """
    found: dict[bytes, _Use] = {}
    for entry in entries:
        source = entry.original.source
        found.setdefault(source, _Use(now)).add(entry, now, timeouts)
    uses = [use.told(str(ipaddress.ip_address(source))) for source, use in found.items()]
    return sorted(uses, key=lambda use: use.last_seen, reverse=True)


def read_counters(
    seen: Mapping[str, Iterable[Seen]], flows: Iterable[Entry] = (), refused_as: str = "source"
) -> Counters:
    """The figures of one mapping, from the elements of it by what they count.

    Args:
        seen: by `elements.counts`: `in` and `out` count every packet, `new` the flows that were admitted,
            `asked` those that wished to be. Without `new` (nothing is translated) flows are not counted.
        flows: those of the mapping that are tracked now.
        refused_as: by what cause flows are turned away, where all are by one.
    """
    packets_in, bytes_in = _sums(seen.get("in", ()))
    packets_out, bytes_out = _sums(seen.get("out", ()))
    new = list(seen.get("new", ()))
    admitted, _ = _sums(new)
    asked, _ = _sums(seen.get("asked", ()))
    known = list(flows)
    refused = asked - admitted if new else 0
    return Counters(
        flows_active=sum(map(is_live, known)),
        flows_total=admitted,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        packets_in=packets_in,
        packets_out=packets_out,
        refused={refused_as: refused} if refused > 0 else {},
        last_flow_at=max((entry.started / 1e9 for entry in known if entry.started), default=None),
    )


def timeout_name(entry: Entry) -> str:
    """Which timeout a flow had when its last packet came, as a key of `Timeouts`."""
    if entry.protocol == _TCP:
        return _tcp_timeout(entry)
    stem = _TIMEOUT_STEMS.get(entry.protocol)
    if stem is not None:  # both have a longer one once each side has been heard for a while
        return f"{stem}_stream" if entry.status & ASSURED else stem
    if entry.protocol == _SCTP:
        return "sctp_timeout_established" if entry.status & ASSURED else "sctp_timeout_cookie_wait"
    if entry.protocol in (_ICMP, _ICMPV6):
        return "icmp_timeout" if entry.protocol == _ICMP else "icmpv6_timeout"
    return "generic_timeout"


def _tcp_timeout(entry: Entry) -> str:
    state = entry.tcp_state or 0
    unacknowledged = DEFAULT_TIMEOUTS["tcp_timeout_unacknowledged"]
    if state == _ESTABLISHED and entry.timeout is not None and entry.timeout <= unacknowledged:
        # Data wait for their acknowledgement; far likelier than five days without a packet.
        return "tcp_timeout_unacknowledged"
    if not 0 < state < len(_TCP_STATES):
        return "tcp_timeout_syn_sent"
    return f"tcp_timeout_{_TCP_STATES[state].removesuffix('2')}"


def _idle(entry: Entry, timeouts: Timeouts) -> float:
    if entry.timeout is None:
        return 0.0
    name = timeout_name(entry)
    return float(max(0, timeouts.get(name, DEFAULT_TIMEOUTS[name]) - entry.timeout))


def _age(entry: Entry, now: float) -> float:
    return max(0.0, now - entry.started / 1e9) if entry.started else 0.0


def _state(entry: Entry) -> str:
    if entry.protocol == _TCP and entry.tcp_state is not None:
        return _TCP_STATES[entry.tcp_state] if entry.tcp_state < len(_TCP_STATES) else str(entry.tcp_state)
    if not entry.status & SEEN_REPLY:
        return "unreplied"
    return "assured" if entry.status & ASSURED else "replied"


def _endpoint(entry: Entry, address: bytes, port: int | None) -> str:
    text = str(ipaddress.ip_address(address))
    if port is None or entry.protocol == _GRE:  # a key is no port
        return text
    return f"[{text}]:{port}" if entry.family == IPV6 else f"{text}:{port}"


def _sums(seen: Iterable[Seen]) -> tuple[int, int]:
    packets = octets = 0
    for each in seen:
        packets += each.packets or 0
        octets += each.bytes or 0
    return packets, octets


@dataclass(slots=True)
class _Use:
    first_seen: float
    last_seen: float = 0.0
    active: int = 0
    total: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    packets_in: int = 0
    packets_out: int = 0

    def add(self, entry: Entry, now: float, timeouts: Timeouts) -> None:
        self.first_seen = min(self.first_seen, now - _age(entry, now))
        self.last_seen = max(self.last_seen, now - _idle(entry, timeouts))
        self.active += is_live(entry)
        self.total += 1
        self.bytes_in += entry.bytes or 0
        self.bytes_out += entry.reply_bytes or 0
        self.packets_in += entry.packets or 0
        self.packets_out += entry.reply_packets or 0

    def told(self, source: str) -> SourceUse:
        return SourceUse(
            source=source,
            flows_active=self.active,
            flows_total=self.total,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            packets_in=self.packets_in,
            packets_out=self.packets_out,
            refused=0,
            first_seen=self.first_seen,
            last_seen=self.last_seen,
        )
