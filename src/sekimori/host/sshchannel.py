"""Channels of flows, opened and steered without the tasks, the log and the dispatch of asyncssh.

They are a third of what a short connection costs. `ask` sends SSH_MSG_CHANNEL_OPEN (RFC 4254 §5.1) and
the answer sets a future; `steer` finds what a packet that is no data does to such a channel.

It hangs on these names inside asyncssh 2.24: `process_open_confirmation`, `process_open_failure`, `_cleanup`,
`_packet_handlers`, `_recv_chan`, `_send_chan`, `_session` and the states of channels, `_channels` of
connections. `tests/host/test_sshchannel.py` holds them down.
"""

from __future__ import annotations

import logging
import struct
from asyncio import Future
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

from asyncssh import ChannelOpenError, ProtocolError, SSHTCPChannel, SSHTCPSession, SSHUNIXSession
from asyncssh.connection import SSHConnection
from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_WINDOW_ADJUST,
    OPEN_CONNECT_FAILED,
)
from asyncssh.logging import SSHLogger
from asyncssh.packet import SSHPacket, String, UInt32

__all__ = ["PACKET", "QUIET", "WINDOW", "Carried", "ask", "ask_unix", "steer"]

WINDOW: Final = 2 << 20
"""Bytes that a channel takes before its reader has read any, at first; as OpenSSH has it."""
PACKET: Final = 32768
"""Bytes of data in a packet: all that OpenSSH takes (CHAN_TCP_PACKET_DEFAULT in its channels.h)."""

_CONFIRMED: Final = struct.Struct("!III")  # after our number: theirs, their window, their largest packet
_PAYLOADS: Final = {
    MSG_CHANNEL_OPEN_CONFIRMATION: 17,
    MSG_CHANNEL_WINDOW_ADJUST: 9,
    MSG_CHANNEL_EOF: 5,
    MSG_CHANNEL_CLOSE: 5,
}
"""Bytes in each kind of packet that is taken here, the kind and the channel's number among them."""


class Carried(SSHTCPSession[bytes], SSHUNIXSession[bytes]):
    """A session that is carried over a line: it takes all that was read at once."""

    def connection_made(self, chan: Any) -> None:
        """The channel is open."""
        raise NotImplementedError

    def parts_received(self, parts: list[memoryview], count: int) -> None:
        """Bytes of its channel, `count` in all, in the packets in which they came."""
        raise NotImplementedError

    def hold(self) -> None:
        """The connection takes nothing more now."""
        raise NotImplementedError

    def resume_line(self) -> None:
        """The connection takes something again."""
        raise NotImplementedError


def ask(
    conn: SSHConnection, session: Carried, kind: bytes, place: tuple[str, int], source: tuple[str, int]
) -> Future[ChannelOpenError | None]:
    """Ask for a channel for a session: `direct-tcpip` or `forwarded-tcpip` (RFC 4254 §7.2).

    Returns:
        None once the session has it, or why there is none. If it comes when the future has been given up,
        the session gets it all the same, and closes it.

    Raises:
        ChannelOpenError: the connection has ended.
    """
    host, port = place
    return _ask(conn, session, kind, String(host), UInt32(port), String(source[0]), UInt32(source[1]))


def ask_unix(conn: SSHConnection, session: Carried, path: str) -> Future[ChannelOpenError | None]:
    """Ask for a channel to a unix socket (OpenSSH's PROTOCOL, 2.4); else as `ask`."""
    return _ask(conn, session, b"direct-streamlocal@openssh.com", String(path), String(""), UInt32(0))


def _ask(
    conn: SSHConnection, session: Carried, kind: bytes, *facts: bytes
) -> Future[ChannelOpenError | None]:
    opened: Future[ChannelOpenError | None] = conn._loop.create_future()
    _FlowChannel(conn, session, opened).ask(kind, facts)
    return opened


class _Quiet(SSHLogger):
    """Keeps no account of flows: asyncssh formats its lines before it knows whether anybody reads them."""

    def info(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """Nothing."""

    def debug1(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """Nothing."""

    def debug2(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """Nothing."""


QUIET: Final = _Quiet(logging.getLogger("asyncssh"))
"""The logger of channels of flows."""


class _FlowChannel(SSHTCPChannel[bytes]):
    """A channel that we open. Its answer is dealt with as it comes."""

    def __init__(
        self, conn: SSHConnection, session: Carried, opened: Future[ChannelOpenError | None]
    ) -> None:
        super().__init__(conn, conn._loop, None, "strict", WINDOW, PACKET)
        self._carried = session
        self._opened = opened
        self.is_asked = False

    @property
    def logger(self) -> SSHLogger:
        """It keeps none."""
        return QUIET

    def ask(self, kind: bytes, facts: tuple[bytes, ...]) -> None:
        """Send the request."""
        self.is_asked = True
        assert self._conn is not None
        assert self._recv_chan is not None
        numbers = UInt32(self._recv_chan), UInt32(WINDOW), UInt32(PACKET)
        self._conn.send_packet(MSG_CHANNEL_OPEN, String(kind), *numbers, *facts, handler=self)

    def process_open_confirmation(
        self, send_chan: int, send_window: int, send_pktsize: int, packet: SSHPacket
    ) -> None:
        """It is open (`SSHChannel.process_open_confirmation` and `_open_forward`)."""
        packet.check_end()
        self.confirmed(send_chan, send_window, send_pktsize)

    def confirmed(self, send_chan: int, send_window: int, send_pktsize: int) -> None:
        """It is open, to be written to by these numbers."""
        if not self.is_asked:
            raise ProtocolError("Channel not being opened")
        self._send_chan = send_chan
        self._send_window = send_window
        self._send_pktsize = send_pktsize
        self._send_state = self._recv_state = "open"
        self._recv_paused = False
        self._session = self._carried
        self._answered(None)
        self._carried.connection_made(self)
        self._carried.session_started()

    def process_open_failure(self, code: int, reason: str, lang: str) -> None:
        """It was refused."""
        if not self.is_asked:
            raise ProtocolError("Channel not being opened")
        self._answered(ChannelOpenError(code, reason, lang))
        self._loop.call_soon(self._cleanup)

    def _cleanup(self, exc: Exception | None = None) -> None:
        if self.is_asked:
            self._answered(ChannelOpenError(OPEN_CONNECT_FAILED, "SSH connection closed"))
        super()._cleanup(exc)

    def _answered(self, failure: ChannelOpenError | None) -> None:
        self.is_asked = False
        if not self._opened.done():  # not given up meanwhile
            self._opened.set_result(failure)


def steer(conn: SSHConnection, plain: bytes) -> Callable[[], None] | None:
    """What a packet does to the channel of a flow; None leaves it to asyncssh, with nothing changed.

    Args:
        conn: where it came in.
        plain: the padding's length, the payload and the padding (RFC 4253 §6).
    """
    kind = plain[1]
    if len(plain) - 1 - plain[0] != _PAYLOADS.get(kind):  # what is wrong in it, asyncssh says
        return None
    chan = cast(Any, conn._channels.get(int.from_bytes(plain[2:6], "big")))
    if kind == MSG_CHANNEL_OPEN_CONFIRMATION:
        numbers = _CONFIRMED.unpack_from(plain, 6)
        if not isinstance(chan, _FlowChannel) or not chan.is_asked or not numbers[2]:
            return None
        return partial(chan.confirmed, *numbers)
    if chan is None or not isinstance(chan._session, Carried):
        return None
    if chan._recv_state != "open" and (
        kind == MSG_CHANNEL_EOF or chan._recv_state not in ("eof_pending", "eof")
    ):
        return None
    packet = SSHPacket(plain[6 : 1 + _PAYLOADS[kind]])
    return partial(chan._packet_handlers[kind], chan, kind, 0, packet)
