"""Newcomers that a carrier brings to a real worker."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from sekimori.planes.relay.entry import Entry, Listen
from sekimori.wire import proxyproto
from tests.loopback.carrier_rig import FakeCarrier, carrying, descriptors
from tests.loopback.relay_rig import Relay, Target, ended, eventually, running

pytestmark = pytest.mark.loopback

AT = ("0.0.0.0", 8080)
SOURCE = ("192.0.2.1", 5555)


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    async with running(tmp_path / "worker.sock") as one:
        yield one


@pytest.fixture
async def carrier(relay: Relay) -> AsyncIterator[FakeCarrier]:
    async with carrying(relay) as one:
        yield one


async def expecting(relay: Relay, port: int, protocol: str = "tcp", **terms: Any) -> Entry:
    listen = Listen("udp" if protocol == "udp" else "tcp", "", AT[1], port)
    entry = Entry("far", (listen,), ("127.0.0.1",), arrivals="vps", **terms)
    answer = await relay.control.set([entry])
    assert (answer.missing, answer.bad) == ((), {})
    return entry


async def test_a_newcomer_reaches_the_target_and_is_told_apart(relay: Relay, carrier: FakeCarrier) -> None:
    with Target() as target:
        entry = await expecting(relay, target.port)
        far = await carrier.arrive(5, entry.id, AT)
        server = await target.accept()
        await far.send(b"ping")
        assert await server.exactly(4) == b"ping"
        await server.send(b"pong")
        assert await far.exactly(4) == b"pong"
        [flow] = await relay.control.flows(entry.id)
        assert (flow["source"], flow["source_port"], flow["listen_port"]) == (*SOURCE, AT[1])
        far.end()
        assert await server.rest() == b""
        await server.send(b"bye")
        server.end()
        assert await far.rest() == b"bye"
        stats = await eventually(lambda: ended(relay, entry))
        assert (stats["bytes_in"], stats["bytes_out"]) == (4, 7)


@pytest.mark.parametrize("size", [3_000_000])
async def test_much_passes_both_ways(relay: Relay, carrier: FakeCarrier, size: int) -> None:
    with Target() as target:
        entry = await expecting(relay, target.port)
        far = await carrier.arrive(5, entry.id, AT)
        server = await target.accept()
        for here, there in ((far, server), (server, far)):
            data = os.urandom(size)
            _, seen = await asyncio.gather(here.send(data), there.exactly(size))
            assert seen == data


@pytest.mark.parametrize(
    ("terms", "cause"),
    [
        ({"sources": ("198.51.100.0/24",)}, "source"),
        ({"max_connections": 0}, "limit"),
        ({"accept_until": 1.0}, "expired"),
    ],
)
async def test_who_is_refused_is_turned_away_before_the_target_is_touched(
    relay: Relay, carrier: FakeCarrier, terms: dict[str, Any], cause: str
) -> None:
    with Target() as target:
        entry = await expecting(relay, target.port, **terms)
        far = await carrier.arrive(7, entry.id, AT)
        assert await carrier.heard() == {"op": "turned_away", "k": 7}
        assert await far.rest() == b""
        stats = await relay.stats(entry)
        assert (stats["refused"][cause], stats["flows_total"]) == (1, 0)
        assert target.untouched()


async def test_who_tells_no_address_is_let_in_only_where_anyone_is(
    relay: Relay, carrier: FakeCarrier
) -> None:
    with Target() as target:
        entry = await expecting(relay, target.port, sources=("0.0.0.0/0", "::/0"))
        for source in (None, ("UNKNOWN", 65535), ("::ffff:not", 1)):
            await carrier.arrive(7, entry.id, AT, source)
            assert await carrier.heard() == {"op": "turned_away", "k": 7}
        entry = await expecting(relay, target.port, proxy_protocol=1)
        far = await carrier.arrive(8, entry.id, AT, ("UNKNOWN", 1))
        server = await target.accept()
        await far.send(b"x")
        assert await server.exactly(16) == b"PROXY UNKNOWN\r\nx"


@pytest.mark.parametrize(
    ("name", "listen", "protocol"),
    [("other", AT, "tcp"), ("far", ("0.0.0.0", 8081), "tcp"), ("far", AT, "udp"), ("far", AT, "sctp")],
)
async def test_what_is_for_nobody_here_is_turned_away(
    relay: Relay, carrier: FakeCarrier, name: str, listen: tuple[str, int], protocol: str
) -> None:
    with Target() as target:
        await expecting(relay, target.port)
        await carrier.arrive(9, name, listen, protocol=protocol)
        assert await carrier.heard() == {"op": "turned_away", "k": 9}
        assert target.untouched()


async def test_a_carrier_brings_nobody_to_the_port_of_another(relay: Relay) -> None:
    with Target() as target:
        entry = await expecting(relay, target.port)
        own = await relay.serve(target.port)
        async with carrying(relay, "stranger") as stranger:
            for name in (entry.id, own.id):
                await stranger.arrive(1, name, AT)
                assert await stranger.heard() == {"op": "turned_away", "k": 1}
        assert target.untouched()


async def test_the_target_is_told_who_came_and_where(relay: Relay, carrier: FakeCarrier) -> None:
    with Target() as target:
        entry = await expecting(relay, target.port, proxy_protocol=2)
        far = await carrier.arrive(5, entry.id, ("203.0.113.9", 8080))
        await far.send(b"x")
        server = await target.accept()
        header = proxyproto.encode(2, "tcp", SOURCE, ("203.0.113.9", 8080))
        assert await server.exactly(len(header) + 1) == header + b"x"


async def test_resets_pass_both_ways(relay: Relay, carrier: FakeCarrier) -> None:
    with Target() as target:
        entry = await expecting(relay, target.port)
        await carrier.arrive(5, entry.id, AT)
        server = await target.accept()
        await carrier.tell({"op": "aborted", "k": 5})
        assert await server.was_reset()
        far = await carrier.arrive(6, entry.id, AT)
        server = await target.accept()
        server.reset()
        assert await carrier.heard() == {"op": "aborted", "k": 6}
        assert await far.rest() == b""
        far = await carrier.arrive(7, entry.id, AT)
        server = await target.accept()
        far.close()  # as a killed process's ends are, before its channel
        await relay.control.stats()
        carrier.close()
        assert await server.was_reset()


async def test_a_target_that_refuses_aborts_the_newcomer(relay: Relay, carrier: FakeCarrier) -> None:
    with Target() as target:
        port = target.port
    entry = await expecting(relay, port)
    await carrier.arrive(5, entry.id, AT)
    assert await carrier.heard() == {"op": "aborted", "k": 5}
    assert (await relay.stats(entry))["failed"]["refused"] == 1


async def test_the_end_of_the_channel_resets_those_it_brought(relay: Relay) -> None:
    with Target() as target:
        entry = await expecting(relay, target.port)
        async with carrying(relay) as carrier:
            await carrier.arrive(5, entry.id, AT)
            server = await target.accept()
        assert await server.was_reset()
        assert (await eventually(lambda: ended(relay, entry)))["flows_total"] == 1


async def test_what_goes_on_by_another_carrier_is_told_to_both(relay: Relay, carrier: FakeCarrier) -> None:
    async with carrying(relay, "next") as onward:
        entry = await expecting(relay, 80, carrier="next")
        near = await carrier.arrive(5, entry.id, AT)
        far = await onward.dialled(await onward.heard("dial"))
        await near.send(b"through two")
        assert await far.exactly(11) == b"through two"
        await carrier.tell({"op": "aborted", "k": 5})
        assert (await onward.heard())["op"] == "aborted"


# -- datagrams ------------------------------------------------------------------------


@pytest.fixture
def answering() -> Iterator[socket.socket]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    yield sock
    sock.close()


async def taken(sock: socket.socket) -> tuple[bytes, Any]:
    sock.setblocking(False)

    def look() -> Any:
        try:
            return sock.recvfrom(70_000)
        except BlockingIOError:
            return None

    found: tuple[bytes, Any] = await eventually(look)
    return found


@pytest.mark.parametrize("size", [0, 1, 1400, 60_000])
async def test_a_far_peers_datagrams_keep_their_bounds(
    relay: Relay, carrier: FakeCarrier, answering: socket.socket, size: int
) -> None:
    entry = await expecting(relay, answering.getsockname()[1], "udp")
    far = await carrier.arrive(5, entry.id, AT, protocol="udp")
    for data in (b"x" * size, b"second"):
        await far.send(data)
        seen, where = await taken(answering)
        assert seen == data
        answering.sendto(data, where)
        assert await far.receive() == data
    stats = await relay.stats(entry)
    assert (stats["packets_in"], stats["packets_out"], stats["flows_active"]) == (2, 2, 1)
    far.close()
    stats = await eventually(lambda: ended(relay, entry))
    assert (stats["packets_in"], stats["dropped"]) == (2, {})


async def test_each_far_peer_is_a_flow_of_its_own(
    relay: Relay, carrier: FakeCarrier, answering: socket.socket
) -> None:
    entry = await expecting(
        relay, answering.getsockname()[1], "udp", proxy_protocol=2, sources=("192.0.2.0/24",)
    )
    one = await carrier.arrive(1, entry.id, AT, ("192.0.2.1", 1), "udp")
    two = await carrier.arrive(2, entry.id, AT, ("192.0.2.2", 2), "udp")
    await carrier.arrive(3, entry.id, AT, ("198.51.100.1", 2), "udp")
    assert await carrier.heard() == {"op": "turned_away", "k": 3}
    places = []
    for number, far in ((1, one), (2, two)):
        await far.send(b"hello")
        await far.send(b"again")
        data, where = await taken(answering)
        header = proxyproto.encode(2, "udp", (f"192.0.2.{number}", number), AT)
        assert data == header + b"hello"
        assert (await taken(answering))[0] == b"again"
        places.append(where)
    answering.sendto(b"for two", places[1])
    assert await two.receive() == b"for two"
    await carrier.tell({"op": "aborted", "k": 1})
    assert await one.rest() == b""
    await two.send(b"still")
    assert (await taken(answering))[0] == b"still"


async def test_a_target_that_is_not_there_is_told_once_and_spares_the_other_peer(
    relay: Relay, carrier: FakeCarrier, answering: socket.socket
) -> None:
    port = answering.getsockname()[1]
    entry = await expecting(relay, port, "udp")
    far = await carrier.arrive(1, entry.id, AT, protocol="udp")
    answering.close()

    async def unreachable() -> Any:
        await far.send(b"anybody?")
        stats = await relay.stats(entry)
        return stats if stats["dropped"].get("unreachable", 0) > 2 else None

    stats = await eventually(unreachable)
    assert stats["failed"]["refused"] == 1
    back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        back.bind(("127.0.0.1", port))
        back.setblocking(False)
        other = await carrier.arrive(2, entry.id, AT, protocol="udp")
        await other.send(b"other")
        await far.send(b"first")
        assert {(await taken(back))[0] for _ in range(2)} <= {b"other", b"first", b"anybody?"}
    finally:
        back.close()


async def test_a_far_peer_that_takes_nothing_loses_answers_and_is_counted(
    relay: Relay, carrier: FakeCarrier, answering: socket.socket
) -> None:
    entry = await expecting(relay, answering.getsockname()[1], "udp")
    far = await carrier.arrive(1, entry.id, AT, protocol="udp")
    await far.send(b"flood me")
    _, where = await taken(answering)

    async def full() -> Any:
        for _ in range(200):
            answering.sendto(bytes(1000), where)
        return (await relay.stats(entry))["dropped"].get("full", 0) > 100

    await eventually(full)


async def test_nothing_of_far_peers_is_left_open(
    relay: Relay, carrier: FakeCarrier, answering: socket.socket
) -> None:
    entry = await expecting(relay, answering.getsockname()[1], "udp")
    before = descriptors(relay.control.pid)
    for key in range(10):
        far = await carrier.arrive(key, entry.id, AT, protocol="udp")
        await far.send(b"x")
        await taken(answering)
        if key % 2:
            far.close()
        else:
            await carrier.tell({"op": "aborted", "k": key})
    await eventually(lambda: ended(relay, entry))
    assert await eventually(lambda: descriptors(relay.control.pid) <= before)
