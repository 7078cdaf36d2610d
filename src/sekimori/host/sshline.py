"""The wire of an SSH connection that was authenticated, taken over from asyncssh for the sake of bulk data.

asyncssh makes some ten copies of every byte, a cipher for every packet and a packet of SSH_MSG_IGNORE before
each: a guard of CBC (RFC 4253 §9.3.1), which nothing else needs. Here packets of channel data are sealed and
opened straight between the transport and a channel, and all others of channels are sealed, when the cipher is
AES-GCM (RFC 5647, with OpenSSH's negotiation). All else, key exchanges among it, is asyncssh's as before: its
state (sequence numbers, nonces, windows) is kept, and it gets those packets as they came.

It hangs on these names inside asyncssh 2.24: `send_packet`, `_recv_handler`, `_inpbuf`, `_packet`,
`_recv_encryption`, `_send_encryption`, `_recv_seq`, `_send_seq`, `_channels` of connections, `_recv_window`,
`_send_window` and the states of channels, and on those of `host.sshcipher`. `tests/host/test_sshline.py`
holds them down.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from asyncssh import SSHTCPChannel
from asyncssh.channel import SSHChannel
from asyncssh.connection import SSHConnection
from asyncssh.constants import (
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_WINDOW_ADJUST,
    MSG_IGNORE,
)
from asyncssh.encryption import GCMEncryption
from asyncssh.packet import UInt32
from cryptography.exceptions import InvalidTag

from sekimori.host.readers import readers_of
from sekimori.host.sshchannel import PACKET, Carried, steer
from sekimori.host.sshcipher import Cipher

__all__ = ["Carried", "Line"]

_SCRATCH: Final = 1 << 19
_HIGH: Final = 1 << 20
_LOW: Final = 1 << 18
_AT_ONCE: Final = 1 << 14
"""Bytes that do not wait for more to go with them in one system call."""
_TAG: Final = 16
_NOISE: Final = 4096
"""Random bytes had at once for the padding of packets, of which one takes at most 255."""
_MOST_PARTS: Final = 256
"""Of one delivery; sendmsg(2) takes 1,024 (IOV_MAX)."""
_HEAD: Final = struct.Struct("!BBII")  # padding length, kind, channel, length of the data
_DATA: Final = struct.Struct("!BII")  # the same without the padding
_LARGEST: Final = 0xFFFFFFFF


class Line(asyncio.BufferedProtocol):
    """The transport's protocol in the place of the connection's own.

    Attributes:
        is_full: whether so much waits to be sent that nobody should add to it.
        rtt: seconds of a round trip, as last measured by who watches the connection.
        heard: `time.monotonic()` of when anything was last received.
        readers: where flows have their sockets watched.

    Raises:
        ConnectionError: it has ended already.
    """

    def __init__(self, conn: SSHConnection) -> None:
        self.is_full = False
        self.rtt: float | None = None
        self.heard = time.monotonic()
        self._conn = conn
        self._carried: set[Carried] = set()
        self._rest = b""
        self._parts: list[memoryview] = []  # what was opened and not yet delivered, all of one channel
        self._count = 0
        self._taker: Carried | None = None
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        self._loop = asyncio.get_running_loop()
        self.readers = readers_of(self._loop)
        self._sealer = Cipher()
        self._opener = Cipher()
        self._noise = b""  # random bytes, of which `_noise_used` have gone into packets
        self._noise_used = 0
        transport = conn._transport
        if transport is None:
            raise ConnectionError("the connection has ended")
        self._send_as_before: Callable[..., None] = conn.send_packet
        cast(Any, conn).send_packet = self._send_packet
        if isinstance(transport, SSHTCPChannel):
            # Through a jump host: that connection's channel stays as it is, only its fullness is heard of.
            attributes = cast(Any, conn)
            attributes.pause_writing = self.pause_writing
            attributes.resume_writing = self.resume_writing
            attributes.data_received = _heard(self, conn.data_received)
            transport.set_write_buffer_limits(_HIGH, _LOW)
        else:
            # Reading begins anew, because a loop may have chosen how to read by the protocol it had.
            transport.pause_reading()
            transport.set_protocol(self)
            transport.resume_reading()
            transport.set_write_buffer_limits(_HIGH, _LOW)

    @property
    def is_lost(self) -> bool:
        """Whether the connection has ended."""
        return self._conn._transport is None

    @property
    def waiting(self) -> int:
        """Bytes that wait to be sent."""
        transport = self._conn._transport
        return 0 if transport is None else transport.get_write_buffer_size() + self._unsent_size

    def add(self, carried: Carried) -> None:
        """Tell a flow of fullness."""
        self._carried.add(carried)

    def remove(self, carried: Carried) -> None:
        """Tell it no longer."""
        self._carried.discard(carried)

    def write(self, chan: SSHChannel[bytes], view: memoryview) -> None:
        """Send data on a channel as far as its window goes; the channel keeps a copy of the rest."""
        if self._may_seal(chan):
            view = view[self._seal_some(chan, view) :]
        for start in range(0, len(view), PACKET):
            chan.write(cast(bytes, view[start : start + PACKET]))

    # asyncio.BufferedProtocol

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read into: one place for all lines, because it is used up before anything else runs."""
        kept = len(self._rest)
        _scratch[:kept] = self._rest
        return _scratch[kept:]

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come in."""
        self.heard = time.monotonic()
        data = _scratch[: len(self._rest) + nbytes]
        self._rest = b""
        conn = self._conn
        if self._may_open():
            taken_back = self._reclaim()
            if taken_back:
                data = memoryview(taken_back + bytes(data))
            self._open_all(data)
        else:
            conn.data_received(bytes(data))

    def eof_received(self) -> None:
        """The other end sends no more."""
        self._conn.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed."""
        self._conn.connection_lost(exc)

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        self.is_full = True
        for each in list(self._carried):
            each.hold()

    def resume_writing(self) -> None:
        """Most of it has gone."""
        self.is_full = False
        for each in list(self._carried):
            each.resume_line()

    # Inside: receiving

    def _may_open(self) -> bool:
        conn = self._conn
        return (
            isinstance(conn._recv_encryption, GCMEncryption)
            and conn._auth_complete
            and conn._decompressor is None
            and conn._recv_handler in (conn._recv_pkthdr, conn._recv_packet)
        )

    def _reclaim(self) -> bytes:
        """Take a packet that asyncssh has begun to read back from it."""
        conn = self._conn
        begun = conn._packet if conn._recv_handler == conn._recv_packet else b""
        data = begun + conn._inpbuf
        if data:
            conn._packet = b""
            conn._inpbuf = b""
            conn._recv_handler = conn._recv_pkthdr
        return data

    def _open_all(self, data: memoryview) -> None:
        conn = self._conn
        place, end = 0, len(data)
        while end - place >= 4:
            length = int.from_bytes(data[place : place + 4], "big")
            start, after = place + 4, place + 4 + length + _TAG
            if length > conn._max_recv_pktlen:  # asyncssh ends the connection for it
                after = end
            elif after > end:
                break
            elif self._open(data[place:start], data[start:after]):
                place = after
                continue
            self._deliver()
            conn.data_received(bytes(data[place:after]))
            if conn._transport is None:
                return
            if not self._may_open() or conn._inpbuf:
                conn.data_received(bytes(data[after:]))
                return
            place = after
        self._rest = bytes(data[place:])
        self._deliver()

    def _deliver(self) -> None:
        """Hand over what was opened: in one piece, because each costs a system call and wakes a worker."""
        if self._taker is not None:
            taker, self._taker = self._taker, None
            parts, self._parts = self._parts, []
            count, self._count = self._count, 0
            taker.parts_received(parts, count)

    def _take(self, chan: SSHChannel[Any], data: memoryview) -> None:
        """What SSHChannel._accept_data and _deliver_data do, without a copy."""
        taker = cast(Carried, chan._session)
        if self._taker is not taker or len(self._parts) >= _MOST_PARTS:
            self._deliver()
        chan._recv_window -= len(data)
        if chan._recv_paused:
            chan._recv_buf.append((bytes(data), None))
            return
        if chan._recv_window < chan._init_recv_window / 2:
            adjust = chan._init_recv_window - chan._recv_window
            chan.send_packet(MSG_CHANNEL_WINDOW_ADJUST, UInt32(adjust))
            chan._recv_window = chan._init_recv_window
        self._taker = taker
        self._parts.append(data)
        self._count += len(data)

    def _open(self, head: memoryview, sealed: memoryview) -> bool:
        """Take a packet to its channel; False leaves it to asyncssh, with nothing changed."""
        conn = self._conn
        opener = self._opener.of(conn._recv_encryption)
        try:
            plain = opener.aes.decrypt(opener.nonce, sealed, head)
        except InvalidTag:  # asyncssh finds that too, and ends the connection for it
            return False
        kind = plain[1]
        act: Callable[[], None] | None = None
        if kind == MSG_CHANNEL_DATA:
            _padding, _kind, number, length = _HEAD.unpack_from(plain)
            chan = conn._channels.get(number)
            if chan is None or plain[0] + _HEAD.size + length != len(plain) or not _may_take(chan, length):
                return False
        elif kind != MSG_IGNORE:
            act = steer(conn, plain)
            if act is None:
                return False
            self._deliver()  # what came before an end goes before it
        # Before the data is looked at: who gets it may write, and so exchange keys.
        opener.advance()
        conn._recv_seq = (conn._recv_seq + 1) & _LARGEST
        if kind == MSG_CHANNEL_DATA and length:
            self._take(cast(Any, chan), memoryview(plain)[_HEAD.size : _HEAD.size + length])
        elif act is not None:
            act()
        return True

    # Inside: sending

    def _send_packet(self, kind: int, *args: bytes, **more: Any) -> None:
        """What SSHConnection.send_packet does, for packets of channels in fewer steps."""
        if kind == MSG_IGNORE and isinstance(self._conn._send_encryption, GCMEncryption):
            return
        if kind >= MSG_CHANNEL_OPEN and self._seals and not self._is_rekey_due:
            self._put(self._seal(bytes((kind,)) + b"".join(args)))
        else:
            self._flush()
            self._send_as_before(kind, *args, **more)

    @property
    def _seals(self) -> bool:
        conn = self._conn
        return (
            isinstance(conn._send_encryption, GCMEncryption)
            and conn._kex_complete
            and conn._auth_complete
            and conn._compressor is None
            and conn._transport is not None
        )

    @property
    def _is_rekey_due(self) -> bool:
        conn = self._conn
        return conn._rekey_bytes_sent >= conn._rekey_bytes or bool(
            conn._rekey_seconds and time.monotonic() >= conn._rekey_time
        )

    def _may_seal(self, chan: SSHChannel[bytes]) -> bool:
        return self._seals and not chan._send_buf and chan._send_state == "open" and not self._is_rekey_due

    def _seal_some(self, chan: SSHChannel[bytes], data: memoryview) -> int:
        """Send what the window allows. How many bytes that was."""
        conn = self._conn
        assert chan._send_chan is not None
        parts: list[bytes] = []
        place, end = 0, len(data)
        while place < end and chan._send_window and conn._rekey_bytes_sent < conn._rekey_bytes:
            count = min(end - place, chan._send_window, chan._send_pktsize)
            head = _DATA.pack(MSG_CHANNEL_DATA, chan._send_chan, count)
            parts += self._seal(head, data[place : place + count])
            chan._send_window -= count
            place += count
        self._put(parts)
        return place

    def _seal(self, head: bytes, data: bytes | memoryview = b"") -> tuple[bytes, bytes]:
        """A packet of what both of them say (RFC 4253 §6): its length, and the rest."""
        conn = self._conn
        sealer = self._sealer.of(conn._send_encryption)
        padding = -(conn._send_enchdrlen + len(head) + len(data)) % conn._send_blocksize
        if padding < 4:
            padding += conn._send_blocksize
        used = self._noise_used
        if used + padding > len(self._noise):  # a system call for some 200 packets
            self._noise, used = os.urandom(_NOISE), 0
        self._noise_used = used + padding
        packet = b"".join((bytes((padding,)), head, data, self._noise[used : used + padding]))
        length = len(packet).to_bytes(4, "big")
        sealed = sealer.aes.encrypt(sealer.nonce, packet, length)
        sealer.advance()
        conn._send_seq = (conn._send_seq + 1) & _LARGEST
        conn._rekey_bytes_sent += len(packet)
        return length, sealed

    def _put(self, parts: Sequence[bytes]) -> None:
        """Send packets: many at once, else with all others of this turn of the loop."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent += parts
        self._unsent_size += sum(map(len, parts))
        if self._unsent_size >= _AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        parts, self._unsent = self._unsent, []
        size, self._unsent_size = self._unsent_size, 0
        if parts and self._conn._transport is not None:
            self._conn._transport.writelines(parts if size >= _AT_ONCE else (b"".join(parts),))


_scratch: Final = memoryview(bytearray(_SCRATCH))


def _heard(line: Line, receive: Callable[..., None]) -> Callable[..., None]:
    def data_received(data: bytes, datatype: int | None = None) -> None:
        line.heard = time.monotonic()
        receive(data, datatype)

    return data_received


def _may_take(chan: SSHChannel[Any], length: int) -> bool:
    return (
        isinstance(cast(Any, chan._session), Carried)
        and chan._recv_state == "open"
        and chan._recv_paused != "starting"
        and chan._send_state not in ("close_pending", "closed")
        and length <= chan._recv_window
    )
