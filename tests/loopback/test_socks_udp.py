"""UDP ASSOCIATE and BIND through a real worker and a real dialler."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from sekimori.planes.dialler.keeper import Dialler
from sekimori.wire.socks import decode_datagram_untrusted, encode_datagram
from tests.loopback.relay_rig import DEADLINE, Relay, Target, dial, ended, eventually
from tests.loopback.socks_rig import Client, serve, socks_relay

pytestmark = pytest.mark.loopback


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Relay, Dialler]]:
    async with socks_relay(tmp_path / "worker.sock") as both:
        yield both


@pytest.fixture
def relay(pair: tuple[Relay, Dialler]) -> Relay:
    return pair[0]


def datagrams(address: str = "127.0.0.1") -> socket.socket:
    """A bound UDP socket that does not block."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((address, 0))
    return sock


async def receive(sock: socket.socket) -> tuple[bytes, tuple[str, int]]:
    """The next datagram and who sent it."""
    async with asyncio.timeout(DEADLINE):
        data, name = await asyncio.get_running_loop().sock_recvfrom(sock, 1 << 16)
    return data, (name[0], name[1])


class Associated:
    """A client with an association, and the socket that it sends from."""

    def __init__(self, client: Client, sock: socket.socket, relay: tuple[str, int]) -> None:
        self.client = client
        self.sock = sock
        self.relay = relay

    @classmethod
    async def begin(cls, entry, says_port: bool = False) -> Associated:
        sock = datagrams()
        client = await Client.connect(entry)
        code, where = await client.ask(3, "0.0.0.0", sock.getsockname()[1] if says_port else 0)
        assert code == 0
        return cls(client, sock, where)

    def send(self, host: str, port: int, data: bytes) -> None:
        self.sock.sendto(encode_datagram(host, port) + data, self.relay)

    async def receive(self) -> tuple[tuple[str, int], bytes]:
        """Whom an answer is from, as its header says, and what it is."""
        data, sender = await receive(self.sock)
        assert sender == self.relay
        host, port, start = decode_datagram_untrusted(data)
        return (host, port), data[start:]

    def close(self) -> None:
        self.client.close()
        self.sock.close()


async def test_datagrams_keep_their_bounds_and_their_senders(relay: Relay) -> None:
    entry = await serve(relay)
    with closing(datagrams()) as one, closing(datagrams("::1")) as other:
        associated = await Associated.begin(entry)
        for sock, host in ((one, "127.0.0.1"), (other, "::1")):
            port = sock.getsockname()[1]
            for said in (b"first", b"", b"x" * 9000):
                associated.send(host, port, said)
                got, sender = await receive(sock)
                assert got == said
                sock.sendto(got[::-1], sender)
                assert await associated.receive() == ((host, port), said[::-1])
        [flow] = await relay.control.flows(entry.id)
        assert flow["state"] == "associated"
        assert (flow["packets_in"], flow["packets_out"]) == (6, 6)
        assert flow["bytes_in"] == flow["bytes_out"] == 2 * 9005
        associated.close()
    assert (await eventually(lambda: ended(relay, entry)))["packets_in"] == 6


async def test_a_name_is_answered_by_its_address(relay: Relay) -> None:
    with closing(datagrams()) as target:
        port = target.getsockname()[1]
        associated = await Associated.begin(await serve(relay, rules=("127.0.0.1",)))
        associated.send("localhost", port, b"hello")
        _, sender = await receive(target)
        target.sendto(b"there", sender)
        assert await associated.receive() == (("127.0.0.1", port), b"there")
        associated.close()


async def test_it_ends_with_its_connection(relay: Relay) -> None:
    entry = await serve(relay)
    associated = await Associated.begin(entry)
    associated.client.close()
    await eventually(lambda: ended(relay, entry))
    sock = associated.sock
    sock.connect(associated.relay)
    sock.send(encode_datagram("127.0.0.1", 9) + b"late")

    async def refused() -> bool:
        try:
            sock.send(b"")
        except ConnectionRefusedError:  # nobody listens there any more
            return True
        return False

    await eventually(refused)
    sock.close()


async def test_only_its_client_is_heard(relay: Relay) -> None:
    entry = await serve(relay)
    with closing(datagrams()) as target:
        port = target.getsockname()[1]
        associated = await Associated.begin(entry)
        with closing(datagrams("127.0.0.2")) as stranger, closing(datagrams()) as second:
            stranger.sendto(encode_datagram("127.0.0.1", port) + b"other address", associated.relay)
            associated.send("127.0.0.1", port, b"client")  # settles the port
            second.sendto(encode_datagram("127.0.0.1", port) + b"other port", associated.relay)
            associated.send("127.0.0.1", port, b"again")
            assert (await receive(target))[0] == b"client"
            assert (await receive(target))[0] == b"again"
        associated.close()
        associated = await Associated.begin(entry, says_port=True)
        with closing(datagrams()) as second:
            second.sendto(encode_datagram("127.0.0.1", port) + b"not the port it said", associated.relay)
            associated.send("127.0.0.1", port, b"client")
            assert (await receive(target))[0] == b"client"
        associated.close()


async def test_guarded_and_malformed_datagrams_are_dropped_and_counted(relay: Relay) -> None:
    entry = await serve(relay, rules=("127.0.0.1:1-65534",))
    with closing(datagrams()) as target:
        associated = await Associated.begin(entry)
        associated.send("127.0.0.1", 65535, b"no rule")
        associated.send("169.254.169.254", 80, b"guarded")
        associated.sock.sendto(b"\0\0\x01" + encode_datagram("127.0.0.1", 9)[3:], associated.relay)
        associated.sock.sendto(b"short", associated.relay)
        associated.send("127.0.0.1", target.getsockname()[1], b"goes")
        assert (await receive(target))[0] == b"goes"
        assert sum((await relay.stats(entry))["dropped"].values()) == 4
        associated.close()


async def test_one_destinations_error_ends_no_other(relay: Relay) -> None:
    entry = await serve(relay)
    with closing(datagrams()) as target:
        closed = datagrams()
        nobody = closed.getsockname()[1]
        closed.close()
        associated = await Associated.begin(entry)
        for _ in range(3):
            associated.send("127.0.0.1", nobody, b"into the void")
        associated.send("127.0.0.1", target.getsockname()[1], b"heard")
        assert (await receive(target))[0] == b"heard"

        async def counted() -> bool:
            return bool((await relay.stats(entry))["dropped"].get("unreachable"))

        await eventually(counted)
        associated.close()


async def test_destinations_are_bounded(relay: Relay) -> None:
    entry = await serve(relay)
    with closing(datagrams()) as target:
        port = target.getsockname()[1]
        associated = await Associated.begin(entry)
        for number in range(1, 301):
            where = f"127.0.1.{number % 250}", number
            associated.send(*where, b"spray")
            if number % 20 == 0:  # each dialled before the next: only what is under way is bounded otherwise

                async def carried(number: int = number) -> bool:
                    [flow] = await relay.control.flows(entry.id)
                    return bool(
                        flow["packets_in"] + sum((await relay.stats(entry))["dropped"].values()) >= number
                    )

                await eventually(carried)
        assert len(os.listdir(f"/proc/{relay.control.pid}/fd")) < 300
        associated.send("127.0.0.1", port, b"still served")
        assert (await receive(target))[0] == b"still served"
        associated.close()


async def test_bind_takes_the_one_that_is_expected(relay: Relay) -> None:
    entry = await serve(relay)
    client = await Client.connect(entry)
    code, where = await client.ask(2, "127.0.0.2", 0)
    assert (code, where[0]) == (0, "127.0.0.1")
    stranger = await dial(where[1], source="127.0.0.3")
    assert await stranger.receive() == b""
    stranger.close()
    peer = await dial(where[1], source="127.0.0.2")
    code, who = await client.answer()
    assert (code, who) == (0, peer.sock.getsockname())
    await peer.send(b"hello")
    assert await client.peer.exactly(5) == b"hello"
    await client.peer.send(b"back")
    client.peer.end()
    assert await peer.rest() == b"back"
    peer.close()
    assert await client.peer.rest() == b""
    client.close()


async def test_bind_ends_with_its_client_and_is_judged(relay: Relay) -> None:
    entry = await serve(relay)
    client = await Client.connect(entry)
    _, where = await client.ask(2, "127.0.0.1", 0)
    client.close()
    await eventually(lambda: ended(relay, entry))

    async def refused() -> bool:
        try:
            (await dial(where[1])).close()
        except (ConnectionRefusedError, ConnectionResetError):
            return True
        return False

    await eventually(refused)
    client = await Client.connect(await serve(relay, rules=("*",)))
    assert (await client.ask(2, "127.0.0.1", 0))[0] == 2
    client.close()
    client = await Client.connect(await serve(relay, rules=("*",)))
    assert (await client.ask(2, "0.0.0.0", 0))[0] == 2
    client.close()


async def test_what_links_do_not_carry(relay: Relay) -> None:
    entry = await relay.serve(0, targets=(), carrier="vps", socks=(await serve(relay)).socks)
    client = await Client.connect(entry)
    assert (await client.ask(2, "127.0.0.1", 0))[0] == 7
    client.close()
    associated = await Associated.begin(entry)
    associated.send("127.0.0.1", 9, b"no way there")

    async def counted() -> bool:
        stats = await relay.stats(entry)
        return bool(stats["dropped"].get("unreachable") and stats["failed"]["down"])

    await eventually(counted)
    associated.close()


async def test_terms_that_narrow_end_what_they_no_longer_allow(relay: Relay) -> None:
    entry = await serve(relay)
    with closing(datagrams()) as target, Target() as other:
        port = target.getsockname()[1]
        associated = await Associated.begin(entry)
        associated.send("127.0.0.1", port, b"before")
        assert (await receive(target))[0] == b"before"
        connected = await Client.connect(entry)
        assert (await connected.ask(1, "127.0.0.1", other.port))[0] == 0
        assert entry.socks is not None
        narrow = replace(entry, socks=replace(entry.socks, rules=("*",)), grace=0.0)
        await relay.control.set([narrow])
        assert await connected.peer.was_reset()
        client = await Client.connect(entry)
        assert (await client.ask(1, "127.0.0.1", other.port))[0] == 2
        client.close()
        associated.send("127.0.0.1", port, b"after")

        async def dropped() -> bool:
            return bool((await relay.stats(entry))["dropped"])

        await eventually(dropped)
        with pytest.raises(BlockingIOError):
            target.recv(100)
        associated.close()
        connected.close()


async def test_terms_that_narrow_end_a_destination_that_speaks_unasked(relay: Relay) -> None:
    entry = await serve(relay)
    with closing(datagrams()) as target:
        associated = await Associated.begin(entry)
        associated.send("127.0.0.1", target.getsockname()[1], b"subscribe")
        _, sender = await receive(target)
        target.sendto(b"news", sender)
        assert (await associated.receive())[1] == b"news"
        assert entry.socks is not None
        await relay.control.set([replace(entry, socks=replace(entry.socks, rules=("*",)))])
        target.connect(sender)

        async def ended_there() -> bool:
            try:
                target.send(b"more news")
            except ConnectionRefusedError:  # the socket that heard it is gone
                return True
            return False

        await eventually(ended_there)
        with pytest.raises(BlockingIOError):
            associated.sock.recv(100)
        associated.close()
