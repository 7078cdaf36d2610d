"""Which session holds which port, and the way of newcomers to it."""

from __future__ import annotations

import asyncio
import socket
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from asyncssh import ChannelOpenError
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_CONNECT_FAILED

from sekimori.doors.ssh.words import line
from sekimori.host.carrier import Carriage, Cause, Dial, DialFailed, Dialled
from sekimori.host.sshchannel import ask
from sekimori.host.sshpump import Pump, stream_pair

if TYPE_CHECKING:
    from sekimori.doors.ssh.session import Opened, Session

__all__ = ["Delivery"]

_OPENING: Final = 15.0
"""Seconds for a client to take a newcomer, or not."""
_CAUSES: Final[dict[int, Cause]] = {
    OPEN_ADMINISTRATIVELY_PROHIBITED: "prohibited",
    OPEN_CONNECT_FAILED: "refused",
}

Holder = tuple["Session", "Opened"]


class Delivery:
    """Takes what workers of the relay dial to the sessions that hold the ports. An asynchronous context."""

    def __init__(self) -> None:
        self._carriage = Carriage(self._serve)
        self._holders: dict[str, Holder] = {}

    async def __aenter__(self) -> Self:
        await self._carriage.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._carriage.__aexit__(kind, error, traceback)

    def add_worker(self, index: int, sock: socket.socket) -> None:
        """Serve a worker of the relay."""
        self._carriage.add_worker(index, sock)

    def hold(self, session: Session, opened: Opened) -> None:
        """A session has a port from now on. Whoever had it loses it, and is told."""
        before = self._holders.get(opened.id)
        self._holders[opened.id] = session, opened
        if before is not None:
            other, lost = before
            other.drop(lost, line("lost", place=lost.place, source=str(session.address)))

    def holder(self, mapping_id: str) -> Holder | None:
        """Who has a port now."""
        return self._holders.get(mapping_id)

    def release(self, mapping_id: str) -> Holder | None:
        """Nobody has a port any more; who had."""
        return self._holders.pop(mapping_id, None)

    def leave(self, session: Session) -> None:
        """A session has ended."""
        for key in [key for key, (other, _) in self._holders.items() if other is session]:
            del self._holders[key]

    async def _serve(self, dial: Dial) -> Dialled:
        """Take somebody to the session that holds a mapping.

        Raises:
            DialFailed: nobody holds it, or its client does not take them.
        """
        holder = self._holders.get(dial.id)
        if holder is None or dial.protocol != holder[1].protocol:
            raise DialFailed("down" if holder is None else "prohibited")
        session, opened = holder
        if opened.desk is not None:
            return session.peers.come(dial, opened.desk)
        ours, theirs = stream_pair()
        visit = _Visit(self._carriage, dial, session, opened)
        pump = Pump(ours, session.wire, visit.ended)
        visit.pump = pump
        try:
            async with asyncio.timeout(_OPENING):
                failure = await _ask(session, opened, dial, pump)
            if failure is not None:
                raise DialFailed("down" if session.wire.is_lost else _CAUSES.get(failure.code, "other"))
        except BaseException as error:
            theirs.close()
            pump.abort()  # a channel that comes all the same is closed by the pump
            if isinstance(error, TimeoutError):
                raise DialFailed("timed_out") from None
            raise
        visit.began()
        return Dialled(theirs, on_aborted=None if pump.is_over else pump.abort)


class _Visit:
    """Somebody who came to a port: shown to its user."""

    def __init__(self, carriage: Carriage, dial: Dial, session: Session, opened: Opened) -> None:
        self.pump: Pump | None = None
        self._carriage = carriage
        self._dial = dial
        self._session = session
        self._place = opened.place
        self._since: float | None = None

    @property
    def source(self) -> str:
        """Where they came from."""
        source = self._dial.source
        if source is None:
            return "?"
        return f"[{source[0]}]:{source[1]}" if ":" in source[0] else f"{source[0]}:{source[1]}"

    def began(self) -> None:
        """They are connected."""
        self._since = time.monotonic()
        self._tell("came")

    def ended(self, broken: bool) -> None:
        """It is over."""
        if broken:
            self._carriage.abort(self._dial)
        else:
            self._carriage.over(self._dial)
        if self._since is not None and self.pump is not None:
            seconds = f"{time.monotonic() - self._since:.1f}"
            self._tell("went", seconds=seconds, count=self.pump.bytes_in + self.pump.bytes_out)

    def _tell(self, what: str, **facts: object) -> None:
        # Only made where it is shown: there may be thousands in a second.
        self._session.visited(lambda: line(what, place=self._place, source=self.source, **facts))


async def _ask(session: Session, opened: Opened, dial: Dial, pump: Pump) -> ChannelOpenError | None:
    """Have a channel opened as the client asked for it (RFC 4254 §7.2); why it is not."""
    try:
        place = opened.host, opened.port
        return await ask(session.conn, pump, b"forwarded-tcpip", place, dial.source or ("", 0))
    except ChannelOpenError as error:  # the connection ended meanwhile
        return error
