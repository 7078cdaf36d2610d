"""Datagrams that a real worker passes on through a carrier, one SOCK_SEQPACKET end for each peer."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sekimori.planes.relay.entry import Entry, Listen
from sekimori.planes.relay.sockets import open_listen
from sekimori.planes.relay.udpcarried import KEPT
from sekimori.wire import proxyproto
from tests.loopback.carrier_rig import FakeCarrier, carrying, descriptors
from tests.loopback.relay_rig import Peer, Relay, ended, eventually, running

pytestmark = pytest.mark.loopback

SEQPACKET = socket.SOCK_SEQPACKET


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    async with running(tmp_path / "worker.sock") as one:
        yield one


@pytest.fixture
async def carrier(relay: Relay) -> AsyncIterator[FakeCarrier]:
    async with carrying(relay) as one:
        yield one


@pytest.fixture
def client() -> Iterator[Callable[[Entry], Peer]]:
    """Makes UDP clients of an entry."""
    peers: list[Peer] = []

    def one(entry: Entry) -> Peer:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(("127.0.0.1", entry.listens[0].port))
        peers.append(Peer(sock))
        return peers[-1]

    yield one
    for peer in peers:
        peer.close()


async def serve(relay: Relay, **terms: Any) -> Entry:
    sock = open_listen(Listen("udp", "127.0.0.1", 0, 53))
    listen = Listen("udp", "127.0.0.1", sock.getsockname()[1], 53)
    entry = Entry("dns", (listen,), ("dns.example",), carrier="vps", **terms)
    answer = await relay.control.set([entry], {(entry.id, listen): sock})
    assert (answer.missing, answer.bad) == ((), {})
    return entry


@pytest.mark.parametrize("size", [0, 1, 1400, 60_000])
async def test_boundaries_are_kept_both_ways(
    relay: Relay, carrier: FakeCarrier, client: Callable[[Entry], Peer], size: int
) -> None:
    entry = await serve(relay)
    one = client(entry)
    one.sock.send(b"a" * size)
    order = await carrier.heard("dial")
    assert (order["protocol"], order["host"], order["port"]) == ("udp", "dns.example", 53)
    assert order["source"] == list(one.sock.getsockname())
    assert order["listen"] == ["127.0.0.1", entry.listens[0].port]
    far = await carrier.dialled(order, SEQPACKET)
    assert await far.receive() == b"a" * size
    for data in (b"b" * size, b"and more"):
        one.sock.send(data)
        assert await far.receive() == data
        await far.send(data)
        assert await one.receive() == data
    stats = await relay.stats(entry)
    assert (stats["packets_in"], stats["packets_out"]) == (3, 2)
    assert (stats["bytes_in"], stats["bytes_out"]) == (2 * size + 8, size + 8)
    assert stats["dropped"] == {}


async def test_a_train_of_datagrams_arrives_as_single_ones(
    relay: Relay, carrier: FakeCarrier, client: Callable[[Entry], Peer]
) -> None:
    entry = await serve(relay)
    one = client(entry)
    one.sock.send(b"first")
    far = await carrier.dialled(await carrier.heard("dial"), SEQPACKET)
    assert await far.receive() == b"first"
    one.sock.setsockopt(socket.IPPROTO_UDP, 103, 100)  # UDP_SEGMENT
    one.sock.send(os.urandom(250))
    assert [len(await far.receive()) for _ in range(3)] == [100, 100, 50]
    assert (await relay.stats(entry))["packets_in"] == 4


async def test_few_wait_for_the_dial_and_the_rest_is_dropped_and_counted(
    relay: Relay, carrier: FakeCarrier, client: Callable[[Entry], Peer]
) -> None:
    entry = await serve(relay, proxy_protocol=2)
    one = client(entry)
    for number in range(KEPT + 5):
        one.sock.send(bytes([number]))

    async def all_seen() -> Any:
        stats = await relay.stats(entry)
        return stats["dropped"].get("full") == 5 and stats["packets_in"] == KEPT

    await eventually(all_seen)
    far = await carrier.dialled(await carrier.heard("dial"), SEQPACKET)
    header = proxyproto.encode(2, "udp", one.sock.getsockname(), ("127.0.0.1", entry.listens[0].port))
    assert [await far.receive() for _ in range(KEPT)] == [
        (header if number == 0 else b"") + bytes([number]) for number in range(KEPT)
    ]
    one.sock.send(b"later")
    assert await far.receive() == b"later"


async def test_a_failed_dial_is_tried_again_after_a_pause_and_not_for_every_datagram(
    relay: Relay, carrier: FakeCarrier, client: Callable[[Entry], Peer]
) -> None:
    entry = await serve(relay)
    one = client(entry)
    one.sock.send(b"lost")
    order = await carrier.heard("dial")
    await carrier.tell({"op": "failed", "n": order["n"], "cause": "prohibited"})

    async def failed() -> Any:
        return (await relay.stats(entry))["failed"]["prohibited"] == 1

    await eventually(failed)
    for _ in range(20):
        one.sock.send(b"lost too")

    async def lost() -> Any:
        return (await relay.stats(entry))["dropped"].get("unreachable") == 21

    await eventually(lost)
    stats = await relay.stats(entry)
    assert (stats["packets_in"], stats["bytes_in"], stats["flows_total"]) == (0, 0, 1)
    far: list[Peer] = []

    async def tried_again() -> Any:
        one.sock.send(b"once more")
        try:
            carrier._reader.read()
        except BlockingIOError:
            return None
        return carrier._reader.next()

    message, _ = await eventually(tried_again)
    assert message["op"] == "dial"
    far.append(await carrier.dialled(message, SEQPACKET))
    assert await far[0].receive() == b"once more"


async def test_peers_are_apart_and_one_that_is_broken_off_begins_anew(
    relay: Relay, carrier: FakeCarrier, client: Callable[[Entry], Peer]
) -> None:
    entry = await serve(relay)
    peers = [client(entry) for _ in range(3)]
    fars = []
    for number, one in enumerate(peers):
        one.sock.send(b"%d" % number)
        order = await carrier.heard("dial")
        fars.append((await carrier.dialled(order, SEQPACKET), order["n"]))
        assert await fars[-1][0].receive() == b"%d" % number
    await carrier.tell({"op": "aborted", "n": fars[0][1]})
    assert await fars[0][0].receive() == b""
    await fars[1][0].send(b"last words")
    fars[1][0].close()
    assert await peers[1].receive() == b"last words"
    await fars[2][0].send(b"alive")
    assert await peers[2].receive() == b"alive"

    async def left() -> Any:
        return (await relay.stats(entry))["flows_active"] == 1

    await eventually(left)
    assert (await relay.stats(entry))["packets_out"] == 2  # the end of records is no datagram
    peers[0].sock.send(b"anew")
    while (order := await carrier.heard())["op"] != "dial":
        pass
    far = await carrier.dialled(order, SEQPACKET)
    assert await far.receive() == b"anew"


async def test_a_full_end_drops_of_its_peer_alone(
    relay: Relay, carrier: FakeCarrier, client: Callable[[Entry], Peer]
) -> None:
    entry = await serve(relay)
    loud, calm = client(entry), client(entry)
    fars = []
    for one in (loud, calm):
        one.sock.send(b"x")
        fars.append(await carrier.dialled(await carrier.heard("dial"), SEQPACKET))
        assert await fars[-1].receive() == b"x"

    async def full() -> Any:
        for _ in range(100):
            loud.sock.send(bytes(1000))
        return (await relay.stats(entry))["dropped"].get("full", 0) > 100

    await eventually(full)
    calm.sock.send(b"calm")
    assert await fars[1].receive() == b"calm"
    await fars[0].send(b"to the loud")
    assert await loud.receive() == b"to the loud"


async def test_silence_ends_a_peer_and_tells_the_carrier(
    relay: Relay, carrier: FakeCarrier, client: Callable[[Entry], Peer]
) -> None:
    entry = await serve(relay, idle=1.0)
    client(entry).sock.send(b"x")
    order = await carrier.heard("dial")
    far = await carrier.dialled(order, SEQPACKET)
    assert await far.receive() == b"x"
    assert await far.receive() == b""
    assert await carrier.heard() == {"op": "aborted", "n": order["n"]}
    await eventually(lambda: ended(relay, entry))


async def test_without_a_channel_datagrams_are_lost_and_told_as_down(
    relay: Relay, client: Callable[[Entry], Peer]
) -> None:
    entry = await serve(relay)
    one = client(entry)
    one.sock.send(b"x")

    async def down() -> Any:
        stats = await relay.stats(entry)
        return stats["failed"]["down"] == 1 and stats["dropped"].get("unreachable") == 1

    await eventually(down)


async def test_nothing_is_left_open(
    relay: Relay, carrier: FakeCarrier, client: Callable[[Entry], Peer]
) -> None:
    entry = await serve(relay)
    before = descriptors(relay.control.pid)
    for _ in range(5):
        client(entry).sock.send(b"x")
        far = await carrier.dialled(await carrier.heard("dial"), SEQPACKET)
        assert await far.receive() == b"x"
    client(entry).sock.send(b"still being dialled for")
    await carrier.heard("dial")
    assert await relay.control.cut(entry.id) == 6
    stats = await eventually(lambda: ended(relay, entry))
    assert (stats["packets_in"], stats["dropped"]) == (5, {"unreachable": 1})
    assert await eventually(lambda: descriptors(relay.control.pid) <= before)
    await relay.control.set([replace(entry, carrier=None, targets=("127.0.0.1",))])
    client(entry).sock.send(b"directly now")

    async def direct() -> Any:
        return (await relay.stats(entry))["flows_total"] == 7

    await eventually(direct)


async def test_a_peer_that_was_never_reached_goes_by_new_terms_without_the_carrier(
    relay: Relay, carrier: FakeCarrier, client: Callable[[Entry], Peer]
) -> None:
    entry = await serve(relay)
    one, other = client(entry), client(entry)
    one.sock.send(b"lost")
    order = await carrier.heard("dial")
    await carrier.tell({"op": "failed", "n": order["n"], "cause": "prohibited"})

    async def failed() -> Any:
        return (await relay.stats(entry))["failed"]["prohibited"] == 1

    await eventually(failed)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind(("127.0.0.1", 0))
        target.setblocking(False)
        [listen] = entry.listens
        direct = replace(
            entry,
            carrier=None,
            targets=("127.0.0.1",),
            listens=(replace(listen, target_port=target.getsockname()[1]),),
        )
        await relay.control.set([direct])
        seen: set[bytes] = set()

        async def both_seen() -> Any:
            one.sock.send(b"one")
            other.sock.send(b"other")  # in the same batch: it has its turn all the same
            try:
                seen.add(target.recv(100))
            except BlockingIOError:
                return False
            return seen == {b"one", b"other"}

        await eventually(both_seen)
