"""UDP through a link whose far end is Sekimori: a channel of its subsystem for each flow."""

from __future__ import annotations

import asyncio
import socket
from asyncio import Future
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

from asyncssh import ChannelOpenError, SSHClientChannel, SSHClientSession
from asyncssh.channel import SSHChannel
from asyncssh.packet import PacketDecodeError

from sekimori.host.carrier import CAUSES, Dial, DialFailed
from sekimori.host.sshdatagrams import DatagramPump, record_pair
from sekimori.host.sshline import Line
from sekimori.planes.link.joining import Joined
from sekimori.wire.errors import BadPacket
from sekimori.wire.linkframes import (
    SUBSYSTEM,
    Announced,
    Answer,
    DialUdp,
    ListenUdp,
    Opening,
    Records,
    TakePeer,
    pack_record,
    read_announced_untrusted,
    read_answer_untrusted,
)

__all__ = ["Conversation", "listen_udp", "open_datagrams", "take_peer"]

_ANSWER: Final = 15.0


class Conversation(SSHClientSession[bytes]):
    """A channel of the subsystem: records come in until `take` is told otherwise."""

    def __init__(self) -> None:
        self.chan: SSHChannel[bytes] | None = None
        self.answer: Future[Answer] = asyncio.get_running_loop().create_future()
        self._records = Records()
        self._take: Callable[[bytes], None] | None = None
        self._pump: DatagramPump | None = None
        self._kept: list[bytes] = []
        self._ended = asyncio.Event()
        self._closed = False

    def connection_made(self, chan: SSHClientChannel[bytes]) -> None:
        """The channel is open."""
        if self._closed:
            chan.abort()
        else:
            self.chan = chan

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        """Bytes of the far end."""
        if datatype is not None:  # standard error says nothing that is for us
            return
        if self._pump is not None:
            self._pump.feed(data)
            return
        for record in self._records.feed_untrusted(data):
            self._heard(record)

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed."""
        if not self.answer.done():
            self.answer.set_result(Answer(failed="other"))
        if self._pump is not None:
            self._pump.close()
        self._ended.set()

    def carry(self, pump: DatagramPump) -> None:
        """From now on all records are datagrams."""
        for record in self._kept:
            pump.feed(pack_record(record))
        self._kept.clear()
        pump.feed(self._records.rest())
        self._pump = pump

    def follow(self, take: Callable[[bytes], None]) -> None:
        """From now on records are told."""
        self._take = take
        for record in self._kept:
            take(record)
        self._kept.clear()

    async def ended(self) -> None:
        """Wait for the end of the channel."""
        await self._ended.wait()

    def close(self) -> None:
        """End it, or have it ended as soon as it is there."""
        self._closed = True
        if self.chan is not None:
            self.chan.close()

    def _heard(self, record: bytes) -> None:
        if not self.answer.done():
            try:
                self.answer.set_result(read_answer_untrusted(record))
            except BadPacket:
                self.answer.set_result(Answer(failed="other"))
        elif self._take is not None:
            self._take(record)
        else:
            self._kept.append(record)


async def converse(joined: Joined, opening: Opening) -> tuple[Conversation, Answer]:
    """Open a channel for something, and hear whether it may be.

    Raises:
        DialFailed: `prohibited` where the far end has no such subsystem, `down`, `timed_out`.
    """
    if not joined.is_sekimori:
        raise DialFailed("prohibited")
    talk = Conversation()
    # A channel that is asked for comes, whoever still wants it: then the conversation closes it.
    opened = asyncio.shield(joined.conn.create_task(_open(joined, talk)))
    try:
        async with asyncio.timeout(_ANSWER):
            await opened
            if talk.chan is None:
                raise DialFailed("down" if joined.conn.is_closed() else "prohibited")
            talk.chan.write(pack_record(opening.to_bytes()))
            return talk, await talk.answer
    except TimeoutError:
        talk.close()
        raise DialFailed("timed_out") from None
    except OSError:  # it was closed meanwhile
        raise DialFailed("down") from None
    except BaseException:
        talk.close()
        raise


async def _open(joined: Joined, talk: Conversation) -> None:
    """Open the channel; where it is not, the conversation stays without."""
    with suppress(ChannelOpenError, OSError, PacketDecodeError):
        await joined.conn.create_session(
            cast(Any, lambda: talk),
            command=None,  # or RemoteCommand of ssh_config would go before
            subsystem=SUBSYSTEM,
            encoding=None,
            request_pty=False,
        )


async def open_datagrams(
    joined: Joined, dial: Dial, on_end: Callable[[], None]
) -> tuple[socket.socket, DatagramPump]:
    """Reach a UDP port beyond a link.

    Raises:
        DialFailed: why not.
    """
    return await _carried(joined, DialUdp(dial.host, dial.port, dial.source, dial.id), on_end)


async def _carried(
    joined: Joined, opening: DialUdp | TakePeer, on_end: Callable[[], None]
) -> tuple[socket.socket, DatagramPump]:
    talk, answer = await converse(joined, opening)
    if answer.failed:
        talk.close()
        raise DialFailed(next((each for each in CAUSES if each == answer.failed), "other"))
    return _join(talk, joined.line, on_end)


def _join(talk: Conversation, line: Line, on_end: Callable[[], None]) -> tuple[socket.socket, DatagramPump]:
    assert talk.chan is not None
    try:
        ours, theirs = record_pair()
    except OSError:  # no descriptor is left
        talk.close()
        raise DialFailed("other") from None
    pump = DatagramPump(ours, talk.chan, line, on_end)
    talk.carry(pump)
    return theirs, pump


async def listen_udp(
    joined: Joined, wanted: ListenUdp, announced: Callable[[Announced], None]
) -> tuple[Conversation, Answer]:
    """Listen for datagrams at the far end, for as long as the channel is open; told who sent some.

    Raises:
        DialFailed: the far end cannot be asked.
    """
    talk, answer = await converse(joined, wanted)
    if answer.failed:
        talk.close()
        return talk, answer

    def heard(record: bytes) -> None:
        try:
            announced(read_announced_untrusted(record))
        except BadPacket:
            talk.close()

    talk.follow(heard)
    return talk, answer


async def take_peer(
    joined: Joined, peer: int, on_end: Callable[[], None]
) -> tuple[socket.socket, DatagramPump]:
    """Carry the datagrams of a peer that was announced.

    Raises:
        DialFailed: why not.
    """
    return await _carried(joined, TakePeer(peer), on_end)
