"""The plane that makes mappings elements of the kernel's table.

What is there is known by rendering again what is held: no copy of 60,000 mappings' elements is kept. After
a start, and after somebody else changed the ruleset, what is there is read once and compared.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import Final, TypeVar

import structlog

from sekimori.host.listeners import Listener, read_listeners
from sekimori.host.nfmonitor import Monitor, Overrun
from sekimori.host.nfsocket import NetfilterError
from sekimori.host.nftables import NftError
from sekimori.model.address import IPNetwork, On
from sekimori.model.causes import Text
from sekimori.model.errors import Problem
from sekimori.model.gateway import Gateway
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.network import Network
from sekimori.model.target import TargetKind
from sekimori.planes.kernel import forwarding
from sekimori.planes.kernel.cutting import Cutter
from sekimori.planes.kernel.frame import Frame
from sekimori.planes.kernel.guests import Guests
from sekimori.planes.kernel.killing import ended_items
from sekimori.planes.kernel.meter import KernelMeter
from sekimori.planes.kernel.stock import LEFTOVER, Stock
from sekimori.planes.kernel.table import Table
from sekimori.planes.kernel.terms import busy, find_listener, find_taken, why_unable, why_unfit
from sekimori.reconcile.ports import Changes, Ground, Wanted
from sekimori.wire.conntrack import Entry

__all__ = ["KernelPlane"]

T = TypeVar("T")

_FEW: Final = 50
"""Mappings up to which each one's ports are tried by themselves."""

_log = structlog.get_logger("kernel")


class KernelPlane:
    """Mappings as elements of `inet sekimori`. See `reconcile.ports.Plane` for what its methods promise.

    Everything that asks the kernel runs in a thread, one call after the other.

    Args:
        table: the hold on the table, made in the network namespace to work in.
        cutter: what ends flows.
        monitor: what tells of others' changes.

    Attributes:
        obstacle: why this machine cannot be a gateway: nothing, where there is this plane.
        on_change: called when what is there may no longer be what was put.
        network: the machine's place, as `reframe` told it last.
        guests: mappings of other planes that listen on this machine, and that the firewall must let in.
        workers: processes that listen for mappings of other planes. One that moved here leaves its listener
            behind for the grace of its flows; newcomers do not come to it.
        last_gateway: the gateway that was enabled last, disabled or not; what it found is given back
            when a disable was cut short.
    """

    def __init__(self, table: Table, cutter: Cutter, monitor: Monitor) -> None:
        self.name = "kernel"
        self.obstacle = None
        self.on_change: Callable[[], None] = lambda: None
        self.network = Network()
        self.guests: Callable[[], Iterable[PortMapping]] = tuple
        self.workers: Callable[[], Collection[int]] = tuple
        self.last_gateway: Callable[[], Gateway | None] = lambda: None
        self._table = table
        self._cutter = cutter
        self._cutter.before_forgetting = self._remember_ended
        self._stock = Stock(table)
        self._guests = Guests()
        self.meter = KernelMeter(table, cutter, self._stock.held, lambda: self.network)
        self._ground = Ground()
        self._numbers: dict[str, int] = {}
        self._lock = asyncio.Lock()
        self._banned: set[IPNetwork] = set()
        self._unsure = True
        self._is_first = True
        self._present: tuple[PortMapping, ...] = ()
        """The guests, as they were when the last call came: the ledger is not for worker threads."""
        self._routes = forwarding.ReplyRoutes()
        self._fit: set[tuple[tuple[str, ...], On | None, TargetKind]] = set()
        """Places that mappings may lead to in this network: few, and asked about with every mapping."""
        self._monitor = monitor
        self._held_open = ExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened: set[str] = set()
        self._clear = asyncio.Event()

    def adopt(self, resources: ExitStack) -> None:
        """Close these with the plane."""
        self._held_open = resources

    def start(self) -> None:
        """Listen for what others do to the ruleset, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._monitor.fileno(), self._hear)

    async def run(self) -> None:
        """Clear what peers of ports just opened are still pinned to, for ever.

        Conntrack remembers, for as long as datagrams keep coming, that nothing was to be done with them.
        To find those takes a walk over all flows (5 ms and more), which the answer need not wait for.
        """
        while True:
            await self._clear.wait()
            self._clear.clear()
            opened, self._opened = self._opened, set()
            async with self._lock:
                try:
                    await self._call(self._clear_stale, opened)
                except Problem as problem:
                    _log.warning("stale_flows_not_cleared", problem=problem.title())

    def _clear_stale(self, opened: Iterable[str]) -> None:
        held = self._stock.held
        self._cutter.cut([(None, held[key]) for key in opened if key in held], self.network, held.values())

    async def close(self) -> None:
        """Let go. The table stays, with all that is in it."""
        async with self._lock:
            if self._loop is not None:
                self._loop.remove_reader(self._monitor.fileno())
                self._loop = None
            await asyncio.to_thread(self._held_open.close)

    def reframe(self, network: Network) -> None:
        """Go by another network from now on; the engine is to ask for `lay` after this."""
        self.network = network
        self._fit = set()

    def _hear(self) -> None:
        """Somebody changed the ruleset. Unless it was us, the next `observe` reads what is there."""
        events = self._monitor.read()
        lost = any(isinstance(event, Overrun) for event in events)
        if lost and self._loop is not None:
            # libuv stops watching a socket that reported an error, as one that overran does.
            self._loop.remove_reader(self._monitor.fileno())
            self._loop.add_reader(self._monitor.fileno(), self._hear)
        foreign = lost or any(
            not isinstance(event, Overrun) and not self._table.is_ours(event.port) for event in events
        )
        if foreign and not self._unsure:
            self._unsure = True
            self.on_change()

    # -- Plane ---------------------------------------------------------------------------

    def unable(self, mapping: PortMapping) -> Text | None:
        """What its terms, or this machine's place in the network, keep the kernel from."""
        return why_unable(mapping, self.network)

    async def preflight(self, mapping: PortMapping, leaving: Sequence[PortMapping]) -> Problem | None:
        """Whether something on this machine listens on a port that would be taken from it."""
        found = await asyncio.to_thread(find_taken, mapping, leaving)
        return None if found is None else await asyncio.to_thread(busy, *found, self.workers())

    async def lay(self, ground: Ground) -> Problem | None:
        """The gateway's settings, the firewall, translation and bans; and routes for several WANs."""
        async with self._lock:
            self._present = tuple(self.guests())
            return await self._call(self._lay, ground)

    def fingerprint(self, wanted: Wanted) -> str:
        """A hash of the terms, good for this process."""
        mapping = wanted.mapping
        terms = (
            mapping.ports, mapping.target, mapping.on, mapping.limits, mapping.log, mapping.trigger,
            mapping.excepted, mapping.proxy_protocol, mapping.idle,
        )  # fmt: skip
        return f"{hash((terms, wanted.accept_until, wanted.targets, wanted.sources)):x}"

    async def observe(self) -> Mapping[str, str]:
        """What was put; read from the kernel when somebody else may have changed it."""
        async with self._lock:
            self._present = tuple(self.guests())
            if self._unsure:
                await self._call(self._survey)
            elif self._is_needed() != (self._stock.frame is not None):  # guests came, or the last one went
                await self._call(self._follow_guests)
            elif self._stock.frame is not None and self._stock.frame.firewall:
                await self._call(self._admit_guests)
        return MappingProxyType(self._stock.marks)

    async def apply(self, changes: Changes) -> Mapping[str, Problem]:
        """Put and remove elements, then end the flows that are not allowed any more."""
        async with self._lock:
            self._present = tuple(self.guests())
            return await self._call(self._apply, changes)

    # -- in a thread -----------------------------------------------------------------------

    async def _call(self, function: Callable[..., T], *arguments: object) -> T:
        """Run something that asks the kernel. It is finished even if who waits goes away.

        Raises:
            Problem: `kernel-refused`.
        """
        running = asyncio.get_running_loop().run_in_executor(None, functools.partial(function, *arguments))
        cancelled: asyncio.CancelledError | None = None
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            running.exception()  # taken, so that it is not reported as lost
            raise cancelled
        try:
            return running.result()
        except (NftError, NetfilterError) as error:
            self._unsure = True
            raise Problem("kernel-refused", why=str(error)) from None

    def _survey(self) -> None:
        self._stock.survey(time.time())
        self._unsure = False
        if self._is_needed():
            self._settle()

    def _lay(self, ground: Ground) -> Problem | None:
        before, self._ground = self._ground.gateway, ground
        if self._is_first:
            before = self._gateway_cut_short(ground)
        problem = None
        try:
            if ground.gateway is not None:
                forwarding.set_up(ground.gateway)
        except Problem as found:
            problem = found
        self._settle()
        if before is not None and ground.gateway is None:
            try:
                forwarding.give_back(before)
            except Problem as found:
                problem = found
        self._routes.doubt()
        problem = self._routes.follow(self._stock.frame) or problem
        self._cut_banned()
        self._is_first = False
        return problem

    def _gateway_cut_short(self, ground: Ground) -> Gateway | None:
        """The gateway whose disabling ended half way: what it made is still there, and nobody wants it."""
        self._survey()
        return self.last_gateway() if ground.gateway is None and self._stock.shows_gateway else None

    def _settle(self) -> None:
        """Bring the table to the facts, or take it away when nobody needs it."""
        now = time.time()
        if self._is_needed():
            if self._stock.frame is None:
                forwarding.switch_counting_on()
                self._table.keep_nat()
            self._stock.lay(self._frame(), now)
            self._admit_guests()
        if not self._is_needed() and not self._is_first and self._stock.is_there:
            self._stock.clear()
            self._guests.forget()
            self._table.release_keeper()

    def _is_needed(self) -> bool:
        if self._stock.held or self._ground.gateway or self._ground.bans:
            return True
        # What answers here for other planes has to answer by the line that it was asked by.
        return len(self.network.wans) > 1 and bool(self._present)

    def _follow_guests(self) -> None:
        self._settle()
        self._route_soon()

    def _route_soon(self) -> None:
        """Follow the table with routes. Here nobody can be told what is in the way: `lay` tries again."""
        if self._routes.follow(self._stock.frame) is not None:
            self._wake()

    def _frame(self, coming: Iterable[Wanted] = ()) -> Frame:
        self._numbers = forwarding.number_wans(self.network, self._numbers)
        return Frame(
            self.network,
            self._ground.gateway,
            self._ground.bans,
            self._stock.scopes(coming),
            tuple(sorted(self._numbers.items())),
            self._stock.carries_gre(coming),
        )

    def _apply(self, changes: Changes) -> Mapping[str, Problem]:
        failed = self._refuse(changes.put)
        put = {wanted.mapping.id: wanted for wanted in changes.put if wanted.mapping.id not in failed}
        # What cannot be any more is not left as it was: where it led is another place now.
        remove = [*changes.remove, *(key for key in failed if key in self._stock.held)]
        before = {key: self._stock.held.get(key) for key in (*put, *remove)}
        self._make_room(put.values())
        try:
            self._change(put, remove)
        except (NftError, NetfilterError) as error:
            if len(put) + len(remove) < 2:
                raise
            _log.warning("kernel_refused_together", why=str(error), mappings=len(put) + len(remove))
            failed |= self._change_singly(put, remove)
        self._cut(before, sweep=LEFTOVER in changes.remove)
        self._settle()
        self._route_soon()
        return failed

    def _refuse(self, wanted: Sequence[Wanted]) -> dict[str, Problem]:
        """What cannot be made as things are now, by mapping id."""
        failed: dict[str, Problem] = {}
        find = find_taken if len(wanted) <= _FEW else _finder()
        for each in wanted:
            problem = self._why_unfit(each)
            old = self._stock.held.get(each.mapping.id)
            if problem is None and (old is None or old.mapping.ports != each.mapping.ports):
                found = find(each.mapping, () if old is None else (old.mapping,))
                problem = None if found is None else busy(*found, self.workers())
            if problem is not None:
                failed[each.mapping.id] = problem
        return failed

    def _why_unfit(self, wanted: Wanted) -> Problem | None:
        place = wanted.targets, wanted.mapping.on, wanted.mapping.target.kind
        if place in self._fit:
            return None
        problem = why_unfit(wanted, self.network)
        if problem is None:
            self._fit.add(place)
        return problem

    def _make_room(self, coming: Iterable[Wanted]) -> None:
        """See that the structure is there for mappings that are about to be put."""
        coming = tuple(coming)
        if coming:
            if self._stock.frame is None:
                forwarding.switch_counting_on()
                self._table.keep_nat()
            self._stock.lay(self._frame(coming), time.time())
            self._route_soon()

    def _change(self, put: Mapping[str, Wanted], remove: Iterable[str]) -> None:
        marks = {key: self.fingerprint(wanted) for key, wanted in put.items()}
        # Figures of elements that are about to be replaced would go with them.
        self.meter.carry(key for key in put if key in self._stock.held)
        if not self._stock.change(put, remove, time.time(), marks):
            self._unsure = True
            self._wake()
        self.meter.forget(remove)

    def _wake(self) -> None:
        """Have the engine look again; from a worker thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.on_change)

    def _change_singly(self, put: Mapping[str, Wanted], remove: Iterable[str]) -> dict[str, Problem]:
        """One transaction for each mapping, so that what the kernel refuses is told by its name."""
        failed: dict[str, Problem] = {}
        steps: list[tuple[dict[str, Wanted], list[str]]] = [({}, [key]) for key in remove] + [
            ({key: wanted}, []) for key, wanted in put.items()
        ]
        for some, others in steps:
            try:
                self._change(some, others)
            except (NftError, NetfilterError) as error:
                failed |= dict.fromkeys((*some, *others), Problem("kernel-refused", why=str(error)))
                self._unsure = True
        return failed

    def _cut(self, before: Mapping[str, Wanted | None], *, sweep: bool) -> None:
        """End the flows that are not allowed any more."""
        standing = self._stock.held.values()
        self._cutter.cut(
            [(old, self._stock.held.get(key)) for key, old in before.items() if old is not None],
            self.network,
            standing,
        )
        opened = [key for key, old in before.items() if old is None]
        if opened and self._loop is not None:
            self._loop.call_soon_threadsafe(self._opened.update, opened)
            self._loop.call_soon_threadsafe(self._clear.set)
        if sweep:  # the first look, or one after a loss: what ended unseen left its flows behind
            self._cutter.cut_orphans(standing, self.network, self._present)

    def _cut_banned(self) -> None:
        banned = {ban.prefix for ban in self._ground.bans}
        for prefix in banned - self._banned:
            self._cutter.kill(None, prefix, self.network, self._stock.held.values())
        self._banned = banned

    def _admit_guests(self) -> None:
        """Let the firewall admit what listens here for other planes."""
        guests = self._present if self._stock.frame is not None and self._stock.frame.firewall else ()
        put, remove, known = self._guests.compare(guests, time.time(), self._stock.lost)
        if put or remove:
            self._stock.change(put, remove, time.time(), {})
        self._guests.settle(known)

    # -- flows -----------------------------------------------------------------------------

    async def kill(self, mapping_id: str | None, source: IPNetwork | None) -> int:
        """End live flows of a mapping (None: of all), from a prefix (None: from anywhere); how many."""
        async with self._lock:
            return await self._call(self._kill, mapping_id, source)

    def _kill(self, mapping_id: str | None, source: IPNetwork | None) -> int:
        held = self._stock.held
        if mapping_id is not None and mapping_id not in held:
            return 0
        wanted = None if mapping_id is None else held[mapping_id]
        return self._cutter.kill(wanted, source, self.network, held.values())

    def _remember_ended(self, entries: Sequence[Entry]) -> None:
        now = time.time()
        if self._stock.frame is not None and not self._table.write((), ended_items(entries, now), now):
            self._unsure = True
            self._wake()


def _finder() -> Callable[[PortMapping, Sequence[PortMapping]], tuple[str, Listener] | None]:
    """`find_listener` for many mappings, on one reading: next to none of them is on a port that is taken."""
    listeners = read_listeners()
    taken = {listener.port for listener in listeners}

    def find(mapping: PortMapping, leaving: Sequence[PortMapping]) -> tuple[str, Listener] | None:
        spans = [pair.outside for pair in mapping.ports]
        if all(span.first == span.last and span.first not in taken for span in spans):
            return None
        return find_listener(mapping, listeners, leaving)

    return find
