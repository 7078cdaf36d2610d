"""One client that is logged in, or is about to be: what it holds open, reaches and sees."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import asyncssh
from asyncssh import SSHServerChannel
from asyncssh.constants import DISC_BY_APPLICATION

from sekimori.doors.ssh.admission import Admitted, Roster
from sekimori.doors.ssh.connection import DoorConnection
from sekimori.doors.ssh.outward import Outward
from sekimori.doors.ssh.proof import Proof
from sekimori.doors.ssh.subsystem import Desk, Peers
from sekimori.doors.ssh.terminal import Terminal
from sekimori.doors.ssh.words import Line, line, opened_line, place_text, quota_line, refused_line
from sekimori.host.sshline import Line as Wire
from sekimori.model.address import IPAddress, IPNetwork
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.lifetime import format_duration

__all__ = ["Hall", "Opened", "Session"]

_MOST_PORTS: Final = 1000
_PARTING: Final = 1.0
"""Seconds in which a client that leaves in order closes its channels first, and the connection then."""
_LONGEST_HOST: Final = 255
_MOST_TERMINALS: Final = 10
_MOST_REMEMBERED: Final = 20
"""Refusals that are shown to a terminal that opens after them."""

_Key = tuple[str, str, int]
"""Protocol, and the address and port as the client knows them."""


@dataclass(slots=True, eq=False)
class Opened:
    """A port that a session holds.

    Attributes:
        id: the mapping's.
        generation: how often it has been taken; the daemon lets go of the newest only.
        host: the address as the client asked for it.
        port: which one it is.
        facts: what is told of it: `place`, `sources`, `until`, `again`.
        protocol: tcp, or udp.
        desk: of udp: where its peers are announced.
    """

    id: str
    generation: int
    host: str
    port: int
    facts: Mapping[str, Any]
    protocol: str = "tcp"
    desk: Desk | None = None

    @property
    def place(self) -> str:
        """Where it is open, as users are told."""
        return str(self.facts["place"])


class Hall(Protocol):
    """What all sessions share."""

    @property
    def roster(self) -> Roster:
        """Who may come in now."""
        ...

    @property
    def own(self) -> tuple[IPNetwork, ...]:
        """The networks of this machine."""
        ...

    @property
    def used_up(self) -> Collection[str]:
        """Users who have used up their quota."""
        ...

    def keyed(self, session: Session) -> None:
        """A connection is encrypted now."""
        ...

    def arrived(self, session: Session) -> Line | None:
        """Somebody has logged in; why they cannot stay, or None."""
        ...

    def left(self, session: Session, error: Exception | None) -> None:
        """A connection has ended, whether anybody had logged in or not."""
        ...

    async def bind(self, session: Session, protocol: str, host: str, port: int) -> Opened | Mapping[str, Any]:
        """Open a port; or what the daemon said why not."""
        ...

    async def unbind(self, session: Session, opened: Opened) -> None:
        """Close a port for good."""
        ...


class Session(asyncssh.SSHServer):
    """Fulfils `connection.Guest` and `terminal.Sight`.

    Attributes:
        number: what the daemon calls it.
        conn: its connection.
        wire: the connection's line; there once somebody has logged in.
        since: Unix seconds of the login.
        ports: what is held open.
        outward: what is reached.
        peers: those who sent datagrams to a port, and wait.
    """

    conn: DoorConnection
    wire: Wire

    def __init__(self, hall: Hall, number: int) -> None:
        self.number = number
        self.since = 0.0
        self.ports: dict[_Key, Opened] = {}
        self._hall = hall
        self._proof: Proof | None = None
        self._opening: set[_Key] = set()
        self._refused: list[Line] = []
        self._terminals: set[Terminal] = set()
        self.outward = Outward(self)
        self.peers = Peers()
        self.is_over = False

    # -- what asyncssh tells -----------------------------------------------------------------------

    def connection_made(self, conn: Any) -> None:
        """The connection begins."""
        self.conn = conn
        conn.guest = self

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, in whatever way."""
        self.is_over = True
        self.peers.close()
        self._hall.left(self, exc)

    def begin_auth(self, username: str) -> bool:
        """Everybody has to log in."""
        return True

    def public_key_auth_supported(self) -> bool:
        """By a key, and in no other way."""
        return True

    def auth_completed(self) -> None:
        """Somebody has logged in."""
        self.since = time.time()
        self.wire = Wire(self.conn)
        why = self._hall.arrived(self)
        if why is not None:
            self.end(why)

    # -- who it is -----------------------------------------------------------------------------------

    @property
    def own(self) -> tuple[IPNetwork, ...]:
        """The networks of this machine (`Reacher.own`)."""
        return self._hall.own

    @property
    def is_used_up(self) -> bool:
        """Whether the user has used up the quota (`Reacher.is_used_up`)."""
        return self.admitted.grant.quota is not None and self.admitted.user in self._hall.used_up

    @property
    def admitted(self) -> Admitted:
        """Who has logged in."""
        assert self.conn.admitted is not None
        return self.conn.admitted

    @property
    def address(self) -> IPAddress:
        """Where the client is."""
        return self.conn.peer

    def admit(self, proof: Proof, now: float) -> Admitted | None:
        """Who comes in by a key that was shown (`Guest.admit`)."""
        admitted = proof.admit(self._hall.roster, now)
        if admitted is not None:
            self._proof = proof
        return admitted

    def keyed(self) -> None:
        """The connection is encrypted (`Guest.keyed`)."""
        self._hall.keyed(self)

    def judge_again(self, now: float) -> None:
        """The roster is another, or time has passed: see whether the user may stay, and do what it does."""
        assert self._proof is not None
        admitted = self._proof.admit(self._hall.roster, now)
        if admitted is None or admitted.user != self.admitted.user:
            self.end(line("over-removed"))
            return
        self.conn.admitted = admitted
        for opened in [*self.ports.values()]:
            if not admitted.options.allows_listen(opened.host, opened.port):
                self.drop(opened, line("ended", place=opened.place, why=line("ended-closed")))
                self.conn.create_task(self._hall.unbind(self, opened))
        self.outward.judge_again()

    def judge_quota(self) -> None:
        """The user's quota has just been used up, or there is some of it again."""
        self.outward.judge_again()
        grant = self.admitted.grant
        if grant.quota is not None:
            self.show(quota_line("quota-used" if self.is_used_up else "quota-anew", grant))

    def end(self, why: Line) -> None:
        """End the connection, and say why."""
        if self.is_over:
            return
        for terminal in [*self._terminals]:
            terminal.show(why)
            terminal.close()
        self.conn.disconnect(DISC_BY_APPLICATION, why["en"])

    def facts(self) -> dict[str, Any]:
        """What the daemon is told of it."""
        bytes_in, bytes_out = self.outward.moved
        return {
            "session": self.number,
            "user": self.admitted.user,
            "fingerprint": self.admitted.fingerprint,
            "address": str(self.address),
            "port": self.conn._peer_port,
            "since": self.since,
            "client": self.conn.client,
            "channels": self.outward.count,
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
        }

    # -- ssh -R ----------------------------------------------------------------------------------------

    async def listen(self, host: str, port: int) -> int | None:
        """Open a port (`Guest.listen`)."""
        return await self._listen("tcp", host, port, None)

    async def unlisten(self, host: str, port: int) -> bool:
        """Close one (`Guest.unlisten`)."""
        return await self._unlisten(("tcp", host, port))

    def drop(self, opened: Opened, why: Line) -> None:
        """A port is not this session's any more."""
        key = opened.protocol, opened.host, opened.port
        if self.ports.get(key) is opened:
            del self.ports[key]
            self.show(why)

    def refuse_path(self) -> None:
        """A unix socket was asked for (`Guest.refuse_path`)."""
        self.note(line("refused-path"))

    async def _listen(self, protocol: str, host: str, port: int, desk: Desk | None) -> int | None:
        place, key = place_text(host, port), (protocol, host, port)
        problem = self._why_not_listen(host, port)
        if problem is not None:
            self.note(refused_line(place, {"title": problem.titles, "fix": _fixes(problem)}))
            return None
        self._opening.add(key)
        try:
            answer = await self._hall.bind(self, protocol, host, port)
        finally:
            self._opening.discard(key)
        if not isinstance(answer, Opened):
            self.note(refused_line(place, answer))
            return None
        if not self.admitted.options.allows_listen(host, port):  # the key was narrowed meanwhile
            await self._hall.unbind(self, answer)
            self.note(line("ended", place=answer.place, why=line("ended-closed")))
            return None
        answer.desk = desk
        self.ports[protocol, host, answer.port] = answer
        self.show(opened_line("opened", answer.facts))
        return answer.port

    async def _unlisten(self, key: _Key) -> bool:
        opened = self.ports.pop(key, None)
        if opened is None:
            return False
        await self._hall.unbind(self, opened)
        self.show(line("cancelled", place=opened.place))
        return True

    def _why_not_listen(self, host: str, port: int) -> Problem | None:
        who = self.admitted.user
        if len(host) > _LONGEST_HOST or not host.isprintable():  # it would stand in logs and on terminals
            return Problem("bind-refused", port=port, who=who, why=cause("not-an-address"))
        if not self.admitted.options.allows_listen(host, port):
            why = cause("bind-not-permitted", place=place_text(host, port))
            return Problem("bind-refused", port=port, who=who, why=why)
        if len(self.ports) + len(self._opening) >= _MOST_PORTS:
            names = ", ".join(sorted(each.place for each in self.ports.values()))
            return Problem("bind-most", who=who, most=_MOST_PORTS, names=names)
        return None

    # -- ssh -L, -D and -J, and datagrams ----------------------------------------------------------------

    async def reach(self, host: str, port: int) -> asyncssh.SSHTCPSession[bytes]:
        """Connect to a place (`Guest.reach`)."""
        return await self.outward.reach(host, port)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done for as long as the connection stands (`Visitor.start`)."""
        if self.conn._transport is None:  # what the connection had ends with it, in its own way
            work.close()
        else:
            self.conn.create_task(work)

    async def listen_for_datagrams(self, host: str, port: int, desk: Desk) -> int | None:
        """Open a UDP port (`Visitor.listen_for_datagrams`)."""
        return await self._listen("udp", host, port, desk)

    async def unlisten_for_datagrams(self, desk: Desk) -> None:
        """Close it again, unless it is the whole connection that ends (`Visitor.unlisten_for_datagrams`)."""
        await asyncio.sleep(_PARTING)
        for key, opened in [*self.ports.items()]:
            if opened.desk is desk and not self.is_over:
                await self._unlisten(key)

    # -- what is seen --------------------------------------------------------------------------------------

    def visit(self, channel: SSHServerChannel[str]) -> Terminal:
        """Who talks on a session channel (`Guest.visit`)."""
        return Terminal(self)

    def receive(self, channel: Any) -> Desk:
        """Who speaks the subsystem on a channel (`Sight.receive`)."""
        return Desk(self, channel)

    @property
    def has_room(self) -> bool:
        """Whether another terminal may be opened (`Sight.has_room`)."""
        return len(self._terminals) < _MOST_TERMINALS

    def standing(self) -> Iterable[Line]:
        """How things are now (`Sight.standing`)."""
        yield line("hello", user=self.admitted.user)
        if self.is_used_up:
            yield quota_line("quota-used", self.admitted.grant)
        yield from (opened_line("opened", each.facts) for each in self.ports.values())
        yield from self._refused
        yield from (line("opening", port=place_text(*key[1:])) for key in sorted(self._opening))
        if not self.ports and not self._refused and not self._opening and not self.outward.count:
            yield line("no-ports")

    def watch(self, terminal: Terminal) -> None:
        """Show it what happens (`Sight.watch`)."""
        self._terminals.add(terminal)

    def unwatch(self, terminal: Terminal) -> None:
        """Show it nothing more (`Sight.unwatch`)."""
        self._terminals.discard(terminal)

    def parting(self) -> Line:
        """The last word (`Sight.parting`)."""
        if not self.ports:
            return line("bye-bare")
        return line("bye", hold=format_duration(max(1, self.admitted.grant.hold)))

    def show(self, shown: Line) -> None:
        """Show a line on every terminal, and to clients that were asked to be talkative (`ssh -v`)."""
        for terminal in [*self._terminals]:
            terminal.show(shown)
        if not self._terminals and not self.is_over:
            self.conn.send_debug(shown["en"])

    def visited(self, said: Callable[[], Line]) -> None:
        """Somebody came to a port or left it: for terminals only, and a few lines a second at most."""
        for terminal in [*self._terminals]:
            terminal.visited(said)

    def note(self, refusal: Line) -> None:
        """Show a refusal, also to a terminal that opens soon after."""
        self._refused = [*self._refused, refusal][-_MOST_REMEMBERED:]
        self.show(refusal)


def _fixes(problem: Problem) -> Line:
    return {language: problem.fix(language) for language in ("en", "ja")}
