"""The plane that needs no privilege: worker processes that carry the flows in user space."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import structlog

from sekimori.host.ownnetworks import own_networks
from sekimori.host.ports import dual_stack
from sekimori.model.actual import Counters, Flow, SourceUse
from sekimori.model.address import IPNetwork
from sekimori.model.causes import Text
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.target import TargetKind
from sekimori.planes.relay.bans import Ban
from sekimori.planes.relay.control import Control, Held, WorkerLostError, WorkerRefusedError
from sekimori.planes.relay.crew import Crew, Hand
from sekimori.planes.relay.entry import Entry, ListenKey, key_of
from sekimori.planes.relay.figures import Figures
from sekimori.planes.relay.introductions import Introductions, Take
from sekimori.planes.relay.obstacles import find_inability, find_loop, find_obstacle
from sekimori.planes.relay.placement import home_of, shares
from sekimori.planes.relay.readings import read_flow, read_sources
from sekimori.planes.relay.render import listens_of, render
from sekimori.planes.relay.sharing import share_out
from sekimori.planes.relay.unixsockets import discard_path
from sekimori.reconcile.ports import Changes, Ground, Wanted

__all__ = ["HANDOVER", "RelayPlane"]

HANDOVER: Final = 60.0
"""Seconds that ports left behind by a clean stop wait for the next daemon."""

_BATCH: Final = 100
"""Entries whose sockets are open in the daemon at one time."""

_UNDER_WAY: Final = 4
"""Batches on their way to the workers at one time, so that neither side waits for the other."""

_log = structlog.get_logger("relay")


class RelayPlane:
    """Shares mappings out to workers, and knows what each of them holds.

    TCP is accepted by every worker (SO_REUSEPORT). Datagrams of a mapping, and all of a
    mapping with rates or a cap, belong to one worker (`placement`). So do a unix socket, and
    newcomers that a carrier brings.

    Attributes:
        on_change: called when what is there is no longer what was put.
    """

    def __init__(self, directory: Path, workers: int, user: tuple[int, int] | None) -> None:
        self.name = "relay"
        self.on_change: Callable[[], None] = lambda: None
        self._dual = dual_stack()
        self._crew = Crew(directory, workers, user, self._lost)
        self._introductions = Introductions(self._crew)
        self.figures = Figures(self._crew)
        self._bans: tuple[Ban, ...] = ()
        self._put: dict[str, str] = {}
        self._rendered: dict[str, tuple[Wanted, Entry, str]] = {}
        self._entries: dict[str, Entry] = {}
        self._closing: dict[str, tuple[Entry, float]] = {}

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
        else:
            await self.figures.conclude()
            paths = self._paths({key for hand in self._crew.hands for key in hand.held})
            await self._crew.quit()
            for path in paths:
                discard_path(path)

    @property
    def worker_pids(self) -> list[int]:
        """The processes that carry the flows now."""
        return [control.pid for _, control in self._crew.live]

    # -- carriers ------------------------------------------------------------------------

    async def attach(self, name: str, take: Take) -> None:
        """Let workers dial through the carrier `name`, and take newcomers from it.

        `take` is given the carrier's end of a channel to each worker with the worker's index, now and
        whenever a worker is started. What came by a carrier that had the name before is reset.
        """
        await self._introductions.attach(name, take)

    async def detach(self, name: str) -> None:
        """There is no such carrier any more (perhaps there never was); what came by it is reset."""
        await self._introductions.detach(name)

    def home_of(self, mapping_id: str) -> int:
        """The index of the worker that takes the newcomers that a carrier brings for a mapping."""
        return home_of(mapping_id, len(self._crew.hands))

    # -- Plane ---------------------------------------------------------------------------

    def unable(self, mapping: PortMapping) -> Text | None:
        """What sockets cannot make: other protocols, other kinds, and too many ports."""
        return find_inability(mapping)

    async def preflight(self, mapping: PortMapping, leaving: Sequence[PortMapping]) -> Problem | None:
        """Look for a loop, then try every port that we do not hold already."""
        loop = find_loop(mapping)
        if loop is not None:
            return loop
        ours = {_spot(key_of(each)) for old in leaving for each in listens_of(old, dual=self._dual)}
        ours |= {_spot(key_of(each)) for entry in self._closing_entries() for each in entry.sockets}
        ended = [each for hand in self._crew.hands for each in hand.held.values() if not each.accepting]
        ours |= {_spot(key) for each in ended for key in each.listens}
        listens = [each for each in listens_of(mapping, dual=self._dual) if _spot(key_of(each)) not in ours]
        return await asyncio.to_thread(find_obstacle, listens)

    async def lay(self, ground: Ground) -> Problem | None:
        """Tell the workers who is banned. To be a gateway is nothing that sockets can do or need."""
        self._bans = tuple((str(ban.prefix), ban.expires_at) for ban in ground.bans)
        try:
            await self._ensure_crew()
        except (WorkerLostError, WorkerRefusedError) as error:
            return Problem("unexpected", what=str(error))
        return None

    def fingerprint(self, wanted: Wanted) -> str:
        """The digest of the whole entry."""
        return self._render(wanted)[1]

    async def observe(self) -> Mapping[str, str]:
        """What was put, less what went with a worker; a missing worker is started first."""
        try:
            await self._ensure_crew()
        except (WorkerLostError, WorkerRefusedError) as error:
            _log.error("worker_missing", why=str(error))
        return MappingProxyType(self._put)

    async def apply(self, changes: Changes) -> Mapping[str, Problem]:
        """Open the sockets and hand them to the workers; take away what is to go."""
        failed: dict[str, Problem] = {}
        await self._remove(changes.remove)
        await self._free_udp_ports([self._render(wanted)[0] for wanted in changes.put])
        for start in range(0, len(changes.put), _BATCH):
            failed |= await self._put_batch(changes.put[start : start + _BATCH])
        return failed

    # -- Meter ---------------------------------------------------------------------------

    async def counters(self, ids: Sequence[str] | None = None) -> Mapping[str, Counters]:
        """Counters by mapping id (of all, or of these): all workers, those that are gone included."""
        return await self.figures.read(ids)

    async def flows(self, mapping_id: str) -> Sequence[Flow]:
        """The live flows of a mapping, the newest first."""
        rows = await self._ask_each(mapping_id, lambda control: control.flows(mapping_id))
        return sorted(map(read_flow, rows), key=lambda flow: flow.age)

    async def sources(self, mapping_id: str) -> Sequence[SourceUse]:
        """What each source did with a mapping, the latest first."""
        return read_sources(await self._ask_each(mapping_id, lambda control: control.sources(mapping_id)))

    async def kill(self, mapping_id: str | None, source: IPNetwork | None) -> int:
        """End live flows at once: of a mapping, from a prefix, or those that are both; how many.

        Who may come in stays as it is: who was cut off may come again.
        """
        if mapping_id is None and source is None:
            return 0
        count = 0
        for hand, control in self._crew.live:
            if mapping_id is None or mapping_id in hand.held:
                with suppress(WorkerRefusedError, WorkerLostError):  # it let the mapping go, or is gone
                    count += await control.cut(mapping_id, None if source is None else str(source))
        return count

    # -- within --------------------------------------------------------------------------

    async def _ensure_crew(self) -> None:
        """Have every worker there, and none of them let in who is banned.

        Raises:
            WorkerLostError: one could not be started, or went while it was told.
            WorkerRefusedError: one is of a version that knows no bans, and there are some.
        """
        await self._crew.ensure()
        bans = self._bans
        for hand, control in self._crew.live:
            if hand.bans == bans:
                continue
            try:
                await control.ban(bans)
            except WorkerRefusedError:
                if bans:
                    raise
            hand.bans = bans
        await self._introductions.complete()

    async def _ask_each(self, mapping_id: str, ask: Callable[[Control], Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for hand, control in self._crew.live:
            if mapping_id in hand.held:
                with suppress(WorkerRefusedError, WorkerLostError):  # it let the mapping go, or is gone
                    rows += await ask(control)
        return rows

    def _render(self, wanted: Wanted) -> tuple[Entry, str]:
        """The whole entry and its digest, worked out once for each `Wanted`."""
        known = self._rendered.get(wanted.mapping.id)
        if known is None or known[0] is not wanted:
            own = own_networks() if wanted.mapping.target.kind is TargetKind.SOCKS else ()
            entry = render(wanted, dual=self._dual, own=own)
            known = self._rendered[entry.id] = (wanted, entry, entry.digest)
        return known[1], known[2]

    def _lost(self, hand: Hand) -> None:
        """A worker died: what it held is to be put again, and its figures are kept."""
        self.figures.lose(hand.index)
        self._put.update(dict.fromkeys(hand.held.keys() & self._put.keys(), ""))
        self.on_change()

    async def _put_batch(self, batch: Sequence[Wanted]) -> dict[str, Problem]:
        entries = [self._render(wanted) for wanted in batch]
        before = self._paths([entry.id for entry, _ in entries])
        for attempt in (1, 2):
            try:
                failed = await share_out(entries, self._crew)
                break
            except WorkerLostError as lost:
                _log.warning("worker_lost_while_applying", attempt=attempt, why=str(lost))
                failed = {entry.id: Problem("unexpected", what=str(lost)) for entry, _ in entries}
                with suppress(WorkerLostError, WorkerRefusedError):  # told by the next try, or above
                    await self._ensure_crew()
        for entry, digest in entries:
            if entry.id not in failed:
                self._put[entry.id] = digest
                self._entries[entry.id] = entry
                self._closing.pop(entry.id, None)
        if before:
            for path in before - self._paths([entry.id for entry, _ in entries]):
                discard_path(path)
        return failed

    async def _remove(self, graces: Mapping[str, float]) -> None:
        if not graces:
            return
        for key, grace in graces.items():
            self._put.pop(key, None)
            self._rendered.pop(key, None)
            entry = self._entries.pop(key, None)
            if entry is not None and grace > 0:
                self._closing[key] = entry, time.monotonic() + grace
        paths = self._paths(graces)
        await asyncio.gather(*(_remove_from(hand, control, graces) for hand, control in self._crew.live))
        for path in paths:
            discard_path(path)

    def _paths(self, ids: Iterable[str]) -> set[str]:
        """The unix sockets that workers listen at for these mappings."""
        held = [hand.held[key] for key in ids for hand in self._crew.hands if key in hand.held]
        return {key[1] for each in held for key in each.listens if key[0] == "unix"}

    def _closing_entries(self) -> list[Entry]:
        """Entries that were removed and whose flows may still have their grace."""
        now = time.monotonic()
        self._closing = {key: value for key, value in self._closing.items() if value[1] > now}
        return [entry for entry, _ in self._closing.values()]

    async def _free_udp_ports(self, entries: Sequence[Entry]) -> None:
        """Let go of UDP ports that `entries` want and a closed mapping keeps for its last flows, or one
        of `entries` itself is leaving.

        A UDP socket is not shared, as TCP's are: two on one port would each get some peers.
        """
        wanted = {port for entry in entries for port in _udp_ports(entry)}
        if not wanted:
            return
        ending = {
            entry.id: 0.0 for entry in self._closing_entries() if wanted.intersection(_udp_ports(entry))
        }
        if ending:
            with suppress(WorkerLostError):  # and its ports with it
                await asyncio.gather(*(control.set(remove=ending) for _, control in self._crew.live))
        for key in ending:
            del self._closing[key]
        stay = {entry.id: _udp_sockets(entry) for entry in entries}
        held = [(key, each) for hand in self._crew.hands for key, each in hand.held.items()]
        leaving = [key for key, each in held if wanted & _ports_left(each, stay.get(key))]
        await self._remove(dict.fromkeys(leaving, 0.0))

    async def _hand_over(self) -> None:
        """Have the workers stop accepting by themselves unless a daemon takes them over soon.

        A service manager stops and restarts us by the same signal: after a restart the ports
        are still there, after a stop they close.
        """
        until = time.time() + HANDOVER
        parts = [shares(entry, len(self._crew.hands)) for entry in self._entries.values()]
        for hand, control in self._crew.live:
            mine = [part[hand.index] for part in parts if hand.index in part]
            mine = [each for each in mine if each.id in hand.held]
            ending = [replace(each, accept_until=min(each.accept_until or until, until)) for each in mine]
            with suppress(WorkerLostError):  # gone, and its ports with it
                await control.set(ending)


async def _remove_from(hand: Hand, control: Control, graces: Mapping[str, float]) -> None:
    there = {key: grace for key, grace in graces.items() if key in hand.held}
    if there:
        with suppress(WorkerLostError):  # then nothing of it is left to remove
            await control.set(remove=there)
        for key in there:
            hand.held.pop(key, None)


def _spot(key: ListenKey) -> tuple[str, str | int]:
    """What of a socket two mappings cannot both have: the port, or the path."""
    protocol, address, port, _ = key
    return (protocol, address if protocol == "unix" else port)


def _udp_ports(entry: Entry) -> set[int]:
    return {listen.port for listen in entry.sockets if listen.protocol == "udp"}


def _udp_sockets(entry: Entry) -> set[ListenKey]:
    return {key_of(one) for one in entry.sockets if one.protocol == "udp"}


def _ports_left(held: Held, stay: AbstractSet[ListenKey] | None) -> set[int]:
    """The UDP ports of sockets that a worker holds and that are not to stay there.

    `stay` None: nobody says. Then those of an entry that accepts are to stay, and those that an
    ended one of an earlier daemon keeps for its last flows are not.
    """
    if stay is None and held.accepting:
        return set()
    return {key[2] for key in held.listens - (stay or set()) if key[0] == "udp"}
