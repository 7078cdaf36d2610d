"""SOCKS through a link: a carrier in this process stands for the far machine, and speaks the real channel."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sekimori.host.carrier import Carriage, Cause, Dial, DialFailed, Dialled
from sekimori.planes.relay.entry import Entry, Listen, Socks
from sekimori.wire.proxyproto import decode_untrusted
from sekimori.wire.socks import decode_datagram_untrusted, encode_datagram
from tests.loopback.relay_rig import DEADLINE, Peer, Relay, dial, ended, eventually, port_of, running
from tests.loopback.socks_rig import Client, packed

pytestmark = pytest.mark.loopback


class Far:
    """The far machine: what it was asked to reach, and its ends of what it gave."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.dials: asyncio.Queue[tuple[Dial, Peer]] = asyncio.Queue()
        self.failing: Cause | None = None
        self.aborted: list[int] = []
        self.carriage = Carriage(self.serve)

    async def serve(self, order: Dial) -> Dialled:
        if self.failing is not None:
            raise DialFailed(self.failing)
        kind = socket.SOCK_SEQPACKET if order.protocol == "udp" else socket.SOCK_STREAM
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
        self.dials.put_nowait((order, Peer(ours)))
        return Dialled(theirs, on_aborted=lambda: self.aborted.append(order.n))

    async def attach(self) -> None:
        ours, theirs = socket.socketpair()
        self.carriage.add_worker(0, theirs)
        await self.relay.control.carrier("vps", ours)

    async def port(self, **terms: Any) -> Entry:
        return await self.relay.serve(0, targets=(), carrier="vps", socks=Socks((), ("*",)), **terms)

    async def next(self) -> tuple[Dial, Peer]:
        async with asyncio.timeout(DEADLINE):
            return await self.dials.get()


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[Far]:
    async with running(tmp_path / "worker.sock") as relay:
        far = Far(relay)
        async with far.carriage:
            await far.attach()
            yield far


async def carried(far: Far) -> tuple[Client, Dial, Peer]:
    client = await Client.connect(await far.port())
    await client.command(1, "db.internal", 5432)
    order, end = await far.next()
    assert await client.answer() == (0, ("0.0.0.0", 0))
    return client, order, end


async def test_the_name_goes_to_the_far_end_as_it_is(far: Far) -> None:
    client, order, end = await carried(far)
    assert (order.host, order.port, order.protocol, order.op) == ("db.internal", 5432, "tcp", "dial")
    assert order.source == client.peer.sock.getsockname()
    assert order.listen == client.peer.sock.getpeername()
    await client.peer.send(b"question")
    client.peer.end()
    assert await end.rest() == b"question"
    await end.send(b"answer")
    end.end()
    assert await client.peer.rest() == b"answer"
    client.close()
    end.close()


async def test_private_networks_of_the_far_end_are_what_it_is_for_and_its_loopback_is_guarded(
    far: Far,
) -> None:
    entry = await far.port()
    for host in ("127.0.0.1", "localhost", "169.254.169.254"):
        client = await Client.connect(entry)
        assert (await client.ask(1, host, 80))[0] == 2
        client.close()
    assert far.dials.empty()
    client = await Client.connect(entry)
    assert (await client.ask(1, "10.0.0.5", 80))[0] == 0
    _, end = await far.next()
    end.close()
    client.close()


async def test_a_prefix_lets_no_name_through_as_nobody_would_judge_its_addresses(far: Far) -> None:
    entry = await far.relay.serve(0, targets=(), carrier="vps", socks=Socks((), ("10.0.0.0/8",)))
    client = await Client.connect(entry)
    assert (await client.ask(1, "anywhere.example", 443))[0] == 2
    client.close()
    client = await Client.connect(entry)
    code, where = await client.ask(3, "0.0.0.0", 0)
    assert code == 0
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.sendto(encode_datagram("anywhere.example", 53) + b"x", where)

        async def dropped() -> bool:
            return bool((await far.relay.stats(entry))["dropped"])

        await eventually(dropped)
    client.close()
    assert far.dials.empty()


@pytest.mark.parametrize(
    ("cause", "code"),
    [("refused", 5), ("timed_out", 6), ("unreachable", 4), ("prohibited", 2), ("down", 1), ("other", 1)],
)
async def test_what_the_far_end_says_reaches_the_client(far: Far, cause: Cause, code: int) -> None:
    far.failing = cause
    entry = await far.port()
    client = await Client.connect(entry)
    assert (await client.ask(1, "db.internal", 5432))[0] == code
    client.close()
    assert (await eventually(lambda: ended(far.relay, entry)))["failed"][cause] == 1


async def test_what_breaks_is_reset_on_the_other_side(far: Far) -> None:
    client, order, end = await carried(far)
    far.carriage.abort(order)
    assert await client.peer.was_reset()
    client.close()
    end.close()
    client, order, end = await carried(far)
    client.peer.reset()
    await eventually(lambda: order.n in far.aborted)
    end.close()


async def test_the_end_of_the_link_resets_its_flows(far: Far) -> None:
    client, _, end = await carried(far)
    await far.attach()
    assert await client.peer.was_reset()
    client.close()
    end.close()
    client, _, end = await carried(far)
    client.close()
    end.close()


async def test_a_client_that_goes_cancels_its_dial(far: Far) -> None:
    waiting = asyncio.Event()
    cancelled = asyncio.Event()

    async def hang(_order: Dial) -> Dialled:
        waiting.set()
        try:
            await asyncio.sleep(DEADLINE)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise DialFailed("timed_out")

    async with Carriage(hang) as slow:
        ours, theirs = socket.socketpair()
        slow.add_worker(0, theirs)
        await far.relay.control.carrier("vps", ours)
        client = await Client.connect(await far.port())
        await client.command(1, "db.internal", 5432)
        await waiting.wait()
        client.peer.reset()
        async with asyncio.timeout(DEADLINE):
            await cancelled.wait()


async def test_datagrams_through_a_link(far: Far) -> None:
    entry = await far.port()
    client = await Client.connect(entry)
    code, where = await client.ask(3, "0.0.0.0", 0)
    assert code == 0
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.setblocking(False)
        for said in (b"one", b"two", b"three", b"four"):
            sock.sendto(encode_datagram("dns.internal", 53) + said, where)
        order, end = await far.next()
        assert (order.host, order.port, order.protocol) == ("dns.internal", 53, "udp")
        assert [await end.receive() for _ in range(4)] == [b"one", b"two", b"three", b"four"]
        await end.send(b"answer")
        async with asyncio.timeout(DEADLINE):
            data = await asyncio.get_running_loop().sock_recv(sock, 1000)
        host, port, start = decode_datagram_untrusted(data)
        assert (host, port, data[start:]) == ("dns.internal", 53, b"answer")
        end.close()  # the far end forgets the destination: the next datagram asks for it anew
        await asyncio.sleep(0)

        async def asked_anew() -> bool:
            sock.sendto(encode_datagram("dns.internal", 53) + b"again", where)
            return not far.dials.empty()

        await eventually(asked_anew)
        _, end = await far.next()
        assert await end.receive() == b"again"
        end.close()
    client.close()
    await eventually(lambda: ended(far.relay, entry))


async def test_the_proxy_header_comes_before_what_was_said_early(far: Far) -> None:
    entry = await far.port(proxy_protocol=2)
    peer = await dial(port_of(entry))
    await peer.send(b"\x05\x01\x00\x05\x01\x00" + packed("db.internal", 80) + b"early")
    _, end = await far.next()
    peer.end()
    said = await end.rest()
    header = decode_untrusted(said)
    assert header is not None
    assert header.source == peer.sock.getsockname()
    assert said[header.size :] == b"early"
    peer.close()
    end.close()


async def test_a_port_at_the_far_end_whose_clients_name_their_destination(far: Far) -> None:
    """Remote and dynamic at once: who comes there is asked here."""
    entry = Entry(
        "reverse",
        (Listen("tcp", "0.0.0.0", 1080, 0),),
        (),
        arrivals="vps",
        carrier="vps",
        socks=Socks((), ("*",)),
    )
    await far.relay.control.set([entry])
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    far.carriage.arrive(0, "reverse", "tcp", ("192.0.2.1", 5555), ("0.0.0.0", 1080), theirs, ours.close)
    client = Peer(ours)
    await client.send(b"\x05\x01\x00\x05\x01\x00" + packed("db.internal", 80))
    order, end = await far.next()
    assert order.source == ("192.0.2.1", 5555)
    assert (await client.exactly(12))[:4] == b"\x05\x00\x05\x00"
    await end.send(b"hello")
    end.end()
    assert await client.rest() == b"hello"
    client.end()
    assert await end.rest() == b""
    client.close()
    end.close()
    await eventually(lambda: ended(far.relay, entry))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    far.carriage.arrive(0, "reverse", "tcp", ("192.0.2.1", 5555), ("0.0.0.0", 1080), theirs, ours.close)
    client = Peer(ours)
    await client.send(b"\x05\x01\x00\x05\x03\x00" + packed("0.0.0.0", 0))
    assert (await client.exactly(12))[3] == 7  # no address of ours that it could send datagrams to
    client.close()
    await eventually(lambda: ended(far.relay, entry))


async def test_a_destination_that_is_not_reached_is_not_tried_again_for_every_datagram(far: Far) -> None:
    asked: list[int] = []

    async def refuse(order: Dial) -> Dialled:
        asked.append(order.n)
        raise DialFailed("prohibited")

    async with Carriage(refuse) as refusing:
        ours, theirs = socket.socketpair()
        refusing.add_worker(0, theirs)
        await far.relay.control.carrier("vps", ours)
        entry = await far.port()
        client = await Client.connect(entry)
        _, where = await client.ask(3, "0.0.0.0", 0)
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:

            async def lost(count: int) -> bool:
                dropped: dict[str, int] = (await far.relay.stats(entry))["dropped"]
                return dropped.get("unreachable", 0) >= count

            for count in range(1, 21):  # each is lost before the next is sent
                sock.sendto(encode_datagram("dns.internal", 53) + b"x", where)
                await eventually(partial(lost, count))
            assert len(asked) < 10  # one a second

            async def tried_again() -> bool:
                sock.sendto(encode_datagram("dns.internal", 53) + b"x", where)
                return len(asked) > 1

            await eventually(tried_again)
        client.close()
