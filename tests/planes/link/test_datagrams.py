"""UDP between two ends of a link, over a server that speaks the subsystem as the SSH door does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncssh
import pytest

from sekimori.host.carrier import Dial, DialFailed
from sekimori.host.sshdatagrams import DatagramPump
from sekimori.host.sshline import Line
from sekimori.planes.link.datagrams import listen_udp, open_datagrams, take_peer
from sekimori.planes.link.joining import Joined
from sekimori.planes.link.listening import Listens, Wanted
from sekimori.wire.linkframes import (
    SUBSYSTEM,
    Announced,
    Answer,
    DialUdp,
    ListenUdp,
    Records,
    TakePeer,
    pack_record,
    read_opening_untrusted,
)

pytestmark = pytest.mark.loopback

DEADLINE = 5.0


class FarSession(asyncssh.SSHServerSession[bytes]):
    """A channel of the subsystem at the far end."""

    def __init__(self, far: FarEnd) -> None:
        self._far = far
        self._records = Records()
        self._pump: DatagramPump | None = None

    def connection_made(self, chan: Any) -> None:
        self.chan = chan
        chan.set_encoding(None)

    def subsystem_requested(self, subsystem: str) -> bool:
        return subsystem == SUBSYSTEM

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        if self._pump is not None:
            self._pump.feed(data)
            return
        for record in self._records.feed_untrusted(data):
            self._pump = self._far.serve(self, read_opening_untrusted(record))
            if self._pump is not None:
                self._pump.feed(self._records.rest())

    def say(self, content: bytes) -> None:
        self.chan.write(pack_record(content))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._pump is not None:
            self._pump.close()


class FarEnd(asyncssh.SSHServer):
    """Dials UDP; a listen announces peer 7, whose datagrams the test sends and reads at `peer`."""

    def __init__(self) -> None:
        self.openings: list[object] = []
        self.ended = 0
        self.peer, self._handed = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.peer.setblocking(False)
        self._handed.setblocking(False)
        self.listening: FarSession | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.conn = conn

    def begin_auth(self, username: str) -> bool:
        return False

    def session_requested(self) -> FarSession:
        return FarSession(self)

    def serve(self, session: FarSession, opening: object) -> DatagramPump | None:
        self.openings.append(opening)
        match opening:
            case DialUdp(host="forbidden"):
                session.say(Answer(failed="prohibited").to_bytes())
            case DialUdp():
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sock.setblocking(False)
                sock.connect((opening.host, opening.port))
                session.say(Answer().to_bytes())
                return self._pump(session, sock)
            case ListenUdp(port=1):
                session.say(Answer(failed="port-taken").to_bytes())
            case ListenUdp():
                session.say(Answer(port=opening.port or 4000).to_bytes())
                session.say(Announced(7, ("192.0.2.7", 77)).to_bytes())
                self.listening = session
            case TakePeer(peer=7):
                session.say(Answer().to_bytes())
                return self._pump(session, self._handed)
            case _:
                session.say(Answer(failed="refused").to_bytes())
        return None

    def _pump(self, session: FarSession, sock: socket.socket) -> DatagramPump:
        return DatagramPump(sock, session.chan, Line(self.conn), self._end)

    def _end(self) -> None:
        self.ended += 1


@asynccontextmanager
async def linked(
    version: str = "Sekimori_1", command: str | None = None
) -> AsyncIterator[tuple[Joined, FarEnd]]:
    far = FarEnd()
    key = asyncssh.generate_private_key("ssh-ed25519")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            await asyncssh.create_server(
                lambda: far, "127.0.0.1", 0, server_host_keys=[key], encoding=None, server_version=version
            )
        )
        conn = await asyncssh.connect(
            "127.0.0.1",
            server.get_port(),
            known_hosts=None,
            config=None,
            username="x",
            client_keys=None,
            agent_path=None,
            command=command,
        )
        joined = Joined(conn, Line(conn), (conn,))
        stack.push_async_callback(joined.close)
        stack.callback(far.peer.close)
        stack.callback(far._handed.close)
        yield joined, far


def dial(host: str, port: int) -> Dial:
    return Dial(1, 0, "m1", "dial", "udp", host, port, ("192.0.2.1", 9), None)


@pytest.fixture
def echo() -> Iterator[socket.socket]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    yield sock
    sock.close()


async def receive(sock: socket.socket) -> bytes:
    async with asyncio.timeout(DEADLINE):
        return await asyncio.get_running_loop().sock_recv(sock, 70000)


async def until(condition: Any) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def test_datagrams_keep_their_bounds_both_ways(echo: socket.socket) -> None:
    ended: list[bool] = []
    async with linked() as (joined, far):
        sock, pump = await open_datagrams(joined, dial(*echo.getsockname()), lambda: ended.append(True))
        sent = [b"one", b"", b"x" * 1400, b"y" * 60000]
        with sock:
            for each in sent:
                sock.send(each)
            got = []
            for _ in sent:
                data, source = await asyncio.get_running_loop().sock_recvfrom(echo, 70000)
                got.append(data)
                echo.sendto(data[::-1], source)
            assert got == sent
            assert [await receive(sock) for _ in sent] == [each[::-1] for each in sent]
            assert far.openings == [DialUdp("127.0.0.1", echo.getsockname()[1], ("192.0.2.1", 9), "m1")]
            assert pump.dropped == 0
        await until(lambda: ended and far.ended)  # the worker's end is closed: so is the channel
    assert ended == [True]


async def test_what_cannot_go_now_is_dropped_and_counted(echo: socket.socket) -> None:
    async with linked() as (joined, far):
        sock, pump = await open_datagrams(joined, dial(*echo.getsockname()), lambda: None)
        with sock:
            transport: Any = far.conn._transport
            transport.pause_reading()  # the path is stuck
            sent = 0
            async with asyncio.timeout(DEADLINE):
                while not pump.dropped:
                    try:
                        sock.send(bytes(1400))
                        sent += 1
                    except BlockingIOError:
                        await asyncio.sleep(0)
            transport.resume_reading()
            assert await receive(echo) == bytes(1400)
            assert 0 < pump.dropped < sent


@pytest.mark.parametrize(
    ("host", "version", "cause"),
    [
        ("forbidden", "Sekimori_1", "prohibited"),
        ("127.0.0.1", "OpenSSH_9.2", "prohibited"),
    ],
)
async def test_a_far_end_that_will_not(host: str, version: str, cause: str) -> None:
    async with linked(version) as (joined, _far):
        with pytest.raises(DialFailed) as failed:
            await open_datagrams(joined, dial(host, 53), lambda: None)
        assert failed.value.cause == cause


async def test_peers_of_a_port_at_the_far_end_are_taken() -> None:
    announced: list[Announced] = []
    async with linked() as (joined, far):
        talk, answer = await listen_udp(joined, ListenUdp("0.0.0.0", 0, "m2"), announced.append)
        assert answer == Answer(port=4000)
        await until(lambda: announced)
        assert announced == [Announced(7, ("192.0.2.7", 77))]
        sock, _pump = await take_peer(joined, 7, lambda: None)
        with sock:
            far.peer.send(b"query")
            assert await receive(sock) == b"query"
            sock.send(b"answer")
            assert await receive(far.peer) == b"answer"
        with pytest.raises(DialFailed):
            await take_peer(joined, 8, lambda: None)
        talk.close()
        async with asyncio.timeout(DEADLINE):
            await talk.ended()


async def test_a_far_end_that_announces_without_end_is_heeded_so_far() -> None:
    async with linked() as (joined, far), asyncio.TaskGroup() as tasks:
        nobody: Any = None
        listens = Listens("vps", nobody, nobody, tasks, lambda _frame: None)
        wanted = Wanted("m1", "udp/53", "udp", "", 53, 0)
        for number in range(1000):
            listens.announced(wanted, joined, 53, Announced(1000 + number, ("192.0.2.7", 77)))
    assert len(far.openings) == 256


async def test_what_ssh_config_runs_there_is_not_run_instead(echo: socket.socket) -> None:
    async with linked(command="tmux") as (joined, _far):
        sock, _pump = await open_datagrams(joined, dial(*echo.getsockname()), lambda: None)
        sock.close()


async def test_a_port_that_is_taken_there() -> None:
    async with linked() as (joined, _far):
        _talk, answer = await listen_udp(joined, ListenUdp("0.0.0.0", 1), lambda _peer: None)
        assert answer.failed == "port-taken"
