"""What comes between two steps of the door's process: words of the daemon, and ends of clients."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED

from sekimori.doors.ssh import session
from sekimori.doors.ssh.rosterframes import roster_frames
from sekimori.doors.ssh.session import Session
from sekimori.host.carrier import Dial, DialFailed
from sekimori.model.grantwords import parse_grant
from sekimori.wire.linkframes import DialUdp, ListenUdp, pack_record

from .house import DEADLINE, DaemonSide, housed, until


@pytest.fixture
async def daemon() -> AsyncIterator[DaemonSide]:
    async with housed() as side:
        yield side


def listening(daemon: DaemonSide, conn: asyncssh.SSHClientConnection, port: int = 8080) -> asyncio.Task[bool]:
    """Whether a port is opened at the client's request, once it was answered."""

    async def ask() -> bool:
        try:
            await conn.forward_remote_port("", port, "127.0.0.1", 9)
        except asyncssh.ChannelListenError:
            return False
        return True

    return daemon.tasks.create_task(ask())


def sessions() -> int:
    """How many sessions are kept in memory."""
    gc.collect()
    return sum(isinstance(each, Session) for each in gc.get_objects())


async def shown(conn: asyncssh.SSHClientConnection, word: str, **environment: str) -> str:
    """What a terminal that opens now shows, up to a word."""
    async with conn.create_process(env=environment) as process:
        async with asyncio.timeout(DEADLINE):
            said = ""
            while word not in said:
                more = await process.stdout.read(4096)
                assert more, said
                said += more
        return said


async def test_a_port_that_is_opened(daemon: DaemonSide) -> None:
    async with daemon.client() as conn:
        asked = listening(daemon, conn)
        daemon.tell(daemon.bound(await daemon.hears("bind")))
        assert await asked
        assert "192.0.2.1:8080 is open" in await shown(conn, "open")


async def test_a_port_that_is_closed_in_the_same_breath_is_not_told_as_open(daemon: DaemonSide) -> None:
    async with daemon.client() as conn:
        asked = listening(daemon, conn)
        ask = await daemon.hears("bind")
        daemon.tell(daemon.bound(ask), {"op": "ended", "id": "0001", "why": "closed"})
        assert await asked
        assert "is open" not in await shown(conn, "No port was asked for")


async def test_nothing_is_kept_of_who_left_while_a_port_was_being_opened(daemon: DaemonSide) -> None:
    async with daemon.client() as conn:
        asked = listening(daemon, conn)
        ask = await daemon.hears("bind")
        conn.abort()
        await daemon.hears("gone")
        daemon.tell(daemon.bound(ask), {"op": "ping"})
        await daemon.hears("ping")
    assert not await asked
    del conn
    await until(lambda: not sessions())


async def test_a_key_that_is_narrowed_while_a_port_is_being_opened(daemon: DaemonSide) -> None:
    async with daemon.client() as conn:
        asked = listening(daemon, conn)
        ask = await daemon.hears("bind")
        daemon.roster('permitlisten="9999"')
        daemon.tell(daemon.bound(ask))
        unbind = await daemon.hears("unbind")
        assert (unbind["id"], unbind["generation"]) == ("0001", 1)
        daemon.tell({"op": "unbound", "n": unbind["n"]})
        assert not await asked


@pytest.mark.parametrize("host", ["a" * 256, "\x1b[2J", "a\nb"])
async def test_an_address_that_would_not_fit_a_log_is_asked_of_nobody(daemon: DaemonSide, host: str) -> None:
    async with daemon.client() as conn:
        with pytest.raises(asyncssh.ChannelListenError):
            await conn.forward_remote_port(host, 8080, "127.0.0.1", 9)
        asked = listening(daemon, conn)
        ask = await daemon.hears("bind")
        assert ask["host"] == ""
        daemon.tell(daemon.bound(ask))
        assert await asked


async def test_as_many_ports_at_once_as_a_session_may_have(daemon: DaemonSide) -> None:
    async with daemon.client() as conn:
        asked = [listening(daemon, conn, 8000 + number) for number in range(200)]
        for number in range(200):
            ask = await daemon.hears("bind", number + 1)
            daemon.tell(daemon.bound(ask) | {"id": f"{number:04x}"})
        assert all(await asyncio.gather(*asked))


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({"LANG": "ja_JP.UTF-8"}, "さん"),
        ({"LANG": "ja_JP.UTF-8", "LC_ALL": "C"}, "Hello"),
        ({"LC_ALL": "en_GB.UTF-8", "LANG": "ja_JP.UTF-8"}, "Hello"),
        ({"LC_MESSAGES": "C", "LANG": "ja_JP.UTF-8"}, "Hello"),
        ({"LC_MESSAGES": "ja_JP.UTF-8", "LANG": "C"}, "さん"),
        ({"LC_ALL": "", "LANG": "ja_JP.UTF-8"}, "さん"),
    ],
)
async def test_the_language_is_the_one_that_programs_would_speak(
    daemon: DaemonSide, environment: dict[str, str], word: str
) -> None:
    async with daemon.client() as conn:
        assert word in await shown(conn, word, **environment)


async def test_a_port_for_datagrams_that_nobody_wants_any_more_when_it_is_open(
    daemon: DaemonSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_PARTING", 0.0)
    async with daemon.client() as conn:
        process = await conn.create_process(subsystem="sekimori", encoding=None)
        process.stdin.write(pack_record(ListenUdp("", 8080).to_bytes()))
        ask = await daemon.hears("bind")
        process.close()
        await process.wait_closed()
        asked = listening(daemon, conn, 9)  # once this is heard, so was the end of the channel
        daemon.tell(daemon.bound(ask))
        daemon.tell(daemon.bound(await daemon.hears("bind", 2)) | {"id": "0002"})
        assert await asked
        unbind = await daemon.hears("unbind")
        assert unbind["id"] == "0001"
        daemon.tell({"op": "unbound", "n": unbind["n"]})


@asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    """The port of an echo on 127.0.0.1."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def said_back(conn: asyncssh.SSHClientConnection, port: int, data: bytes) -> tuple[Any, Any]:
    """A channel to an echo, once that has said something back."""
    reader, writer = await conn.open_connection("127.0.0.1", port)
    writer.write(data)
    async with asyncio.timeout(DEADLINE):
        assert await reader.readexactly(len(data)) == data
    return reader, writer


async def test_channels_of_who_has_used_up_the_quota(daemon: DaemonSide) -> None:
    async with echoing() as port, daemon.client() as conn:
        daemon.roster(to=f"127.0.0.1:{port}", quota="10G")
        reader, _ = await said_back(conn, port, b"x")
        daemon.tell({"op": "used_up", "users": ["alice", "bob"]})
        async with asyncio.timeout(DEADLINE):  # what is open is broken off
            assert await reader.read() == b""
        with pytest.raises(asyncssh.ChannelOpenError) as told:
            await conn.open_connection("127.0.0.1", port)
        assert told.value.code == OPEN_ADMINISTRATIVELY_PROHIBITED
        assert "the 10G of every 30d are used up" in told.value.reason
        async with daemon.client() as later:
            assert "Your 10G of every 30d are used up" in await shown(later, "until that time")
            assert "使い切りました" in await shown(later, "使えません", LANG="ja_JP.UTF-8")
            with pytest.raises(asyncssh.ChannelOpenError):
                await later.open_connection("127.0.0.1", port)
        daemon.tell({"op": "used_up", "users": ["bob"]})
        daemon.tell({"op": "ping"})
        await daemon.hears("ping")
        await said_back(conn, port, b"the same login")


async def test_datagrams_of_who_has_used_up_the_quota(daemon: DaemonSide) -> None:
    daemon.roster(to="127.0.0.1:9", quota="10G")
    async with daemon.client() as conn:
        process = await conn.create_process(subsystem="sekimori", encoding=None)
        process.stdin.write(pack_record(DialUdp("127.0.0.1", 9).to_bytes()))
        async with asyncio.timeout(DEADLINE):
            assert b"ok" in await process.stdout.read(100)
            daemon.tell({"op": "used_up", "users": ["alice"]})
            assert await process.stdout.read() == b""
        process = await conn.create_process(subsystem="sekimori", encoding=None)
        process.stdin.write(pack_record(DialUdp("127.0.0.1", 9).to_bytes()))
        async with asyncio.timeout(DEADLINE):
            assert b"prohibited" in await process.stdout.read()


async def test_a_terminal_that_stands_is_told_of_the_quota(daemon: DaemonSide) -> None:
    daemon.roster(quota="10G")
    async with daemon.client() as conn, conn.create_process() as process:
        async with asyncio.timeout(DEADLINE):
            await process.stdout.readuntil("No port was asked for")
            daemon.tell({"op": "used_up", "users": ["alice"]})
            await process.stdout.readuntil("are used up: no ports and no connections")
            daemon.tell({"op": "used_up", "users": []})
            await process.stdout.readuntil("You may carry 10G in 30d again.")


async def test_the_last_figures_of_a_session_are_told_at_its_end(daemon: DaemonSide) -> None:
    async with echoing() as port:
        daemon.roster(to=f"127.0.0.1:{port}")
        for number in range(1, 4):
            async with daemon.client() as conn:
                await said_back(conn, port, b"x" * 1000)
            gone = await daemon.hears("gone", number)
            assert gone["user"] == "alice"
            assert (gone["bytes_in"], gone["bytes_out"]) == (1000, 1000)


async def test_the_signs_of_life_while_a_long_roster_is_read(daemon: DaemonSide) -> None:
    line = daemon.key.export_public_key().decode().strip()
    row = {"user": "alice", "line": line, "grant": parse_grant({}).to_document(), "principal": None}
    rows = [row | {"expires_at": None, "line": f"{line} {number:04} {'x' * 2000}"} for number in range(2000)]
    frames, _ = roster_frames(rows, [], "UTC")
    await daemon.tell_at_length(*frames[:-1])
    await daemon.hears("ping", len(frames) - 1)
    async with daemon.client():  # the former holds until the next is whole
        pass
    await daemon.tell_at_length(frames[-1])
    async with daemon.client():
        pass


async def test_a_client_that_never_reads_is_told_of_no_more_than_waits_already(daemon: DaemonSide) -> None:
    async with daemon.client() as conn:
        process = await conn.create_process(subsystem="sekimori", encoding=None, window=1000)
        process.stdin.write(pack_record(ListenUdp("", 8080).to_bytes()))
        daemon.tell(daemon.bound(await daemon.hears("bind")))
        (there,) = [each for each in gc.get_objects() if isinstance(each, Session) and not each.is_over]
        await until(lambda: there.ports)
        (opened,) = there.ports.values()
        desk = opened.desk
        assert desk is not None
        dial = Dial(1, 0, "0001", "dial", "udp", "", 0, ("192.0.2.7", 5555), ("0.0.0.0", 8080))

        def tell_until_refused() -> int:
            for number in range(1, 20_000):
                try:
                    there.peers.come(dial, desk).sock.close()
                except DialFailed:
                    return number
                sock = there.peers.take(number)
                assert sock is not None
                sock.close()
            raise AssertionError("it was told of everybody")

        assert tell_until_refused() > 1000
