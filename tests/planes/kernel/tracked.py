"""A gateway's network, mappings on it, and flows as conntrack would tell them."""

from __future__ import annotations

import ipaddress
import itertools
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from sekimori.model.address import IpProtocol, PortRange, parse_on, parse_ports, parse_spans
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind, Trigger
from sekimori.model.network import Lan, Network, Wan
from sekimori.model.source import Sources
from sekimori.model.target import Target, TargetKind, pair_ports
from sekimori.planes.kernel.frame import FORWARD_LABEL
from sekimori.reconcile.ports import Wanted
from sekimori.wire.conntrack import ASSURED, DST_NAT, IPV4, IPV6, SEEN_REPLY, SRC_NAT, Entry, Tuple

NOW = 1_800_000_000
WAN, TOO, OTHER = "203.0.113.2", "203.0.113.3", "198.18.0.2"
WAN6 = "2001:db8:2::2"
VISITOR, STRANGER = "198.51.100.10", "198.51.100.20"
VISITOR6 = "2001:db8:1::10"
GATEWAY = "192.168.1.1"
TCP, UDP, SCTP, GRE, ESP, ICMP = 6, 17, 132, 47, 50, 1

NETWORK = Network(
    wans=(
        Wan("wan0", (IPv4Address(WAN), IPv4Address(TOO)), (IPv6Address(WAN6),)),
        Wan("wan1", (IPv4Address(OTHER),), ()),
    ),
    lans=(
        Lan("home", (IPv4Network("192.168.1.0/24"), IPv6Network("2001:db8:3::/64")), (IPv4Address(GATEWAY),)),
        Lan("guests", (IPv6Network("2001:db8:4::/56"),), (IPv6Address("2001:db8:4::1"),)),
    ),
    forwarding4=True,
    forwarding6=True,
    own=frozenset(map(ipaddress.ip_address, (WAN, TOO, OTHER, WAN6, GATEWAY, "2001:db8:3::1"))),
)

_ids = itertools.count(1)


def wanted(
    name: str,
    ports: str,
    to: str,
    *,
    sources: str = "anyone",
    on: str | None = None,
    targets: tuple[str, ...] | None = None,
    excepted: str = "",
    **fields: Any,
) -> Wanted:
    """A mapping of the kernel plane; `to` may have a port or a range of ports."""
    host, _, inside = to.partition(" ")
    trigger = Trigger(parse_spans("udp/3000"), 600) if host == "trigger" else None
    target = Target.parse_host(host)
    may = Sources.parse(sources)
    mapping = Mapping(
        id=name,
        name=name,
        owner=Owner(OwnerKind.PERSON, "test"),
        ports=pair_ports(parse_ports(ports), PortRange.parse(inside) if inside else None, host),
        target=target,
        sources=may,
        lifetime=Lifetime.lasting(3600, NOW),
        on=parse_on(on) if on else None,
        path=(Hop("kernel"),),
        trigger=trigger,
        excepted=parse_spans(excepted) if excepted else (),
        **fields,
    )
    if targets is None:
        own = ("127.0.0.1", "::1") if target.kind is TargetKind.SELF else ()
        targets = (target.host,) if target.kind is TargetKind.ADDRESS else own
    return Wanted(mapping, None, targets, may.resolve({}), 0.0)


def flow(
    protocol: int | IpProtocol,
    source: str,
    destination: str,
    *,
    to: str | None = None,
    snat: str | None = None,
    status: int | None = None,
    state: int | None = None,
    labels: int = 1 << FORWARD_LABEL,
    **fields: Any,
) -> Entry:
    """A flow from `source` to `destination`; `to` is where it was translated to (DNAT), `snat` as whom.

    Ends are `address port`, or `address` for protocols without ports.
    """
    number = protocol.number if isinstance(protocol, IpProtocol) else protocol
    begun, wished, went, seems = (_end(text) for text in (source, destination, to, snat or source))
    assert begun is not None
    assert wished is not None
    assert seems is not None
    reached = went or wished
    translated = (DST_NAT if to else 0) | (SRC_NAT if snat else 0)
    if number == TCP and state is None:
        state = 3
    values: dict[str, Any] = {
        "family": IPV6 if len(begun[0]) == 16 else IPV4,
        "protocol": number,
        "original": Tuple(*begun, *wished),
        "reply": Tuple(*reached, *seems),
        "status": translated | (SEEN_REPLY | ASSURED if status is None else status),
        "mark": 0,
        "labels": labels,
        "timeout": 100,
        "packets": 5,
        "bytes": 500,
        "reply_packets": 4,
        "reply_bytes": 4000,
        "started": (NOW - 60) * 10**9,
        "tcp_state": state,
        "id": next(_ids),
        "zone": 0,
    }
    return Entry(**(values | fields))


def _end(text: str | None) -> tuple[bytes, int | None] | None:
    if text is None:
        return None
    address, _, port = text.partition(" ")
    return ipaddress.ip_address(address).packed, int(port) if port else None
