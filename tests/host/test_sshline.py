"""The wire that is taken over from asyncssh, between two ends that both have taken theirs."""

from __future__ import annotations

import asyncio
import os
import socket
from functools import partial
from typing import Any, cast

import asyncssh
import pytest

from sekimori.host.sshpump import MOST_WINDOW, WINDOW, Pump

from .ssh_pair import MEGABYTE, digest, joined, receive, send, until

pytestmark = pytest.mark.loopback


@pytest.mark.parametrize(
    ("options", "moved"),
    [
        ({}, 16 * MEGABYTE),
        ({"rekey_bytes": 300_000}, 4 * MEGABYTE),  # keys are exchanged a dozen times on the way
        ({"encryption_algs": ["aes256-gcm@openssh.com"]}, 4 * MEGABYTE),
        ({"encryption_algs": ["chacha20-poly1305@openssh.com"]}, 4 * MEGABYTE),
        ({"encryption_algs": ["aes128-ctr"], "mac_algs": ["hmac-sha2-256-etm@openssh.com"]}, 4 * MEGABYTE),
    ],
    ids=["gcm", "rekeyed", "gcm256", "chacha", "ctr"],
)
async def test_bytes_are_equal_both_ways_at_once(options: dict[str, Any], moved: int) -> None:
    there, back = os.urandom(moved), os.urandom(moved)
    async with joined(**options) as pair:
        near, far, pump = await pair.open()
        with near, far:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(send(near, there))
                tasks.create_task(send(far, back))
                got_there = tasks.create_task(receive(far))
                got_back = tasks.create_task(receive(near))
            assert digest(got_there.result()) == digest(there)
            assert digest(got_back.result()) == digest(back)
            async with asyncio.timeout(5):
                while not pair.ends or not pair.far_ends:  # noqa: ASYNC110 - each says it when it is over
                    await asyncio.sleep(0.01)
        assert (pair.ends, pair.far_ends) == ([False], [False])
        assert (pump.bytes_out, pump.bytes_in) == (moved, moved)


async def test_many_flows_at_once_keep_their_bytes_apart() -> None:
    async with joined(rekey_bytes=2 * MEGABYTE) as pair:
        flows = [await pair.open() for _ in range(16)]
        data = [os.urandom(MEGABYTE) for _ in flows]
        async with asyncio.TaskGroup() as tasks:
            for (near, _far, _pump), each in zip(flows, data, strict=True):
                tasks.create_task(send(near, each))
            got = [tasks.create_task(receive(far)) for _near, far, _pump in flows]
        assert [digest(each.result()) for each in got] == [digest(each) for each in data]
        for near, far, _pump in flows:
            near.close()
            far.close()


async def test_a_slow_reader_gets_all_and_holds_the_sender_up() -> None:
    data = os.urandom(8 * MEGABYTE)
    async with joined() as pair:
        near, far, pump = await pair.open()
        with near, far:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(send(near, data))
                async with asyncio.timeout(5):
                    seen = -1
                    while seen != pump.bytes_out:
                        seen = pump.bytes_out
                        await asyncio.sleep(0.2)
                assert not sending.done()
                assert seen < WINDOW + 3 * MEGABYTE  # and what sockets hold
                got = await receive(far)
            assert digest(got) == digest(data)


async def test_a_flow_that_is_broken_off_is_broken_off_at_the_other_end() -> None:
    async with joined() as pair:
        near, far, pump = await pair.open()
        with near, far:
            pump.abort()
            assert await receive(far) == b""
            assert pair.far_ends == [True]


async def test_an_end_that_closes_with_something_unread_is_a_reset() -> None:
    async with joined() as pair:
        near, far, _pump = await pair.open()
        with far:
            await send(far, b"never read", end=False)
            async with asyncio.timeout(5):
                await asyncio.get_running_loop().sock_recv(near, 1)
            near.close()
            assert await receive(far) == b""
            assert pair.far_ends == [True]


def came_through(pump: Pump, count: int) -> bool:
    return pump.bytes_in == count


async def test_a_worker_may_speak_on_while_what_came_before_a_close_is_delivered() -> None:
    wrong: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: wrong.append(context))
    async with joined() as pair:
        near, far, pump = await pair.open()
        held: Any = pump
        with near, far:
            while held._queue is None:  # until the worker's end is full
                before = pump.bytes_in
                await send(far, bytes(1 << 16), end=False)
                await until(partial(came_through, pump, before + (1 << 16)))
            sent = pump.bytes_in
            far.shutdown(socket.SHUT_WR)
            await until(lambda: held._far_ended)
            far_chan = cast(Any, pair.far_pumps[0])._chan
            far_chan.close()  # as sshd does when its target takes nothing more
            await until(lambda: held._chan is None)
            assert not pump.is_over
            await send(near, b"too late", end=False)
            await until(lambda: pump.bytes_out == len(b"too late"))
            near.shutdown(socket.SHUT_WR)
            assert len(await receive(near)) == sent
        assert pair.ends == [False]
    assert wrong == []


async def test_the_loss_of_the_connection_is_no_orderly_end() -> None:
    async with joined() as pair:
        near, far, _pump = await pair.open()
        near2, far2, _pump2 = await pair.open()
        with near, far, near2, far2:
            await send(near2, b"", end=True)
            assert await receive(far2) == b""
            pair.conn.abort()
            assert await receive(near) == b""
            assert await receive(far) == b""
            assert await receive(near2) == b""
        assert pair.ends == [True, True]
        assert pair.far_ends == [True, True]


async def test_the_window_grows_where_it_holds_the_sender_up() -> None:
    async with joined() as pair:
        near, far, pump = await pair.open()
        held: Any = pump
        chan = held._chan
        assert chan._init_recv_window == WINDOW
        pair.line.rtt = 1.0  # as if the path were that long: a window is through within two of them
        with near, far:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(send(far, bytes(48 * MEGABYTE)))
                await receive(near)
        assert chan._init_recv_window == MOST_WINDOW


async def test_a_packet_that_was_tampered_with_ends_the_connection() -> None:
    async with joined() as pair:
        near, far, _pump = await pair.open()
        with near, far:
            line: Any = pair.line
            line._sealer.of(
                pair.conn._send_encryption
            ).advance()  # one nonce is skipped: nothing fits any more
            await send(near, b"forged", end=False)
            assert await receive(far) == b""
            assert await receive(near) == b""
        assert pair.far_ends == [True]


async def test_rest_of_asyncssh_goes_on_as_before() -> None:
    async with joined(keepalive_interval=0) as pair:
        kind, _packet = await pair.conn._make_global_request(b"keepalive@openssh.com")
        assert kind in (81, 82)
        with pytest.raises(asyncssh.ChannelOpenError):
            await pair.conn.create_session(asyncssh.SSHClientSession)
        near, far, _pump = await pair.open()
        with near, far:
            await send(near, b"still there")
            assert await receive(far) == b"still there"
