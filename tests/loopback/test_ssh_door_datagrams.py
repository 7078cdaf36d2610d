"""Datagrams through the SSH door, for clients that are Sekimori too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from sekimori.testing.peers import Peers
from sekimori.wire.linkframes import DialUdp, ListenUdp, Opening, Records, TakePeer, pack_record

from .ssh_rig import Rig, rigged, until, why_not

pytestmark = [pytest.mark.loopback, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as made:
        yield made


class Talk:
    """A channel of the subsystem."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._process = process
        self._records = Records()
        self._come: list[bytes] = []

    async def record(self) -> bytes:
        async with asyncio.timeout(5):
            while not self._come:
                data = await self._process.stdout.read(65536)
                assert data, "the channel has ended"
                self._come += self._records.feed_untrusted(data)
        return self._come.pop(0)

    async def answer(self) -> dict[str, Any]:
        return dict(json.loads(await self.record()))

    def send(self, data: bytes) -> None:
        self._process.stdin.write(pack_record(data))

    def close(self) -> None:
        self._process.close()


@asynccontextmanager
async def connected(rig: Rig, user: str = "alice") -> AsyncIterator[asyncssh.SSHClientConnection]:
    async with asyncssh.connect(
        "127.0.0.1", rig.port, known_hosts=None, client_keys=[str(rig.key(user))], config=None
    ) as conn:
        yield conn


async def ask(conn: asyncssh.SSHClientConnection, opening: Opening) -> Talk:
    process = await conn.create_process(subsystem="sekimori", encoding=None)
    talk = Talk(process)
    talk.send(opening.to_bytes())
    return talk


async def test_a_place_that_is_granted(rig: Rig) -> None:
    with Peers() as peers:
        echo, other = peers.udp_echo(), peers.udp_echo()
        await rig.put_user("bob", to=f"127.0.0.1:{echo.port}")
        async with connected(rig, "bob") as conn:
            talk = await ask(conn, DialUdp("127.0.0.1", echo.port))
            assert await talk.answer() == {"ok": True}
            for size in (1, 0, 1200, 8000):
                talk.send(b"x" * size)
                assert await talk.record() == b"x" * size
            refused = await ask(conn, DialUdp("127.0.0.1", other.port))
            assert await refused.answer() == {"failed": "prohibited"}
            assert other.seen == []
            nonsense = await ask(conn, TakePeer(7))
            assert await nonsense.answer() == {"failed": "refused"}


async def test_another_grant_counts_for_datagrams_that_flow(rig: Rig) -> None:
    with Peers() as peers:
        echo = peers.udp_echo()
        await rig.put_user("bob", to=f"127.0.0.1:{echo.port}")
        async with connected(rig, "bob") as conn:
            talk = await ask(conn, DialUdp("127.0.0.1", echo.port))
            assert await talk.answer() == {"ok": True}
            talk.send(b"x" * 1000)
            assert await talk.record() == b"x" * 1000
            await until(lambda: [each.channels for each in rig.door.facts().sessions] == [1])
            await until(
                lambda: all(each.bytes_in > 1000 < each.bytes_out for each in rig.door.facts().sessions)
            )
            await rig.put_user("bob", to="none")
            with pytest.raises(AssertionError, match="has ended"):
                await talk.record()
            await until(lambda: [each.channels for each in rig.door.facts().sessions] == [0])
            assert rig.door.facts().sessions[0].bytes_in > 1000


async def test_a_port_for_datagrams(rig: Rig) -> None:
    with Peers() as peers:
        async with connected(rig) as conn:
            desk = await ask(conn, ListenUdp("", rig.first))
            assert await desk.answer() == {"ok": True, "port": rig.first}
            mapping = rig.port_of(f"alice-{rig.first}")
            assert str(mapping.ports[0].protocol) == "udp"
            one, two = peers.datagrams(rig.first), peers.datagrams(rig.first)
            flows = []
            for number, peer in enumerate((one, two)):
                peer.sock.send(b"first of %d" % number)
                announced = await desk.answer()
                assert tuple(announced["source"]) == peer.sock.getsockname()
                flow = await ask(conn, TakePeer(announced["peer"]))
                assert await flow.answer() == {"ok": True}
                assert await flow.record() == b"first of %d" % number
                flows.append(flow)
            for number, flow in enumerate(flows):
                flow.send(b"back to %d" % number)
            assert [await received(peer.sock) for peer in (one, two)] == [b"back to 0", b"back to 1"]
            refused = await ask(conn, ListenUdp("", 22))
            assert await refused.answer() == {"failed": "prohibited"}
        await until(lambda: rig.why(mapping.name) == "client-away")
        async with connected(rig) as conn:
            desk = await ask(conn, ListenUdp("", rig.first))
            assert await desk.answer() == {"ok": True, "port": rig.first}
            taken = rig.port_of(mapping.name)
            assert taken.id == mapping.id
            assert rig.why(mapping.name) == ""
            desk.close()
            await until(lambda: rig.world.named(mapping.name) is None)


async def received(sock: Any) -> bytes:
    sock.setblocking(False)
    async with asyncio.timeout(5):
        return bytes(await asyncio.get_running_loop().sock_recv(sock, 65536))
