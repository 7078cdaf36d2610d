"""Ports that the far end of a link listens on, asked for again whenever the connection is new.

A server that lost a connection of ours without noticing still has its port, for hours where it sends no
pings. So a port that is refused is knocked at: the old session then sends to us over a connection that is no
more, our kernel answers with a reset, the session ends, and the port is free. Once is enough, as its kernel
sends again by itself; and more would be too much, as OpenSSH (9.2, measured) puts off looking whether its
client is alive (`ClientAliveInterval`) whenever anything else happens in that session.
"""

from __future__ import annotations

import asyncio
import ipaddress
from asyncio import Event, Lock, Task, TaskGroup
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast

from asyncssh import ChannelListenError, ChannelOpenError, SSHClientConnection, SSHTCPSession, SSHUNIXSession
from asyncssh.channel import SSHChannel
from asyncssh.constants import OPEN_CONNECT_FAILED, OPEN_RESOURCE_SHORTAGE
from asyncssh.packet import PacketDecodeError

from sekimori.host.carrier import Arrival, Carriage, DialFailed, Endpoint
from sekimori.host.sshpump import PACKET, WINDOW, Pump, stream_pair
from sekimori.model.errors import Problem
from sekimori.planes.link.datagrams import Conversation, listen_udp, take_peer
from sekimori.planes.link.joining import Joined
from sekimori.planes.link.opening import cause_of
from sekimori.planes.link.strand import Strand
from sekimori.wire.linkframes import Announced, ListenUdp

__all__ = ["Listens", "Wanted"]

_WAITS: Final = (0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 3.0, 3.0)
"""Seconds between the first requests: 15 in all, in which a lost session is noticed where it can be."""
_SLOW: Final = 30.0
_KNOCK: Final = 3.0
_MOST_TAKING: Final = 256
"""Peers that are being taken at a time; what others send is lost, or the far end could fill our memory."""
_ALL: Final = ("", "*", "0.0.0.0", "::", "localhost")

Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A port that the far end is to listen on; the members of the frame `listen`."""

    id: str
    port_key: str
    protocol: str
    host: str
    port: int
    worker: int

    @property
    def text(self) -> str:
        """For people."""
        return self.host if self.protocol == "unix" else f"{self.protocol}/{self.port}"


class Listens:
    """All of one link.

    Args:
        name: the link's.
        strand: the connection that they are asked for on.
        carriage: where arrivals go.
        tasks: the parent of all that this starts.
        tell: sends a frame to the daemon.
    """

    def __init__(self, name: str, strand: Strand, carriage: Carriage, tasks: TaskGroup, tell: Tell) -> None:
        self._name = name
        self._strand = strand
        self._carriage = carriage
        self._tasks = tasks
        self._tell = tell
        self._running: dict[tuple[str, str], Task[None]] = {}
        # Kept while one is asked for again and again, as the engine does.
        self._knocked: dict[tuple[str, str], _Knocked] = {}
        self._taking: set[Task[None]] = set()
        # In the order they were made: a port that is given up is free before it is asked for again.
        self._order = Lock()
        self._is_over = False

    def want(self, wanted: Wanted) -> None:
        """Have the far end listen. One of the same id and key gives way to it."""
        key = (wanted.id, wanted.port_key)
        former = self._running.pop(key, None)
        if former is not None:
            former.cancel()
        knocked = self._knocked.setdefault(key, _Knocked())
        self._running[key] = self._tasks.create_task(self._keep(wanted, former, knocked))

    def drop(self, mapping_id: str) -> None:
        """Have it listen for a mapping no more."""
        for key in [key for key in self._running if key[0] == mapping_id]:
            self._running.pop(key).cancel()
            del self._knocked[key]

    def close(self) -> None:
        """Let go of all; the connection ends.

        The far end is asked for nothing: whose ports outlive a connection there keeps them for the next one.
        """
        self._is_over = True
        while self._running:
            self._running.popitem()[1].cancel()

    async def _keep(self, wanted: Wanted, former: Task[None] | None, knocked: _Knocked) -> None:
        if former is not None:
            await asyncio.wait([former])
        given = wanted.port
        failures = 0
        while True:
            await self._strand.up.wait()
            joined = self._strand.joined
            if joined is None:
                continue
            ask = _Ask(joined, wanted, given, self)
            try:
                given = await self._open(ask, knocked)
            except Problem as problem:
                if joined.conn.is_closed():  # it says nothing of the port
                    await self._strand.lost(joined)
                    continue
                self._say(wanted, "unable", {"code": problem.code, "facts": problem.facts})
                wait = _WAITS[failures] if failures < len(_WAITS) else _SLOW
                failures += 1
                await _either(joined.conn, wait)
                continue
            failures = 0
            self._say(wanted, "listening", {"port": given})
            try:
                await ask.ended()
            finally:
                await self._give_up(ask)
            if joined.conn.is_closed():
                await self._strand.lost(joined)
            else:  # the far end ended it (UDP), and may do so again and again
                await _either(joined.conn, _WAITS[0])

    async def _open(self, ask: _Ask, knocked: _Knocked) -> int:
        asking = self._tasks.create_task(self._ask(ask))
        try:
            answer = await asyncio.shield(asking)
        except asyncio.CancelledError:
            ask.given_up.set()
            if asking.done() and isinstance(asking.result(), int):
                self._tasks.create_task(self._give_up(ask))
            raise
        if isinstance(answer, int):
            return answer
        if isinstance(answer, DialFailed):
            code = "link-no-udp" if answer.cause == "prohibited" else "link-no-listen"
            raise Problem(code, link=self._name, port=ask.wanted.text)
        if knocked.by is not ask.joined:
            knocked.by, knocked.taken = ask.joined, await _knock(ask.joined.conn, ask)
        taken = knocked.taken
        if ask.wanted.protocol == "unix" and not taken:
            raise Problem("link-path-refused", link=self._name, path=ask.wanted.host)
        raise Problem("link-port-taken" if taken else "link-no-listen", link=self._name, port=ask.wanted.text)

    async def _ask(self, ask: _Ask) -> int | Exception:
        async with self._order:
            if ask.given_up.is_set():
                return DialFailed("down")
            answer = await _answer_to(ask)
            if ask.given_up.is_set() and isinstance(answer, int):
                # Before anybody else asks for the port; and the far end must not listen for nobody.
                await self._take_back(ask)
            return answer

    async def _give_up(self, ask: _Ask) -> None:
        async with self._order:
            await self._take_back(ask)

    async def _take_back(self, ask: _Ask) -> None:
        if not self._is_over and not ask.joined.conn.is_closed():
            with suppress(TimeoutError):  # a peer that answers no more is found out by its pings
                async with asyncio.timeout(_KNOCK):
                    await ask.close()

    def _say(self, wanted: Wanted, op: str, more: dict[str, Any]) -> None:
        self._tell({"op": op, "id": wanted.id, "port_key": wanted.port_key, **more})

    # What comes in

    def arrived_stream(self, wanted: Wanted, joined: Joined, source: Endpoint, at: Endpoint) -> Pump:
        """Take a connection that came in at the far end.

        Raises:
            ChannelOpenError: it cannot be handed over.
        """
        try:
            ours, theirs = stream_pair()
        except OSError as error:
            raise ChannelOpenError(OPEN_RESOURCE_SHORTAGE, error.strerror or "") from None

        def over(broken: bool) -> None:
            self._strand.pumps.discard(pump)
            if arrival is not None:
                (arrival.abort if broken else arrival.over)()

        arrival: Arrival | None = None
        pump = Pump(ours, joined.line, over)
        self._strand.pumps.add(pump)
        protocol = "unix" if wanted.protocol == "unix" else "tcp"
        try:
            arrival = self._carriage.arrive(
                wanted.worker, wanted.id, protocol, source, at, theirs, pump.abort
            )
        except DialFailed as failure:
            pump.abort()
            raise ChannelOpenError(OPEN_CONNECT_FAILED, failure.cause) from None
        return pump

    def announced(self, wanted: Wanted, joined: Joined, port: int, peer: Announced) -> None:
        """Take a peer whose datagrams came in at the far end."""
        source = _clean(peer.source)
        if source is not None and len(self._taking) < _MOST_TAKING:
            taking = self._tasks.create_task(self._take_peer(wanted, joined, port, peer.peer, source))
            self._taking.add(taking)
            taking.add_done_callback(self._taking.discard)

    async def _take_peer(
        self, wanted: Wanted, joined: Joined, port: int, peer: int, source: Endpoint
    ) -> None:
        arrival: Arrival | None = None

        def over() -> None:
            if arrival is not None:
                arrival.over()

        try:
            sock, pump = await take_peer(joined, peer, over)
            at = (_address_of(wanted.host, source), port)
            arrival = self._carriage.arrive(wanted.worker, wanted.id, "udp", source, at, sock, pump.close)
        except DialFailed:
            return  # it has gone, or nobody takes it: as a datagram that is lost


@dataclass(slots=True)
class _Knocked:
    """By which connection a port was knocked at last, and whether something had it."""

    by: Joined | None = None
    taken: bool = False


class _Ask:
    """One port on one connection.

    Attributes:
        given_up: nobody wants it any more, though it may yet be granted.
    """

    def __init__(self, joined: Joined, wanted: Wanted, port: int, listens: Listens) -> None:
        self.joined = joined
        self.wanted = wanted
        self.port = port
        self.given_up = Event()
        self._listens = listens
        self._talk: Conversation | None = None

    async def open(self) -> int:
        """Ask; the port that was given.

        Raises:
            ChannelListenError, DialFailed, OSError: no.
        """
        conn, wanted = self.joined.conn, self.wanted
        if wanted.protocol == "udp":
            asked = ListenUdp(wanted.host, self.port, wanted.id)
            self._talk, answer = await listen_udp(
                self.joined,
                asked,
                lambda peer: self._listens.announced(wanted, self.joined, self.port, peer),
            )
            if answer.failed:
                raise ChannelListenError(answer.failed)
            self.port = answer.port or self.port
        elif wanted.protocol == "unix":
            await conn.create_unix_server(
                cast(Any, self._unix), wanted.host, window=WINDOW, max_pktsize=PACKET
            )
        else:
            listener = await conn.create_server(
                cast(Any, self._tcp), wanted.host, self.port, window=WINDOW, max_pktsize=PACKET
            )
            self.port = listener.get_port() or self.port
        return self.port

    async def ended(self) -> None:
        """Wait until it is no more listened there."""
        if self._talk is not None:
            await self._talk.ended()
        else:
            await self.joined.conn.wait_closed()

    async def close(self) -> None:
        """Have the far end listen no more."""
        conn, wanted = self.joined.conn, self.wanted
        if self._talk is not None:
            self._talk.close()
        elif wanted.protocol == "unix":
            await conn.close_client_unix_listener(wanted.host)
        else:
            await conn.close_client_tcp_listener(wanted.host, self.port)

    # Coroutines, so that a channel which is not taken is cleaned up by asyncssh as one that failed to open.

    async def _tcp(self, host: str, port: int) -> SSHTCPSession[bytes]:
        source = _clean((host, port))
        if source is None:
            raise ChannelOpenError(OPEN_CONNECT_FAILED, "not an address")
        at = (_address_of(self.wanted.host, source), self.port)
        return self._listens.arrived_stream(self.wanted, self.joined, source, at)

    async def _unix(self) -> SSHUNIXSession[bytes]:
        at = (self.wanted.host, 0)
        return self._listens.arrived_stream(self.wanted, self.joined, ("unix", 0), at)


async def _answer_to(ask: _Ask) -> int | Exception:
    """The port that the far end listens on, or what it is refused by; mostly nothing says why."""
    try:
        return await ask.open()
    except (ChannelListenError, DialFailed, OSError, PacketDecodeError) as error:
        return error


async def _knock(conn: SSHClientConnection, ask: _Ask) -> bool:
    """Whether something has a port at the far end; a lost session of ours finds out by this that it is."""
    wanted = ask.wanted
    if wanted.protocol != "unix" and not ask.port:  # any port: none was free, or none is allowed
        return False
    hosts = ("127.0.0.1", "::1") if wanted.host in _ALL else (wanted.host,)
    for host in hosts:
        chan: SSHChannel[str]
        try:
            async with asyncio.timeout(_KNOCK):
                if wanted.protocol == "unix":
                    chan, _ = await conn.create_unix_connection(_UnixKnock, host)
                else:
                    chan, __ = await conn.create_connection(_Knock, host, ask.port)
        except ChannelOpenError as error:
            if cause_of(error) == "prohibited":
                return False  # it cannot be told
        except (OSError, TimeoutError, PacketDecodeError):
            # No answer is one: the session there waits for us, in vain.
            return not conn.is_closed()
        else:
            chan.abort()
            return True
    return False


class _Knock(SSHTCPSession[str]):
    """A channel that is only opened."""


class _UnixKnock(SSHUNIXSession[str]):
    """Likewise."""


async def _either(conn: SSHClientConnection, seconds: float) -> None:
    """Wait for a time, or the end of a connection."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await conn.wait_closed()


def _clean(source: Endpoint) -> Endpoint | None:
    """An address as we write it; None where the far end did not tell one."""
    try:
        address = ipaddress.ip_address(source[0].partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address), source[1]


def _address_of(host: str, source: Endpoint) -> str:
    """Where somebody came in: what was asked for, or any address of their family."""
    if _clean((host, 0)) is not None:
        return host
    return "::" if ":" in source[0] else "0.0.0.0"
