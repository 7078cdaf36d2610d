"""A table on a gateway that does by hand what mappings would, and conversations through it."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from sekimori.host.nfsocket import NfSocket, dump_flows
from sekimori.model.address import PortRange, parse_on, parse_ports
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind
from sekimori.model.network import Lan, Network, Wan
from sekimori.model.source import Sources
from sekimori.model.target import Target, pair_ports
from sekimori.planes.kernel.cutting import Cutter
from sekimori.planes.kernel.frame import FORWARD_LABEL, PERMIT_LABEL
from sekimori.reconcile.ports import Wanted
from sekimori.testing.netlab import HomeNetwork, Host
from sekimori.testing.peers import Peers
from sekimori.wire.conntrack import Entry, Filter

from .talks import talk

GATEWAY, TOO, INSIDE = HomeNetwork.GATEWAY, HomeNetwork.GATEWAY_TOO, HomeNetwork.GATEWAY_INSIDE
SERVER, DESKTOP = HomeNetwork.SERVER, HomeNetwork.DESKTOP
VISITOR, STRANGER = HomeNetwork.VISITOR, HomeNetwork.STRANGER
NETWORK = Network(
    wans=(
        Wan(
            "isp",
            (IPv4Address(GATEWAY[0]), IPv4Address(TOO[0])),
            (IPv6Address(GATEWAY[1]), IPv6Address(TOO[1])),
        ),
    ),
    lans=(Lan("home", (IPv4Network("192.168.1.0/24"), IPv6Network("2001:db8:3::/64"))),),
    forwarding4=True,
    forwarding6=True,
    own=frozenset(ipaddress.ip_address(text) for text in (*GATEWAY, *TOO, *INSIDE)),
)
TABLE = f"""
table inet byhand {{
    map at {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service ; }}
    map at6 {{ type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service ; }}
    set holes {{ type ipv6_addr . inet_proto . inet_service ; }}
    set refused {{ type ipv4_addr ; }}
    set own {{ type inet_proto . inet_service ; }}
    chain inbound {{
        type filter hook prerouting priority -105 ;
        ct state new ip saddr @refused drop
        ct state new ip daddr . meta l4proto . th dport @at ct label set {FORWARD_LABEL}
        ct state new ip6 daddr . meta l4proto . th dport @at6 ct label set {FORWARD_LABEL}
        ct state new ip6 daddr . meta l4proto . th dport @holes ct label set {FORWARD_LABEL}
        ct state new iifname "isp" meta l4proto . th dport @own ct label set {PERMIT_LABEL}
    }}
    chain dstnat {{
        type nat hook prerouting priority -101 ;
        dnat ip to ip daddr . meta l4proto . th dport map @at
        dnat ip6 to ip6 daddr . meta l4proto . th dport map @at6
    }}
    chain dstnat_out {{
        type nat hook output priority -101 ;
        dnat ip to ip daddr . meta l4proto . th dport map @at
    }}
    chain srcnat {{
        type nat hook postrouting priority 99 ;
        iifname "home" oifname "home" ct status dnat masquerade
        iifname "home" oifname "isp" meta nfproto ipv4 masquerade
    }}
    chain firewall {{
        type filter hook forward priority -10 ; policy drop ;
        ct state established,related accept
        ct label {FORWARD_LABEL} accept
        iifname "home" accept
        meta l4proto ipv6-icmp accept
    }}
}}
"""


def wanted(name: str, ports: str, to: str, *, sources: str = "anyone", on: str | None = None) -> Wanted:
    host, _, inside = to.partition(" ")
    target = Target.parse_host(host)
    may = Sources.parse(sources)
    mapping = Mapping(
        id=name,
        name=name,
        owner=Owner(OwnerKind.PERSON, "test"),
        ports=pair_ports(parse_ports(ports), PortRange.parse(inside) if inside else None, host),
        target=target,
        sources=may,
        lifetime=Lifetime.lasting(3600, 0),
        on=parse_on(on) if on else None,
        path=(Hop("kernel"),),
    )
    return Wanted(mapping, None, (str(target),) if target.address else (), may.resolve({}), 0.0)


@dataclass(frozen=True)
class Bench:
    """The network with the table on its gateway, and the hands under test."""

    net: HomeNetwork
    socket: NfSocket
    cutter: Cutter
    stack: ExitStack

    def nft(self, text: str) -> None:
        self.net.gateway.run(["nft", "-f", "-"], text=text)

    def element(self, verb: str, where: str, element: str) -> None:
        self.nft(f"{verb} element inet byhand {where} {{ {element} }}\n")

    def peers(self, host: Host) -> Peers:
        return self.stack.enter_context(Peers(host.call))

    def entries(self, family: int, only: Filter | None = None) -> list[Entry]:
        return dump_flows(self.socket, family, only)

    def talk(
        self, kind: str, host: Host, source: tuple[str, int], destination: tuple[str, int]
    ) -> Callable[[float], bool]:
        """A conversation with an echo: whether it still goes on, asked with a deadline."""
        return talk(self.stack, kind, host, source, destination)


@contextmanager
def prepared(network: HomeNetwork) -> Iterator[Bench]:
    """The table on the gateway for as long as the context."""
    gateway = network.gateway
    with ExitStack() as stack:
        gateway.run(["nft", "-f", "-"], text=TABLE)
        stack.callback(gateway.run, ["nft", "delete", "table", "inet", "byhand"])
        gateway.sysctl(netfilter__nf_conntrack_acct=1, netfilter__nf_conntrack_timestamp=1)
        sock = stack.enter_context(closing(gateway.call(NfSocket)))
        stack.callback(gateway.run, ["conntrack", "-F"])
        yield Bench(network, sock, Cutter(sock), stack)


def flood(host: Host, destination: str, port: int, sources: range) -> None:
    """One datagram from each source port, without a socket for each."""

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as sock:
            sock.bind((VISITOR[0], 0))
            for source in sources:
                # RFC 768; a checksum of 0 is none.
                sock.sendto(struct.pack("!HHHH", source, port, 9, 0) + b"x", (destination, 0))

    host.call(send)
