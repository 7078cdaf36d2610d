"""The plane that needs no privilege: worker processes that carry the flows in user space."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from socket import socket as Socket  # noqa: N812
from typing import Any, Final

import structlog

from sekimori.host.ports import dual_stack
from sekimori.model.actual import Counters, Flow, SourceUse
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.planes.relay.control import Control, Held, WorkerLostError, WorkerRefusedError
from sekimori.planes.relay.crew import Crew, Hand
from sekimori.planes.relay.entry import Entry, Listen
from sekimori.planes.relay.obstacles import explain_errno, find_obstacle
from sekimori.planes.relay.readings import add, read_counters, read_flow, read_sources
from sekimori.planes.relay.render import MOST_PORTS, listens_of, render
from sekimori.planes.relay.sockets import open_listen
from sekimori.reconcile.ports import Changes, Wanted

__all__ = ["HANDOVER", "RelayPlane"]

HANDOVER: Final = 60.0
"""Seconds that ports left behind by a clean stop wait for the next daemon."""

_BATCH: Final = 100
"""Entries whose sockets are open in the daemon at one time."""

_log = structlog.get_logger("relay")


class RelayPlane:
    """Shares mappings out to workers, and knows what each of them holds.

    TCP is accepted by every worker (SO_REUSEPORT). Datagrams of a mapping, and all of a
    mapping with rates or a cap, belong to one worker, chosen by the mapping's id: so a peer
    keeps its socket, and limits count exactly.

    Attributes:
        carried: readings of workers that are gone, by mapping id.
    """

    def __init__(
        self,
        directory: Path,
        workers: int,
        user: tuple[int, int] | None,
        wake: Callable[[Iterable[str] | None], None],
    ) -> None:
        self.name = "relay"
        self.carried: dict[str, Counters] = {}
        self._dual = dual_stack()
        self._crew = Crew(directory, workers, user, self._lost)
        self._wake = wake
        self._last: dict[int, dict[str, Counters]] = {}
        self._put: dict[str, str] = {}
        self._rendered: dict[str, tuple[Wanted, Entry, str]] = {}
        self._closing: dict[str, tuple[Entry, float]] = {}
        self._entries: dict[str, Entry] = {}

    async def start(self, grace: float) -> None:
        """Take over the workers of an earlier daemon, or start them.

        Raises:
            WorkerLostError: a worker could not be started.
        """
        await self._crew.ensure()
        await self._crew.dismiss_others(grace)
        for hand in self._crew.hands:
            # What was found is told under a name that matches nothing, so that the engine
            # brings it to terms; where the terms are those already, that costs no message.
            self._put.update(dict.fromkeys((key for key, held in hand.held.items() if held.accepting), ""))

    async def stop(self, *, leave: bool) -> None:
        """Hang up and leave the flows running, or end them with their workers."""
        if leave:
            await self._hand_over()
            await self._crew.release()
            return
        with suppress(WorkerLostError):  # its last figures are lost with it
            await self.counters()
        for readings in self._last.values():
            self._carry(readings)
        await self._crew.quit()

    async def _hand_over(self) -> None:
        """Have the workers stop accepting by themselves unless a daemon takes them over soon.

        A service manager stops and restarts us by the same signal: after a restart the ports
        are still there, after a stop they close.
        """
        until = time.time() + HANDOVER
        for hand, control in self._live():
            parts = [
                self._part(entry, hand.index) for key, entry in self._entries.items() if key in hand.held
            ]
            ending = [
                replace(part, accept_until=min(part.accept_until or until, until))
                for part in parts
                if part is not None
            ]
            with suppress(WorkerLostError):  # gone, and its ports with it
                await control.set(ending)

    # -- Plane ---------------------------------------------------------------------------

    def unable(self, mapping: PortMapping) -> str | None:
        """Too many ports for a socket each."""
        count = sum(pair.outside.size for pair in mapping.ports)
        if count > MOST_PORTS:
            return f"it holds a socket for each port, {MOST_PORTS} at most, and this needs {count}"
        return None

    async def preflight(self, mapping: PortMapping, leaving: Sequence[PortMapping]) -> Problem | None:
        """Try every port that we do not hold already."""
        ours = {(each.protocol, each.port) for old in leaving for each in listens_of(old, dual=self._dual)}
        ours |= {(each.protocol, each.port) for entry in self._closing_entries() for each in entry.listens}
        listens = [
            each for each in listens_of(mapping, dual=self._dual) if (each.protocol, each.port) not in ours
        ]
        return await asyncio.to_thread(find_obstacle, listens)

    def fingerprint(self, wanted: Wanted) -> str:
        """The digest of the whole entry."""
        return self._render(wanted)[1]

    async def observe(self) -> Mapping[str, str]:
        """What was put, less what went with a worker; a missing worker is started first."""
        try:
            await self._crew.ensure()
        except WorkerLostError as lost:
            _log.error("worker_missing", why=str(lost))
        return dict(self._put)

    async def apply(self, changes: Changes) -> Mapping[str, Problem]:
        """Open the sockets and hand them to the workers; take away what is to go."""
        failed: dict[str, Problem] = {}
        await self._remove(changes.remove)
        for start in range(0, len(changes.put), _BATCH):
            failed |= await self._put_batch(changes.put[start : start + _BATCH])
        return failed

    # -- Meter ---------------------------------------------------------------------------

    async def counters(self, ids: Sequence[str] | None = None) -> Mapping[str, Counters]:
        """Counters by mapping id (of all, or of these): all workers, those that are gone included."""
        found: list[tuple[Hand, Control, dict[str, Counters]]] = []
        for hand, control in self._live():
            with suppress(WorkerLostError):  # what it last told is carried on
                rows = await control.stats(ids)
                found.append((hand, control, {key: read_counters(row) for key, row in rows.items()}))
        chosen = self.carried.keys() if ids is None else self.carried.keys() & set(ids)
        total = {key: self.carried[key] for key in chosen}
        for hand, control, readings in found:
            if hand.control is not control:  # lost since: its figures are among the carried
                continue
            self._last.setdefault(hand.index, {}).update(readings)
            for key, reading in readings.items():
                total[key] = add(total[key], reading) if key in total else reading
        return total

    async def flows(self, mapping_id: str) -> Sequence[Flow]:
        """The live flows of a mapping, the newest first."""
        rows = await self._ask_each(mapping_id, lambda control: control.flows(mapping_id))
        return sorted(map(read_flow, rows), key=lambda flow: flow.age)

    async def sources(self, mapping_id: str) -> Sequence[SourceUse]:
        """What each source did with a mapping, the latest first."""
        return read_sources(await self._ask_each(mapping_id, lambda control: control.sources(mapping_id)))

    def forget(self, mapping_id: str) -> None:
        """Drop the carried figures of a mapping that is gone for good."""
        self.carried.pop(mapping_id, None)

    @property
    def worker_pids(self) -> list[int]:
        """The processes that carry the flows now."""
        return [control.pid for _, control in self._live()]

    # -- within --------------------------------------------------------------------------

    def _live(self) -> list[tuple[Hand, Control]]:
        return [(hand, hand.control) for hand in self._crew.hands if hand.control is not None]

    async def _ask_each(self, mapping_id: str, ask: Callable[[Control], Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for hand, control in self._live():
            if mapping_id in hand.held:
                with suppress(WorkerRefusedError, WorkerLostError):  # it let the mapping go, or is gone
                    rows += await ask(control)
        return rows

    def _render(self, wanted: Wanted) -> tuple[Entry, str]:
        """The whole entry and its digest, worked out once for each `Wanted`."""
        known = self._rendered.get(wanted.mapping.id)
        if known is None or known[0] is not wanted:
            entry = render(wanted, dual=self._dual)
            known = self._rendered[entry.id] = (wanted, entry, entry.digest)
        return known[1], known[2]

    def _closing_entries(self) -> list[Entry]:
        """Entries that were removed and whose flows may still have their grace."""
        now = time.monotonic()
        self._closing = {key: value for key, value in self._closing.items() if value[1] > now}
        return [entry for entry, _ in self._closing.values()]

    def _lost(self, hand: Hand) -> None:
        """A worker died: what it held is to be put again, and its figures are kept."""
        self._carry(self._last.pop(hand.index, {}))
        self._put.update(dict.fromkeys(hand.held.keys() & self._put.keys(), ""))
        self._wake(None)

    def _carry(self, readings: Mapping[str, Counters]) -> None:
        for key, reading in readings.items():
            ended = replace(reading, flows_active=0)
            self.carried[key] = add(self.carried[key], ended) if key in self.carried else ended

    async def _remove(self, graces: Mapping[str, float]) -> None:
        if not graces:
            return
        for key, grace in graces.items():
            self._put.pop(key, None)
            self._rendered.pop(key, None)
            entry = self._entries.pop(key, None)
            if entry is not None and grace > 0:
                self._closing[key] = entry, time.monotonic() + grace
        await asyncio.gather(*(self._remove_from(hand, control, graces) for hand, control in self._live()))

    async def _remove_from(self, hand: Hand, control: Control, graces: Mapping[str, float]) -> None:
        there = {key: grace for key, grace in graces.items() if key in hand.held}
        if not there:
            return
        with suppress(WorkerLostError):  # then nothing of it is left to remove
            await control.set(remove=there)
        for key in there:
            hand.held.pop(key, None)

    async def _put_batch(self, batch: Sequence[Wanted]) -> dict[str, Problem]:
        entries = [self._render(wanted)[0] for wanted in batch]
        for attempt in (1, 2):
            try:
                return await self._try_batch(entries)
            except WorkerLostError as lost:
                _log.warning("worker_lost_while_applying", attempt=attempt, why=str(lost))
                why = Problem("unexpected", what=str(lost))
                with suppress(WorkerLostError):  # told by the next try, or by the problem below
                    await self._crew.ensure()
        return {entry.id: why for entry in entries}

    async def _try_batch(self, entries: Sequence[Entry]) -> dict[str, Problem]:
        await self._free_udp_ports(entries)
        failed: dict[str, Problem] = {}
        loads = {hand.index: _Load() for hand, _ in self._live()}
        if len(loads) < len(self._crew.hands):
            raise WorkerLostError("a relay worker is missing")
        for entry in entries:
            problem = self._load(entry, loads)
            if problem is not None:
                failed[entry.id] = problem
        answers = await asyncio.gather(
            *(self._send(hand, control, loads[hand.index]) for hand, control in self._live())
        )
        for answer in answers:
            failed |= answer
        for entry in entries:
            if entry.id not in failed:
                self._put[entry.id] = self._rendered[entry.id][2]
                self._entries[entry.id] = entry
                self._closing.pop(entry.id, None)
        return failed

    async def _free_udp_ports(self, entries: Sequence[Entry]) -> None:
        """Let go of UDP ports that a closed mapping keeps for its last flows, or that only moved.

        A UDP socket is not shared, as TCP's are: two on one port would each get some peers.
        """
        self._closing_entries()
        wanted = {listen.port for entry in entries for listen in entry.listens if listen.protocol == "udp"}
        ending = {
            key
            for key, (entry, _) in self._closing.items()
            if any(listen.protocol == "udp" and listen.port in wanted for listen in entry.listens)
        }
        for _, control in self._live():
            if ending:
                await control.set(remove=dict.fromkeys(ending, 0.0))
        for key in ending:
            del self._closing[key]
        for entry in entries:
            old = self._entries.get(entry.id)
            if old is not None and _moves_udp(old, entry):
                await self._remove({entry.id: 0.0})

    def _load(self, entry: Entry, loads: dict[int, _Load]) -> Problem | None:
        """Open what `entry` still needs in each worker; nothing of it stays when one cannot be had."""
        opened: list[tuple[_Load, Entry, dict[tuple[str, Listen], Socket]]] = []
        digest: dict[tuple[Listen, ...], str] = {}
        for hand, _ in self._live():
            part = self._part(entry, hand.index)
            held = hand.held.get(entry.id)
            if part is None:
                if held is not None:
                    loads[hand.index].remove[entry.id] = None
                continue
            if part.listens not in digest:
                digest[part.listens] = self._rendered[entry.id][2] if part is entry else part.digest
            if held is not None and _is_same(held, part, digest[part.listens]):
                continue
            sockets: dict[tuple[str, Listen], Socket] = {}
            opened.append((loads[hand.index], part, sockets))
            for listen in part.listens:
                if held is None or not held.accepting or not held.holds(listen):
                    try:
                        sockets[entry.id, listen] = open_listen(listen)
                    except OSError as error:
                        for _, _, got in opened:
                            for sock in got.values():
                                sock.close()
                        return explain_errno(error.errno or 0, listen)
        for load, part, sockets in opened:
            load.entries.append(part)
            load.sockets.update(sockets)
            load.digests[part.id] = digest[part.listens]
        return None

    def _part(self, entry: Entry, index: int) -> Entry | None:
        """What of `entry` belongs to one worker; None when nothing does."""
        home = zlib.crc32(entry.id.encode()) % len(self._crew.hands)
        if index == home:
            return entry
        if entry.rate_per_source or entry.rate_total or entry.max_connections:
            return None
        listens = tuple(listen for listen in entry.listens if listen.protocol == "tcp")
        if not listens:
            return None
        return entry if listens == entry.listens else replace(entry, listens=listens)

    async def _send(self, hand: Hand, control: Control, load: _Load) -> dict[str, Problem]:
        if not load.entries and not load.remove:
            return {}
        answer = await control.set(load.entries, load.sockets, load.remove)
        failed = {
            key: Problem("unexpected", what=f"the relay refused it: {why}") for key, why in answer.bad.items()
        }
        for missing in answer.missing:
            failed[missing[0]] = Problem("unexpected", what=f"the relay lacks a socket for {missing[1:]}")
        for entry in load.entries:
            if entry.id not in failed:
                keys = frozenset(
                    (each.protocol, each.address, each.port, each.dual) for each in entry.listens
                )
                hand.held[entry.id] = Held(entry.id, load.digests[entry.id], True, keys, 0)
        for key in load.remove:
            hand.held.pop(key, None)
        return failed


class _Load:
    """What one worker is to be sent."""

    __slots__ = ("digests", "entries", "remove", "sockets")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.sockets: dict[tuple[str, Listen], Socket] = {}
        self.remove: dict[str, float | None] = {}
        self.digests: dict[str, str] = {}


def _is_same(held: Held, part: Entry, digest: str) -> bool:
    return held.accepting and held.digest == digest and all(held.holds(listen) for listen in part.listens)


def _moves_udp(old: Entry, new: Entry) -> bool:
    """Whether a UDP port stays but its address changes, so that the two sockets would collide."""
    before = {(each.port, each.address, each.dual) for each in old.listens if each.protocol == "udp"}
    after = {(each.port, each.address, each.dual) for each in new.listens if each.protocol == "udp"}
    return bool({key[0] for key in after - before} & {key[0] for key in before - after})
