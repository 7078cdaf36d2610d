"""The SSH door, on the daemon's side: it keeps the process that serves it, and asks the gate for clients."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

import structlog

from sekimori.doors.ssh.holding import DOOR, Holding
from sekimori.doors.ssh.hostkey import HostKey, load_host_key
from sekimori.doors.ssh.keysource import FileKeys, KeyFile, rows_of
from sekimori.doors.ssh.places import Places
from sekimori.doors.ssh.rosterframes import MOST, roster_frames
from sekimori.doors.ssh.tally import Accounts, Tally
from sekimori.doors.ssh.words import plain
from sekimori.gate.devices import Inside
from sekimori.gate.ports import Gate
from sekimori.host.child import Child, start
from sekimori.host.zone import local_zone
from sekimori.model.causes import cause, os_cause
from sekimori.model.decision import Made, Verb
from sekimori.model.door import Door
from sekimori.model.errors import Problem
from sekimori.model.events import Committed
from sekimori.model.grantwords import format_size
from sekimori.model.link import SSH_DOOR
from sekimori.model.linkfacts import SshFacts, SshSession
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.user import Grant, User

__all__ = ["Carriers", "Presence", "SshDoor"]

_LOOK: Final = 2.0
"""Seconds between looks at the file of keys, and at places that cannot be listened at."""
_FIRST: Final = 0.2
_LONGEST: Final = 8.0
_HEALTHY: Final = 10.0
_log = structlog.get_logger("ssh")


class Carriers(Protocol):
    """The relay, as who carries flows for it sees it."""

    async def attach(self, name: str, take: Callable[[int, socket.socket], None]) -> None:
        """Give the carrier of a name its ends of the channels to each worker, now and whenever one starts."""
        ...

    async def detach(self, name: str) -> None:
        """There is no such carrier any more."""
        ...


class Presence(Protocol):
    """The plane of links, as the door tells it which clients are there."""

    def register(self, name: str, ask: Callable[[PortMapping], Problem | None]) -> None:
        """Ask here what keeps a mapping with this hop from being real."""
        ...

    def unregister(self, name: str) -> None:
        """The door is shut."""
        ...

    def look_again(self, ids: Iterable[str]) -> None:
        """These mappings may be real now, or no longer."""
        ...


class SshDoor:
    """Fulfils `sekimori.gate.devices.DeviceDoor`.

    Args:
        setting: the door as it was enabled.
        gate: the gate.
        inside: what is known of this machine.
        carriers: who hands over those that come to a port.
        presence: who is told whose clients are there.
        accounts: who keeps the users' quotas.
        user: UID and GID that the process becomes; None where we are not root.
        exempt: prefixes that failed logins cost nothing.
    """

    def __init__(
        self,
        setting: Door,
        gate: Gate,
        inside: Inside,
        *,
        carriers: Carriers,
        presence: Presence,
        accounts: Accounts,
        user: tuple[int, int] | None,
        exempt: tuple[str, ...] = (),
    ) -> None:
        self._setting = setting
        self._inside = inside
        self._carriers = carriers
        self._presence = presence
        self._accounts = accounts
        self._tally = Tally(accounts)
        self._options = [] if user is None else ["--user", f"{user[0]}:{user[1]}"]
        self._exempt = exempt
        self._zone = local_zone()
        self._file = _key_file(setting, self._zone)
        self._keys = FileKeys()
        self._complaints: list[tuple[int, str]] = []
        self._places = Places(setting.listen, self._opened)
        self._holding = Holding(gate, inside, self._grant_of, presence.look_again)
        self._changed = asyncio.Event()
        self._key: HostKey | None = None
        self._process: Child | None = None
        self._is_ready = False
        self._sessions: dict[int, SshSession] = {}
        self._next = 1
        self._told: object = None
        self._roster: Sequence[dict[str, Any]] = ()
        self._untold: dict[str, Problem] = {}
        self._used_up: list[str] = []
        self._broken: dict[str, Problem] = {}

    async def run(self) -> None:
        """Answer until cancelled (`DeviceDoor.run`)."""
        try:
            self._key = await asyncio.to_thread(load_host_key, self._inside.directory)
            self._presence.register(SSH_DOOR, self._holding.why_away)
            await self._look()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep(tasks), name="ssh process")
                tasks.create_task(self._follow())
                tasks.create_task(self._follow_ledger())
                tasks.create_task(self._holding.settle())
        finally:
            self._presence.unregister(SSH_DOOR)
            self._places.close()

    def reframe(self) -> None:
        """The network changed (`DeviceDoor.reframe`)."""
        self._changed.set()

    def problems(self) -> Mapping[str, Problem]:
        """Why it does not answer, by place; and what is wrong with its file of keys, by its path."""
        found = {**self._places.problems, **self._broken, **self._untold}
        path = self._setting.authorized_keys
        return found | {f"{path}:{number}" if number else path: each for number, each in self._keys.problems}

    def facts(self) -> SshFacts:
        """Its key, and who is connected."""
        sessions = sorted(self._sessions.items(), key=lambda item: item[1].since)
        told = tuple(_with_mappings(each, self._holding.held_by(number)) for number, each in sessions)
        return SshFacts(() if self._key is None else (self._key.told,), told)

    # -- what it goes by -----------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Look at what changes without a word, now and then, and at once when something was said."""
        while True:
            with suppress(TimeoutError):  # then it is time to look
                async with asyncio.timeout(_LOOK):
                    await self._changed.wait()
            self._changed.clear()
            await self._look()

    async def _follow_ledger(self) -> None:
        while True:
            async with self._inside.subscribe() as events:
                self._catch_up()
                try:
                    async for event in events:
                        if isinstance(event, Committed):
                            self._heed(event)
                except Exception as error:  # what it has lost it finds in the ledger
                    _log.warning("events_lost", why=repr(error))
                else:  # there will be none any more: the daemon ends
                    return

    async def _look(self) -> None:
        if self._file is not None:
            self._keys = await asyncio.to_thread(self._file.read)
            titles = [(number, problem.title()) for number, problem in self._keys.problems]
            for number, title in titles if titles != self._complaints else ():
                _log.warning("keys_not_used", line=number, why=title)
            self._complaints = titles
        self._places.open()
        rows = rows_of(self._inside.snapshot().users.values(), self._keys, self._setting.grant)
        network = self._inside.network()
        own = {str(each) for each in network.own}
        own |= {str(prefix) for lan in network.lans for prefix in lan.prefixes}
        own |= {str(prefix) for wan in network.wans for prefix in wan.on_link}
        self._tell_roster(rows, sorted(own))
        known = {*self._inside.snapshot().users, *self._keys.users}
        used_up = sorted(known.intersection(self._accounts.used_up()))
        if used_up != self._used_up:
            self._used_up = used_up
            self._tell({"op": "used_up", "users": used_up})

    def _tell_roster(self, rows: list[dict[str, Any]], own: list[str]) -> None:
        if (rows, own) == self._told:
            return
        self._told = rows, own
        self._roster, too_long = roster_frames(rows, own, self._zone)
        why = cause("key-row-large", most=format_size(MOST))
        self._untold = {row["user"]: Problem("bad-key", text=plain(row["line"]), why=why) for row in too_long}
        for user, problem in self._untold.items():
            _log.warning("keys_not_used", user=user, why=problem.title())
        for frame in self._roster:
            self._tell(frame)

    def _grant_of(self, user: str) -> Grant | None:
        known = self._inside.snapshot().users.get(user)
        if known is not None:
            return known.grant
        return (self._setting.grant or Grant()) if user in self._keys.users else None

    def _heed(self, event: Committed) -> None:
        for change in event.changes:
            if isinstance(change.subject, User):
                self._changed.set()
            elif isinstance(change.subject, PortMapping) and self._holding.holds(change.subject.id):
                self._pass_on(change, event.context.door)

    def _catch_up(self) -> None:
        """See what of what sessions hold has gone, without having been told."""
        self._changed.set()
        snapshot = self._inside.snapshot()
        for mapping_id in self._holding.ids():
            mapping = snapshot.get(mapping_id)
            if mapping is None or mapping.paused:
                self._take_away(mapping_id, "closed" if mapping is None else "paused")

    def _take_away(self, mapping_id: str, why: str) -> None:
        self._holding.forget(mapping_id)
        self._tell({"op": "ended", "id": mapping_id, "why": why})

    def _pass_on(self, change: Made, door: str) -> None:
        """Tell a session what others did to its port."""
        after = change.after
        mapping_id = change.subject.id if isinstance(change.subject, PortMapping) else ""
        if not isinstance(after, PortMapping) or after.paused:
            why = "paused" if after is not None else "time" if change.verb is Verb.EXPIRE else "closed"
            self._take_away(mapping_id, why)
        elif door != DOOR:
            self._tell({"op": "changed", "id": mapping_id, "facts": self._facts_of(after)})

    # -- the process ---------------------------------------------------------------------------------------

    async def _keep(self, tasks: asyncio.TaskGroup) -> None:
        """Have a process serve the door, and another when it ends."""
        loop, wait = asyncio.get_running_loop(), _FIRST
        try:
            while True:
                begun = loop.time()
                how = await self._serve(tasks)
                wait = _FIRST if loop.time() - begun > _HEALTHY else wait
                _log.warning("ssh_process_ended", how=how, again_in=wait)
                why = cause("ssh-process-ended", how=how)
                for key in self._setting.listen:
                    self._broken[key] = Problem("door-not-open", door=DOOR, interface=key, why=why)
                await asyncio.sleep(wait)
                wait = min(2 * wait, _LONGEST)
        finally:
            await self._carriers.detach(SSH_DOOR)

    async def _serve(self, tasks: asyncio.TaskGroup) -> str:
        """Have one process do everything, to its end; how that came."""
        try:
            process = await start(
                "sekimori.doors.ssh", lambda frame, fds: self._heard(frame, fds, tasks), self._options
            )
        except OSError as error:
            return str(os_cause(error)["en"])
        try:
            self._process, self._is_ready = process, False
            assert self._key is not None
            start_with = {"host_keys": [self._key.private], "exempt": list(self._exempt), "first": self._next}
            self._tell({"op": "start", **start_with})
            await self._carriers.attach(
                SSH_DOOR,
                lambda index, sock: process.tell({"op": "worker", "index": index}, [sock.detach()]),
            )
            code = await process.wait()
            return f"signal {-code}" if code < 0 else f"exit code {code}"
        finally:
            self._process, self._is_ready = None, False
            gone, self._sessions = [*self._sessions], {}
            self._tally.clear()
            await process.end()
            for number in gone:
                await self._holding.leave(number)

    def _opened(self, key: str, sock: socket.socket) -> None:
        if self._process is not None and self._is_ready:
            self._process.tell({"op": "listen", "key": key}, [os.dup(sock.fileno())])

    def _tell(self, message: dict[str, Any]) -> None:
        if self._process is not None:
            self._process.tell(message)

    def _heard(self, frame: dict[str, Any], fds: list[int], tasks: asyncio.TaskGroup) -> None:
        for fd in fds:  # none is passed this way
            os.close(fd)
        match frame.get("op"):
            case "ready":
                self._is_ready = True
                self._broken.clear()
                for part in self._roster:
                    self._tell(part)
                self._tell({"op": "used_up", "users": self._used_up})
                for key, sock in self._places.sockets.items():
                    self._opened(key, sock)
            case "sessions":
                self._sessions = {row["session"]: _read_session(row) for row in frame["sessions"]}
                self._next = max((self._next, *(number + 1 for number in self._sessions)))
                for row in frame["sessions"]:
                    self._tally.told(row)
            case "gone":
                self._tally.gone(frame)
                self._sessions.pop(frame["session"], None)
                tasks.create_task(self._holding.leave(frame["session"]))
            case "bind" if self._process is not None:
                tasks.create_task(self._bind(frame, self._process))
            case "unbind" if self._process is not None:
                tasks.create_task(self._unbind(frame, self._process))

    async def _bind(self, frame: dict[str, Any], process: Child) -> None:
        try:
            mapping = await self._holding.bind(frame, lambda session: session in self._sessions)
        except Problem as problem:
            _log.info("refused", user=frame["user"], port=frame["port"], why=problem.title())
            process.tell(_refusal(frame["n"], problem))
            return
        generation = mapping.lease.generation if mapping.lease is not None else 0
        facts = self._facts_of(mapping)
        process.tell(  # not to another that began meanwhile, which has asked something else by this number
            {
                "op": "bound",
                "n": frame["n"],
                "id": mapping.id,
                "generation": generation,
                "port": mapping.ports[0].outside.first,
                "facts": {**facts, "again": generation > 1},
            }
        )

    async def _unbind(self, frame: dict[str, Any], process: Child) -> None:
        try:
            await self._holding.unbind(frame)
        except Problem as problem:
            _log.warning("not_unbound", mapping=frame["id"], why=problem.title())
        process.tell({"op": "unbound", "n": frame["n"]})

    def _facts_of(self, mapping: PortMapping) -> dict[str, Any]:
        """What a user is told of a port: where from outside, who may come, until when."""
        port = mapping.ports[0].outside.first
        outside = [mapping.on] if mapping.on is not None else [*map(self._inside.outside_address, (4, 6))]
        places = [f"[{each}]:{port}" if ":" in str(each) else f"{each}:{port}" for each in outside if each]
        return {
            "place": ", ".join(places) or f"*:{port}",
            "sources": str(mapping.sources),
            "until": mapping.lifetime.expires_at,
        }


def _key_file(setting: Door, zone: str) -> KeyFile | None:
    return KeyFile(Path(setting.authorized_keys), ZoneInfo(zone)) if setting.authorized_keys else None


def _refusal(number: int, problem: Problem) -> dict[str, Any]:
    fix = {language: problem.fix(language) for language in ("en", "ja")}
    return {"op": "refused", "n": number, "code": problem.code, "title": problem.titles, "fix": fix}


def _read_session(row: Mapping[str, Any]) -> SshSession:
    return SshSession(**{key: value for key, value in row.items() if key != "session"})


def _with_mappings(session: SshSession, ids: tuple[str, ...]) -> SshSession:
    return replace(session, mappings=ids)
