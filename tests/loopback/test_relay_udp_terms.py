"""The relay's datagrams under a mapping's terms: who comes in, until when, with what header."""

from __future__ import annotations

import os
import resource
import socket
import struct
from collections.abc import Iterator

import pytest

from sekimori.planes.relay import udp
from sekimori.planes.relay.entry import Rate
from sekimori.wire import proxyproto
from tests.loopback.udplab import Lab, at, change, only_flow, stats

pytestmark = pytest.mark.loopback

UDP_SEGMENT = 103
SO_NO_CHECK = 11


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.close()


def train(size: int) -> list[tuple[int, int, bytes]]:
    return [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("@H", size))]


# -- who may come in ----------------------------------------------------------


def test_sources_outside_the_list_never_reach_the_target(lab: Lab) -> None:
    target, stranger, friend = lab.endpoint(), lab.endpoint(), lab.endpoint("127.0.0.2")
    listener = lab.serve(target.getsockname()[1], sources=("127.0.0.2/32",))
    for _ in range(300):
        stranger.sendto(b"knock", at(listener))
    lab.until(lambda: stats(listener)["refused"]["source"] == 300)
    assert stats(listener)["flows_total"] == 0
    assert len(listener._refused) == 1
    lab.passes(friend, at(listener), target)
    with pytest.raises(BlockingIOError):
        stranger.recv(10)


def test_strangers_cannot_fill_the_memory_of_refusals(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "_REFUSED_KEPT", 4)
    target = lab.endpoint()
    listener = lab.serve(target.getsockname()[1], sources=())
    for last in range(2, 32):
        lab.endpoint(f"127.0.0.{last}").sendto(b"knock", at(listener))
    lab.until(lambda: stats(listener)["refused"]["source"] == 30)
    assert len(listener._refused) <= 4


def test_widening_the_list_lets_a_refused_source_in(lab: Lab) -> None:
    target, client = lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1], sources=())
    client.sendto(b"knock", at(listener))
    lab.until(lambda: stats(listener)["refused"]["source"] == 1)
    change(listener, sources=None)
    lab.passes(client, at(listener), target)


def test_narrowing_ends_exactly_the_peers_no_longer_admitted(lab: Lab) -> None:
    target = lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    hosts = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
    clients = {host: lab.endpoint(host) for host in hosts}
    before = {host: lab.passes(clients[host], at(listener), target) for host in hosts}
    change(listener, sources=("127.0.0.2/31",))
    assert {flow.source for flow in listener.flows()} == {"127.0.0.2", "127.0.0.3"}
    for host in ("127.0.0.2", "127.0.0.3"):
        assert lab.passes(clients[host], at(listener), target) == before[host]
    clients["127.0.0.1"].sendto(b"knock", at(listener))
    lab.until(lambda: stats(listener)["refused"]["source"] == 1)


def test_new_flows_per_source_are_limited_in_rate(lab: Lab) -> None:
    target = lab.endpoint()
    listener = lab.serve(target.getsockname()[1], rate_per_source=Rate(2, 3600))
    clients = [lab.endpoint() for _ in range(5)]
    for client in clients:
        client.sendto(b"x", at(listener))
    lab.until(lambda: stats(listener)["refused"]["rate"] == 3)
    assert stats(listener)["flows_active"] == 2
    lab.collect(target, 2)
    lab.passes(lab.endpoint("127.0.0.9"), at(listener), target)


def test_peers_are_capped_and_room_is_given_back(lab: Lab) -> None:
    target = lab.endpoint()
    listener = lab.serve(target.getsockname()[1], max_connections=2)
    first, second, third = (lab.endpoint() for _ in range(3))
    lab.passes(first, at(listener), target)
    lab.passes(second, at(listener), target)
    third.sendto(b"too many", at(listener))
    lab.until(lambda: stats(listener)["refused"]["limit"] == 1)
    listener.service.cut(lambda flow: flow.source_port == first.getsockname()[1])
    lab.passes(third, at(listener), target)
    assert stats(listener)["flows_active"] == 2


def test_a_mapping_without_a_limit_has_the_default_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "PEERS", 3)
    target = lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    for _ in range(5):
        lab.endpoint().sendto(b"x", at(listener))
    lab.until(lambda: stats(listener)["refused"]["limit"] == 2)
    assert len(listener.peers) == 3


# -- ends ---------------------------------------------------------------------


def test_silence_ends_a_flow_and_either_direction_keeps_it(lab: Lab) -> None:
    target, client = lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1], idle=0.3)
    peer = lab.passes(client, at(listener), target)
    flow = only_flow(listener)
    for direction in ("out", "in"):
        start = lab.loop.now
        while lab.loop.now < start + 0.5:
            lab.until(lambda: lab.loop.now > flow.last + 0.1)
            if direction == "out":
                target.sendto(b"still", peer)
                lab.receive(client)
            else:
                client.sendto(b"here", at(listener))
                lab.receive(target)
        assert only_flow(listener) is flow
    last = flow.last
    lab.until(lambda: not listener.peers)
    assert 0.3 <= lab.loop.now - last < 0.6
    assert stats(listener)["flows_active"] == 0
    assert stats(listener)["packets_in"] > 1  # the figures outlive the flow
    assert lab.passes(client, at(listener), target) != peer


def test_a_new_idle_time_holds_for_live_flows(lab: Lab) -> None:
    target, client = lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    lab.passes(client, at(listener), target)
    assert only_flow(listener).idle_after == udp.IDLE == 120.0
    change(listener, idle=0.1)
    lab.until(lambda: not listener.peers)


def test_stopping_leaves_flows_their_grace(lab: Lab) -> None:
    target, client, late = lab.endpoint(), lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    peer = lab.passes(client, at(listener), target)
    listener.service.stop(grace=0.4)
    late.sendto(b"too late", at(listener))
    assert lab.passes(client, at(listener), target) == peer
    lab.until(lambda: stats(listener)["refused"]["expired"] == 1)
    assert not listener.closed
    lab.until(lambda: listener.closed)
    assert stats(listener)["flows_active"] == 0
    client.sendto(b"nobody there", at(listener))
    rebound = lab.endpoint(port=listener.listen.port)  # the port is free again
    assert rebound.getsockname()[1] == listener.listen.port


def test_closing_with_a_grace_of_its_own(lab: Lab) -> None:
    target, client = lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    lab.passes(client, at(listener), target)
    listener.close(grace=0.2)
    assert not listener.closed
    lab.passes(client, at(listener), target)
    lab.until(lambda: listener.closed)
    assert stats(listener)["flows_active"] == 0


# -- scarcity -----------------------------------------------------------------


def test_without_descriptors_newcomers_are_dropped_and_the_rest_goes_on(lab: Lab) -> None:
    target, client, late = lab.endpoint(), lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    lab.passes(client, at(listener), target)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(target.fileno())
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        for count in range(1, 4):
            late.sendto(b"x", at(listener))
            lab.until(lambda count=count: stats(listener)["failed"]["descriptors"] == count)  # type: ignore[misc]
            lab.passes(client, at(listener), target)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert stats(listener)["flows_active"] == 1
    lab.passes(late, at(listener), target)


def test_a_datagram_too_big_for_the_other_family_is_dropped_and_counted(lab: Lab) -> None:
    target, client = lab.endpoint(), lab.endpoint("::1")
    listener = lab.serve(target.getsockname()[1], "::1")
    client.sendto(bytes(65_520), at(listener, "::1"))  # IPv4 carries 65,507 at most
    lab.until(lambda: listener.dropped["too_big"] == 1)
    lab.passes(client, at(listener, "::1"), target)
    assert stats(listener)["packets_in"] == 1


# -- PROXY protocol -----------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "spoken_to", "source"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.5"),
        ("0.0.0.0", "127.0.0.7", "127.0.0.5"),
        ("::1", "::1", "::1"),
        ("::", "127.0.0.7", "127.0.0.5"),
    ],
)
def test_a_flows_first_datagram_carries_the_header(
    lab: Lab, address: str, spoken_to: str, source: str
) -> None:
    target, client = lab.endpoint(), lab.endpoint(source)
    listener = lab.serve(target.getsockname()[1], address, dual=True, proxy_protocol=2)
    burst = [os.urandom(300) for _ in range(20)]
    for datagram in burst:
        client.sendto(datagram, at(listener, spoken_to))
    (first, _), *rest = lab.collect(target, 20)
    header = proxyproto.decode_untrusted(first)
    assert header is not None
    assert (header.version, header.transport) == (2, "udp")
    assert header.source == client.getsockname()[:2]
    assert header.destination == at(listener, spoken_to)
    assert [first[header.size :], *(datagram for datagram, _ in rest)] == burst
    assert stats(listener)["bytes_in"] == 6000  # what the client sent


def test_the_header_goes_before_the_first_of_a_train(lab: Lab) -> None:
    target, client = lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1], proxy_protocol=2)
    client.sendmsg((b"a" * 90 + b"b" * 90 + b"c",), train(90), 0, at(listener))
    first, second, third = (datagram for datagram, _ in lab.collect(target, 3))
    header = proxyproto.decode_untrusted(first)
    assert header is not None
    assert (first[header.size :], second, third) == (b"a" * 90, b"b" * 90, b"c")


def test_version_1_is_not_for_datagrams(lab: Lab) -> None:
    target, client = lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1], proxy_protocol=1)
    lab.passes(client, at(listener), target)


def test_a_first_datagram_with_no_room_for_the_header_leaves_it_to_the_next(lab: Lab) -> None:
    target, client = lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1], proxy_protocol=2)
    client.sendto(bytes(65_507), at(listener))
    client.sendto(b"next", at(listener))
    seen, _ = lab.receive(target)
    header = proxyproto.decode_untrusted(seen)
    assert header is not None
    assert seen[header.size :] == b"next"
    assert listener.dropped == {"too_big": 1}
