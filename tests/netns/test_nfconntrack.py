"""Real flows between two machines, read from the kernel's connection tracking, and forgotten one by one."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from sekimori.host.nfsocket import NetfilterError, NfSocket, delete_flows, dump_flows
from sekimori.testing.netlab import Host, Lab
from sekimori.testing.peers import eventually
from sekimori.wire.conntrack import (
    ASSURED,
    DST_NAT,
    IPV4,
    IPV6,
    SEEN_REPLY,
    Entry,
    Filter,
    Tuple,
    delete_request,
    dump_request,
    parse_untrusted,
)
from sekimori.wire.nfnetlink import CONNTRACK, request
from sekimori.wire.nlattributes import attribute, nested

from .nfbox import skip_without_nft

pytestmark = pytest.mark.netns

NEAR = {IPV4: "10.1.0.1", IPV6: "2001:db8::1"}
FAR = {IPV4: "10.1.0.2", IPV6: "2001:db8::2"}
RULES = """
table inet t {
  chain marking { type filter hook output priority 0; ct state new ct mark set 0x70007 ct label set 70; }
  chain translate { type nat hook output priority -100; udp dport 999 dnat ip to 10.1.0.2:1000; }
}
"""
families = pytest.mark.parametrize("family", [IPV4, IPV6], ids=["ipv4", "ipv6"])


@dataclass(frozen=True)
class Two:
    """Two machines; `sock` and every flow's beginning are on the near one."""

    near: Host
    far: Host
    sock: NfSocket
    stack: contextlib.ExitStack

    def open(self, host: Host, family: int, kind: int, protocol: int = 0) -> socket.socket:
        return self.stack.enter_context(
            host.call(lambda: socket.socket(socket.AddressFamily(family), kind, protocol))
        )

    def udp(self, family: int, port: int) -> int:
        """Send one datagram; the port it came from."""
        sock = self.open(self.near, family, socket.SOCK_DGRAM)
        sock.sendto(b"x", (FAR[family], port))
        own: int = sock.getsockname()[1]
        return own

    def flows(self, family: int = 0, only: Filter | None = None) -> list[Entry]:
        return dump_flows(self.sock, family, only)

    def one(self, family: int, only: Filter) -> Entry:
        (entry,) = self.flows(family, only)
        return entry


@pytest.fixture(scope="module")
def lab() -> Iterator[tuple[Host, Host]]:
    skip_without_nft()
    with Lab() as made:
        near, far = made.host("near"), made.host("far")
        ours, theirs = made.cable(near, far)
        near.address(ours, "10.1.0.1/24", "2001:db8::1/64")
        far.address(theirs, "10.1.0.2/24", "2001:db8::2/64")
        near.run(["nft", "-f", "-"], text=RULES)
        near.sysctl(netfilter__nf_conntrack_acct=1, netfilter__nf_conntrack_timestamp=1)
        yield near, far


@pytest.fixture
def two(lab: tuple[Host, Host]) -> Iterator[Two]:
    near, far = lab
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(near.call(NfSocket))
        delete_flows(sock, map(delete_request, dump_flows(sock, 0)))
        yield Two(near, far, sock, stack)


@families
def test_a_tcp_connection(two: Two, family: int) -> None:
    server = two.open(two.far, family, socket.SOCK_STREAM)
    server.bind((FAR[family], 0))
    server.listen()
    port = server.getsockname()[1]
    client = two.open(two.near, family, socket.SOCK_STREAM)
    began = time.time_ns()
    client.connect((FAR[family], port))
    peer, _ = server.accept()
    two.stack.enter_context(peer)
    client.sendall(bytes(1000))
    assert peer.recv(1000, socket.MSG_WAITALL) == bytes(1000)
    peer.sendall(bytes(500))
    assert client.recv(500, socket.MSG_WAITALL) == bytes(500)

    entry = two.one(family, Filter(protocol=6))
    own = client.getsockname()[1]
    near, far = ip_address(NEAR[family]).packed, ip_address(FAR[family]).packed
    assert (entry.family, entry.protocol, entry.zone) == (family, 6, 0)
    assert entry.original == Tuple(near, own, far, port)
    assert entry.reply == Tuple(far, port, near, own)
    assert entry.original.destination_text == FAR[family]
    assert entry.status & (SEEN_REPLY | ASSURED) == SEEN_REPLY | ASSURED
    assert (entry.mark, entry.labels, entry.tcp_state) == (0x70007, 1 << 70, 3)
    assert entry.timeout is not None
    assert entry.timeout > 400_000
    assert entry.bytes is not None
    assert entry.reply_bytes is not None
    assert entry.packets is not None
    assert entry.bytes > 1000 + 3 * 40
    assert 500 < entry.reply_bytes < entry.bytes
    assert entry.packets >= 4
    assert entry.started is not None
    assert abs(entry.started - began) < 5e9


@families
def test_a_udp_flow(two: Two, family: int) -> None:
    server = two.open(two.far, family, socket.SOCK_DGRAM)
    server.bind((FAR[family], 0))
    port = server.getsockname()[1]
    own = two.udp(family, port)
    only = Filter(17, destination_port=port)
    entry = two.one(family, only)
    assert entry.original[1::2] == (own, port)
    assert not entry.status & SEEN_REPLY
    assert (entry.packets, entry.bytes, entry.reply_packets) == (1, 29 if family == IPV4 else 49, 0)
    data, source = server.recvfrom(10)
    server.sendto(data, source)
    entry = eventually(
        lambda: next((flow for flow in two.flows(family, only) if flow.status & SEEN_REPLY), None)
    )
    assert entry.reply_packets == 1
    assert entry.tcp_state is None


def _echo(family: int, number: int) -> bytes:
    kind = 8 if family == IPV4 else 128
    checksum = 0xFFFF ^ ((kind << 8) + number + 1)
    return struct.pack(">BBHHH", kind, 0, checksum if family == IPV4 else 0, number, 1)


@families
def test_an_echo(two: Two, family: int) -> None:
    protocol = socket.IPPROTO_ICMP if family == IPV4 else socket.IPPROTO_ICMPV6
    sock = two.open(two.near, family, socket.SOCK_RAW, protocol)
    sock.sendto(_echo(family, 4242), (FAR[family], 0))
    entry = two.one(family, Filter(protocol=protocol, destination=ip_address(FAR[family]).packed))
    asked, answered = (8, 0) if family == IPV4 else (128, 129)
    assert entry.original.icmp == (asked, 0, 4242)
    assert entry.reply.icmp == (answered, 0, 4242)
    assert (entry.original.source_port, entry.original.destination_port) == (None, None)
    assert delete_flows(two.sock, [delete_request(entry)]) == 1


@pytest.mark.parametrize(("protocol", "ports"), [(47, (0, 0)), (50, (None, None)), (41, (None, None))])
def test_protocols_without_ports(two: Two, protocol: int, ports: tuple[int | None, int | None]) -> None:
    sock = two.open(two.near, IPV4, socket.SOCK_RAW, protocol)
    sock.sendto(b"\0\0\x08\0" + bytes(16), (FAR[IPV4], 0))
    entry = two.one(IPV4, Filter(protocol=protocol))
    assert (entry.original.source_port, entry.original.destination_port) == ports
    assert entry.original.icmp is None
    two.udp(IPV4, 7)
    assert delete_flows(two.sock, [delete_request(entry)]) == 1
    assert not two.flows(IPV4, Filter(protocol=protocol))
    assert len(two.flows(IPV4)) >= 1


def test_translation_shows_in_the_reply(two: Two) -> None:
    two.udp(IPV4, 999)
    entry = two.one(IPV4, Filter(17, destination_port=999))
    assert entry.status & DST_NAT
    assert (entry.original.destination_port, entry.reply.source_port) == (999, 1000)


@families
def test_the_kernel_filters(two: Two, family: int) -> None:
    """What comes over the socket is what was asked for: not everything, filtered here."""
    other = IPV6 if family == IPV4 else IPV4
    for port in range(1000, 1200):
        two.udp(family, port)
    two.udp(other, 1007)
    own = two.udp(family, 1007)
    near, far = ip_address(NEAR[family]).packed, ip_address(FAR[family]).packed
    # How many flows are meant; how many others the kernel may tell besides.
    wanted = {
        Filter(17): (201, 0),
        Filter(6): (0, 0),
        Filter(17, destination_port=1007): (2, 0),
        Filter(17, near, own, far, 1007): (1, 0),
        Filter(17, source_port=own): (1, 0),
        Filter(source=near): (201, 0),
        Filter(source=far): (0, 0 if family == IPV4 else 201),
        Filter(destination=far): (201, 0),
        Filter(17, destination=far, destination_port=1100): (1, 0),
    }
    for only, (meant, more) in wanted.items():
        assert len([flow for flow in two.flows(family, only) if flow.protocol == 17]) == meant, only
        told = [entry for data in two.sock.ask(dump_request(family, only)) for entry in parse_untrusted(data)]
        assert len([flow for flow in told if flow.protocol == 17]) == meant + more, only
        assert all(entry.family == family for entry in told)


def test_exactly_one_is_forgotten(two: Two) -> None:
    for port in (1001, 1002, 1003):
        two.udp(IPV4, port)
        two.udp(IPV6, port)
    (victim,) = two.flows(IPV4, Filter(17, destination_port=1002))
    assert delete_flows(two.sock, [delete_request(victim)]) == 1
    assert delete_flows(two.sock, [delete_request(victim)]) == 0
    left = sorted(
        (flow.family, flow.original.destination_port) for flow in two.flows() if flow.protocol == 17
    )
    assert left == [(2, 1001), (2, 1003), (10, 1001), (10, 1002), (10, 1003)]


def test_another_flow_with_the_same_ends_is_left_alone(two: Two) -> None:
    two.udp(IPV4, 1001)
    (flow,) = two.flows(IPV4, Filter(17, destination_port=1001))
    assert delete_flows(two.sock, [delete_request(flow._replace(id=flow.id ^ 1))]) == 0
    assert two.flows(IPV4, Filter(17, destination_port=1001))[0].id == flow.id


def test_many_are_forgotten_and_those_that_ended_passed_over(two: Two) -> None:
    sock = two.open(two.near, IPV4, socket.SOCK_DGRAM)
    for port in range(1, 5001):
        sock.sendto(b"x", (FAR[IPV4], port))
    flows = two.flows(IPV4, Filter(17))
    assert len(flows) == 5000
    requests = [delete_request(flow) for flow in flows]
    assert delete_flows(two.sock, requests[::2]) == 2500
    assert delete_flows(two.sock, requests) == 2500
    assert not two.flows(IPV4, Filter(17))
    assert delete_flows(two.sock, []) == 0


def test_another_refusal_is_an_error(two: Two) -> None:
    two.udp(IPV4, 1001)
    (entry,) = two.flows(IPV4, Filter(17))
    address = attribute(1, entry.original.source)
    nonsense = request(CONNTRACK, 2, IPV4, nested(1, nested(1, address, address)))
    with pytest.raises(NetfilterError) as refused:
        delete_flows(two.sock, [delete_request(entry), nonsense])
    assert refused.value.index == 1
    assert not two.flows(IPV4, Filter(17))


def test_without_accounting_there_are_no_counters(two: Two) -> None:
    two.near.sysctl(netfilter__nf_conntrack_acct=0, netfilter__nf_conntrack_timestamp=0)
    try:
        two.udp(IPV4, 1001)
        (entry,) = two.flows(IPV4, Filter(17))
    finally:
        two.near.sysctl(netfilter__nf_conntrack_acct=1, netfilter__nf_conntrack_timestamp=1)
    assert (entry.packets, entry.bytes, entry.reply_packets, entry.reply_bytes, entry.started) == (None,) * 5
