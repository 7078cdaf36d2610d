"""Channels that are opened and steered past asyncssh: as it would have had them."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest
from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
    OPEN_CONNECT_FAILED,
)

from sekimori.host.sshchannel import steer

from .ssh_pair import Pair, joined, receive, send, until

pytestmark = pytest.mark.loopback

CHACHA = {"encryption_algs": ["chacha20-poly1305@openssh.com"]}


def packet(kind: int, *numbers: int) -> bytes:
    payload = bytes((kind,)) + struct.pack(f"!{len(numbers)}I", *numbers)
    return b"\x04" + payload + bytes(4)


def channels(pair: Pair) -> int:
    return len(pair.conn._channels)


@pytest.mark.parametrize("options", [{}, CHACHA], ids=["steered", "by asyncssh"])
async def test_many_short_flows_come_and_go_in_order(options: dict[str, Any]) -> None:
    async def one(pair: Pair, number: int) -> bytes:
        near, _pump, opened = pair.ask()
        with near:
            await send(near, b"%d" % number)  # the worker need not wait for the channel
            assert await opened is None
            return await receive(near)

    async def echo(pair: Pair) -> None:
        far = await pair.streams.get()
        with far:
            await send(far, await receive(far))

    async with joined(**options) as pair:
        async with asyncio.TaskGroup() as tasks:
            got = [tasks.create_task(one(pair, number)) for number in range(200)]
            for _ in got:
                tasks.create_task(echo(pair))
        assert [each.result() for each in got] == [b"%d" % number for number in range(200)]
        await until(lambda: len(pair.ends) == len(pair.far_ends) == 200)
        assert not any(pair.ends + pair.far_ends)
        await until(lambda: channels(pair) == 0)


@pytest.mark.parametrize("options", [{}, CHACHA], ids=["steered", "by asyncssh"])
async def test_a_refusal_is_told_and_leaves_nothing(options: dict[str, Any]) -> None:
    async with joined(**options) as pair:
        near, pump, opened = pair.ask("nowhere")
        with near:
            failure = await opened
            assert failure is not None
            assert (failure.code, failure.reason) == (OPEN_CONNECT_FAILED, "nobody is there")
            pump.abort()
        await until(lambda: channels(pair) == 0)


@pytest.mark.parametrize("options", [{}, CHACHA], ids=["steered", "by asyncssh"])
async def test_a_channel_that_comes_too_late_is_closed(options: dict[str, Any]) -> None:
    async with joined(**options) as pair:
        near, pump, opened = pair.ask()
        with near:
            opened.cancel()
            pump.abort()
            with await pair.streams.get() as far:
                assert await receive(far) == b""
        assert pair.far_ends == [True]
        await until(lambda: channels(pair) == 0)


async def test_the_loss_of_the_connection_is_told_to_who_waits() -> None:
    async with joined() as pair:
        near, pump, opened = pair.ask()
        with near:
            pair.conn.abort()
            failure = await opened
            assert failure is not None
            assert failure.reason == "SSH connection closed"
            pump.abort()


async def test_what_does_not_fit_is_left_to_asyncssh() -> None:
    async with joined() as pair:
        near, far, pump = await pair.open()
        held: Any = pump
        conn, number = pair.conn, held._chan._recv_chan
        with near, far:
            assert steer(conn, packet(MSG_CHANNEL_EOF, number)) is not None
            assert steer(conn, packet(MSG_CHANNEL_EOF, number, 0)) is None
            assert steer(conn, packet(MSG_CHANNEL_EOF, number + 1)) is None
            assert steer(conn, packet(MSG_CHANNEL_WINDOW_ADJUST, number)) is None
            assert steer(conn, packet(MSG_CHANNEL_REQUEST, number)) is None
            assert steer(conn, packet(MSG_CHANNEL_OPEN_CONFIRMATION, number, 0, 1, 1)) is None  # it is open
            await send(far, b"")
            assert await receive(near) == b""
            assert steer(conn, packet(MSG_CHANNEL_EOF, number)) is None  # a second one
            assert steer(conn, packet(MSG_CHANNEL_CLOSE, number)) is not None


async def test_a_confirmation_with_no_room_for_a_packet_is_left_to_asyncssh() -> None:
    async with joined() as pair:
        near, pump, _opened = pair.ask()
        with near:
            number = next(iter(pair.conn._channels))
            assert steer(pair.conn, packet(MSG_CHANNEL_OPEN_CONFIRMATION, number, 0, 1, 0)) is None
            assert steer(pair.conn, packet(MSG_CHANNEL_OPEN_CONFIRMATION, number, 0, 1, 1)) is not None
            pump.abort()
            (await pair.streams.get()).close()


async def test_packets_of_one_turn_go_in_one_write() -> None:
    async with joined() as pair:
        transport: Any = pair.conn._transport
        written: list[int] = []
        writelines = transport.writelines

        def count(parts: Any) -> None:
            parts = list(parts)
            written.append(sum(map(len, parts)))
            writelines(parts)

        transport.writelines = count
        asked = [pair.ask() for _ in range(20)]
        before = pair.line.waiting
        for near, _pump, opened in asked:
            assert await opened is None
            near.close()
            (await pair.streams.get()).close()
        assert written[0] == before
        assert before > 20 * 60
