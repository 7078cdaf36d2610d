"""Dials: opens a channel to a place beyond a link, and joins it to a worker's end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from asyncssh import ChannelOpenError, SSHClientConnection
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_CONNECT_FAILED

from sekimori.host.carrier import Cause, Dial, DialFailed
from sekimori.host.sshchannel import ask, ask_unix
from sekimori.host.sshpump import Pump, stream_pair
from sekimori.planes.link.strand import Strand

__all__ = ["cause_of", "open_stream"]

_WORDS: Final[tuple[tuple[str, Cause], ...]] = (
    # What sshd says of connect(2) and getaddrinfo(3) in the words of its C library.
    ("refused", "refused"),
    ("timed out", "timed_out"),
    ("name or service", "unreachable"),
    ("not known", "unreachable"),
    ("unknown host", "unreachable"),
    ("name resolution", "unreachable"),
    ("no address", "unreachable"),
    ("no route", "unreachable"),
    ("unreachable", "unreachable"),
    ("connection closed", "down"),
    ("connection lost", "down"),
)


def cause_of(error: ChannelOpenError) -> Cause:
    """Why the far end did not open a channel (RFC 4254 §5.1: the words beside the code say more)."""
    if error.code == OPEN_ADMINISTRATIVELY_PROHIBITED:
        return "prohibited"
    if error.code != OPEN_CONNECT_FAILED:
        return "other"
    text = error.reason.lower()
    return next((cause for words, cause in _WORDS if words in text), "refused")


async def open_stream(
    strand: Strand, dial: Dial, on_end: Callable[[bool], None]
) -> tuple[socket.socket, Pump]:
    """Reach a TCP port or a unix socket beyond a link.

    Args:
        strand: the connection that is to carry it.
        dial: what is wanted.
        on_end: called once when the flow is over; with True when the far side broke it off.

    Returns:
        The worker's end, and what carries it.

    Raises:
        DialFailed: why not.
    """
    try:
        conn, line = strand.live
    except ConnectionError:
        raise DialFailed("down") from None
    try:
        ours, theirs = stream_pair()
    except OSError:  # no descriptor is left
        raise DialFailed("other") from None

    def over(broken: bool) -> None:
        strand.pumps.discard(pump)
        on_end(broken)

    pump = Pump(ours, line, over)
    strand.pumps.add(pump)
    try:
        failure = await _ask(conn, pump, dial)
        if failure is not None:
            raise DialFailed(cause_of(failure))
    except BaseException:
        theirs.close()
        pump.abort()  # a channel that comes all the same is closed by the pump
        raise
    return theirs, pump


async def _ask(conn: SSHClientConnection, pump: Pump, dial: Dial) -> ChannelOpenError | None:
    try:
        if dial.protocol == "unix":
            return await ask_unix(conn, pump, dial.host)
        source = dial.source or ("127.0.0.1", 0)
        return await ask(conn, pump, b"direct-tcpip", (dial.host, dial.port), source)
    except ChannelOpenError as error:  # the connection ended meanwhile
        return error
