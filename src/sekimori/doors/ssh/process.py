"""The process of the SSH door: everything that all its connections share.

Frames (`host.frames`), from the daemon:
  {"op":"start","host_keys":["-----BEGIN OPENSSH…"],"exempt":["127.0.0.0/8"],"first":1}, where `first` is the
    number of the first session: no process of a door uses one again
  {"op":"listen","key":"192.168.1.1:2222"} and a listening socket; {"op":"unlisten","key":…}
  {"op":"roster","part":0,"last":true,"grants":[{…}],"rows":[{"user","line","grant":0,"expires_at","principal"}],
    "own":["192.168.1.0/24"],"zone":"Asia/Tokyo"} (`rosterframes`): it counts once its last part is there
  {"op":"used_up","users":["bob"]}, all that have used up their quota: before the first `listen`, and whenever
    they are others
  {"op":"worker","index":0} and the carrier's end of a channel to a relay worker
  {"op":"bound","n":3,"id":"m7","generation":2,"port":8080,"facts":{"place","sources","until","again"}}
  {"op":"refused","n":3,"title":{"en","ja"},"fix":{"en","ja"}}; {"op":"unbound","n":4}
  {"op":"ended","id":"m7","why":"time"|"closed"|"paused"}; {"op":"changed","id":"m7","facts":{…}}
  {"op":"ping"}, answered by the same (`host.child`)
and to the daemon:
  {"op":"ready"}
  {"op":"bind","n":3,"session":5,"user","protocol","host","port","permitted","description"}
  {"op":"unbind","n":4,"session":5,"id":"m7","generation":2}
  {"op":"sessions","sessions":[{"session","user","fingerprint","address","port","since","client",…}]}
  {"op":"gone","session":5,"user","bytes_in","bytes_out"}, the last figures of one that ended
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import time
from asyncio import TaskGroup
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

import structlog
from asyncssh import ConnectionLost

from sekimori.doors.ssh.admission import Roster
from sekimori.doors.ssh.channel import Channel, EndedError
from sekimori.doors.ssh.connection import make_options
from sekimori.doors.ssh.delivery import Delivery
from sekimori.doors.ssh.entrance import Entrance
from sekimori.doors.ssh.liveness import watch
from sekimori.doors.ssh.penalties import Penalties
from sekimori.doors.ssh.rosterframes import RosterReader
from sekimori.doors.ssh.session import Opened, Session
from sekimori.doors.ssh.words import Line, line, opened_line, plain
from sekimori.model.address import IPNetwork

__all__ = ["serve"]

_MOST_SESSIONS: Final = 1000
_SILENT: Final = 3.0
"""Seconds of silence after which a session gives way to another of its user, where there are too many."""
_TELL: Final = 1.0
_MOST_TOLD: Final = 20
"""Keys that cannot be used and are named in the log, of one roster."""

_log = structlog.get_logger("ssh")


async def serve(control: socket.socket) -> None:
    """Serve until the daemon hangs up."""
    async with TaskGroup() as tasks:
        house = _House(control, tasks)
        async with house.delivery:
            await house.channel.ended.wait()
        house.close()


class _House:
    """Fulfils `session.Hall`."""

    def __init__(self, control: socket.socket, tasks: TaskGroup) -> None:
        self.roster = Roster()
        self.own: tuple[IPNetwork, ...] = ()
        self.used_up: frozenset[str] = frozenset()
        self._reader = RosterReader()
        self.delivery = Delivery()
        self.channel = Channel(control, self._heed)
        self._tasks = tasks
        self._entrance: Entrance | None = None
        self._running: list[asyncio.Task[None]] = []
        self._sessions: dict[int, Session] = {}
        self._numbers = count(1)  # until `start` says otherwise
        self._told: list[dict[str, Any]] = []

    def close(self) -> None:
        """Let everybody go."""
        if self._entrance is not None:
            self._entrance.close()
        for session in [*self._sessions.values()]:
            session.end(line("over-shut"))
        for task in self._running:
            task.cancel()

    # -- what the daemon says ----------------------------------------------------------------------------

    def _heed(self, frame: dict[str, Any], fds: list[int]) -> None:
        match frame.get("op"):
            case "start":
                self._running.append(self._tasks.create_task(self._start(frame)))
            case "listen" if self._entrance is not None and fds:
                self._entrance.listen(frame["key"], socket.socket(fileno=fds.pop(0)))
            case "unlisten" if self._entrance is not None:
                self._entrance.unlisten(frame["key"])
            case "roster":
                self._take_roster(frame)
            case "used_up":
                self._take_used_up(frozenset(frame["users"]))
            case "worker" if fds:
                self.delivery.add_worker(frame["index"], socket.socket(fileno=fds.pop(0)))
            case "ping":
                self.channel.tell({"op": "ping"})
            case "ended":
                self._end(frame["id"], frame["why"])
            case "changed":
                self._change(frame["id"], frame["facts"])
        for fd in fds:  # of a frame that is not known
            os.close(fd)

    async def _start(self, frame: dict[str, Any]) -> None:
        self._numbers = count(frame["first"])
        keys = [text.encode() for text in frame["host_keys"]]
        exempt = tuple(map(ipaddress.ip_network, frame.get("exempt", ())))
        options = await asyncio.to_thread(make_options, keys, self._make_session)
        penalties = Penalties(exempt)
        self._entrance = Entrance(options, self._tasks, penalties, self._is_full)
        self._running.append(self._tasks.create_task(self._entrance.run()))
        self._running.append(self._tasks.create_task(self._tick()))
        self.channel.tell({"op": "ready"})

    def _take_roster(self, frame: Mapping[str, Any]) -> None:
        roster = self._reader.take(frame)
        if roster is None:
            self.channel.tell({"op": "ping"})  # a sign of life: with a long roster this takes seconds
            return
        self.roster, self.own = roster, tuple(map(ipaddress.ip_network, frame["own"]))
        problems = self._reader.problems
        for problem in problems[:_MOST_TOLD]:
            _log.warning("key_not_used", why=problem.title())
        if len(problems) > _MOST_TOLD:
            _log.warning("keys_not_used", more=len(problems) - _MOST_TOLD)
        now = time.time()
        for session in [*self._sessions.values()]:
            session.judge_again(now)

    def _take_used_up(self, users: frozenset[str]) -> None:
        changed, self.used_up = self.used_up ^ users, users
        for session in [*self._sessions.values()]:
            if session.admitted.user in changed:
                session.judge_quota()

    def _end(self, mapping_id: str, why: str) -> None:
        holder = self.delivery.release(mapping_id)
        if holder is not None:
            session, opened = holder
            session.drop(opened, line("ended", place=opened.place, why=line(f"ended-{why}")))

    def _change(self, mapping_id: str, facts: Mapping[str, Any]) -> None:
        holder = self.delivery.holder(mapping_id)
        if holder is not None:
            session, opened = holder
            opened.facts = facts
            session.show(opened_line("changed", facts))

    # -- session.Hall ------------------------------------------------------------------------------------

    def keyed(self, session: Session) -> None:
        """A connection is encrypted now."""
        if self._entrance is not None:
            self._entrance.keyed(session.conn)

    def arrived(self, session: Session) -> Line | None:
        """Somebody has logged in."""
        assert self._entrance is not None
        self._entrance.logged_in(session.conn)
        admitted = session.admitted
        theirs = [each for each in self._sessions.values() if each.admitted.user == admitted.user]
        if len(theirs) >= admitted.grant.sessions:
            quietest = min(theirs, key=lambda each: each.wire.heard, default=None)
            if quietest is None or time.monotonic() - quietest.wire.heard < _SILENT:
                return line("over-sessions", most=admitted.grant.sessions)
            quietest.conn.abort()
        self._sessions[session.number] = session
        session.conn.create_task(watch(session.conn, session.wire))
        _log.info(
            "logged_in",
            user=admitted.user,
            key=admitted.fingerprint,
            source=str(session.address),
            client=session.conn.client,
            cipher=str(session.conn.get_extra_info("send_cipher")),
        )
        self._tell()
        return None

    def left(self, session: Session, error: Exception | None) -> None:
        """A connection has ended."""
        is_fault = error is not None and not isinstance(error, ConnectionLost | OSError)
        if self._entrance is not None:
            self._entrance.lost(session.conn, is_fault)
        if self._sessions.pop(session.number, None) is None:
            return
        self.delivery.leave(session)
        _log.info(
            "left", user=session.admitted.user, source=str(session.address), why=plain(str(error or ""))
        )
        told = session.facts()
        last = {key: told[key] for key in ("session", "user", "bytes_in", "bytes_out")}
        self.channel.tell({"op": "gone", **last})
        self._tell()

    async def bind(self, session: Session, protocol: str, host: str, port: int) -> Opened | Mapping[str, Any]:
        """Open a port."""
        admitted = session.admitted
        login = str(session.conn.get_extra_info("username") or "")
        message = {
            "op": "bind",
            "session": session.number,
            "user": admitted.user,
            "protocol": protocol,
            "host": host,
            "port": port,
            "permitted": admitted.options.permitted,
            "description": f"{plain(login, 32)}@{session.address}",
        }
        try:
            answer = await self.channel.ask(message)
        except EndedError:
            why = line("over-shut")
            return {"title": why, "fix": {"en": "", "ja": ""}}
        if answer["op"] != "bound":
            return answer
        opened = Opened(answer["id"], answer["generation"], host, answer["port"], answer["facts"], protocol)
        if not session.is_over:  # else the daemon keeps it for who comes back
            self.delivery.hold(session, opened)
        return opened

    async def unbind(self, session: Session, opened: Opened) -> None:
        """Close a port for good."""
        holder = self.delivery.holder(opened.id)
        if holder is None or holder[1] is not opened:
            return
        self.delivery.release(opened.id)
        message = {
            "op": "unbind",
            "session": session.number,
            "id": opened.id,
            "generation": opened.generation,
        }
        try:
            await self.channel.ask(message)
        except EndedError:
            _log.info("not_unbound", mapping=opened.id, why="the daemon has gone")

    # -- inside --------------------------------------------------------------------------------------------

    def _make_session(self) -> Session:
        return Session(self, next(self._numbers))

    def _is_full(self) -> bool:
        return len(self._sessions) >= _MOST_SESSIONS

    async def _tick(self) -> None:
        """See whose time is over, and tell the daemon what changed."""
        while True:
            await asyncio.sleep(_TELL)
            now = time.time()
            for session in [*self._sessions.values()]:
                end = session.admitted.expires_at
                if end is not None and end <= now:
                    session.judge_again(now)
            self._tell()

    def _tell(self) -> None:
        told = [session.facts() for session in self._sessions.values()]
        if told != self._told:
            self._told = told
            self.channel.tell({"op": "sessions", "sessions": told})
