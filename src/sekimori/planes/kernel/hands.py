"""The hands of the kernel plane: everything that asks the kernel, or has it change. All of it blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import structlog

from sekimori.host.listeners import Listener, read_listeners
from sekimori.host.nfsocket import NetfilterError
from sekimori.host.nftables import NftError
from sekimori.model.address import IPNetwork, On
from sekimori.model.errors import Problem
from sekimori.model.gateway import Gateway
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.network import Network
from sekimori.planes.kernel import forwarding
from sekimori.planes.kernel.cutting import Cutter
from sekimori.planes.kernel.elements import terms_of
from sekimori.planes.kernel.filling import MANY
from sekimori.planes.kernel.frame import Frame
from sekimori.planes.kernel.guests import Guests
from sekimori.planes.kernel.killing import ended_items
from sekimori.planes.kernel.meter import KernelMeter
from sekimori.planes.kernel.stock import LEFTOVER, Stock
from sekimori.planes.kernel.table import Table
from sekimori.planes.kernel.terms import busy, find_listener, find_taken, why_unfit
from sekimori.reconcile.ports import Changes, Ground, Wanted
from sekimori.wire.conntrack import Entry

__all__ = ["Hands"]

_FEW: Final = 50
"""Mappings up to which each one's ports are tried by themselves."""

_NOTHING: Final = MappingProxyType[str, str]({})

_log = structlog.get_logger("kernel")


class Hands:
    """What is in the kernel, and how it is changed: one call after the other, from worker threads.

    Every method raises `NftError` or `NetfilterError` when the kernel refuses.

    Attributes:
        network: the machine's place, as `reframe` told it last.
        present: mappings of other planes that listen on this machine. They are handed over before a call:
            the ledger is not for worker threads.
        unsure: what is there may not be what was put; `look` finds out.
        in_doubt: somebody should have another look soon.
        opened: mappings opened since this was emptied last, for `clear_stale`.
        last_gateway: the gateway that was enabled last, disabled or not.
        workers: processes of this program's own, whose sockets are in nobody's way.
    """

    def __init__(self, table: Table, cutter: Cutter) -> None:
        self.network = Network()
        self.present: tuple[PortMapping, ...] = ()
        self.unsure = True
        self.in_doubt = False
        self.opened: set[str] = set()
        self.last_gateway: Callable[[], Gateway | None] = lambda: None
        self.workers: Callable[[], Collection[int]] = tuple
        self._table = table
        self._cutter = cutter
        self._cutter.before_forgetting = self._remember_ended
        self._stock = Stock(table)
        self._guests = Guests()
        self.meter = KernelMeter(table, cutter, self._stock.held, lambda: self.network)
        self._ground = Ground()
        self._numbers: dict[str, int] = {}
        self._banned: set[IPNetwork] = set()
        self._is_first = True
        self._routes = forwarding.ReplyRoutes()
        self._fit: set[tuple[tuple[str, ...], On | None, str]] = set()
        """Places that mappings may lead to in this network: few, and asked about with every mapping."""

    @property
    def marks(self) -> Mapping[str, str]:
        """What is there, by mapping id (`reconcile.ports.Plane.observe`)."""
        return self._stock.marks

    def is_ours(self, port: int) -> bool:
        """Whether a transaction of that netlink port was one of ours."""
        return self._table.is_ours(port)

    def reframe(self, network: Network) -> None:
        """Go by another network from now on."""
        self.network = network
        self._fit = set()

    @property
    def needs_look(self) -> bool:
        """Whether `look` has anything to see to. Asks nobody."""
        frame = self._stock.frame
        if self.unsure or self._is_needed() != (frame is not None):
            return True
        return frame is not None and frame.firewall and bool(self.present or self._guests.are_any)

    def is_quick(self, changes: Changes) -> bool:
        """Whether `apply` takes less than a turn of a thread: one new mapping, in a table that stands.

        There is nothing to walk conntrack for then, and no route to ask anybody about.
        """
        if self.unsure or len(changes.put) != 1 or changes.remove or self._stock.frame is None:
            return False
        return changes.put[0].mapping.id not in self._stock.held and self._routes.are_made(self._stock.frame)

    def look(self) -> None:
        """See what is there, where that may have changed without us, and who is to be let in."""
        if self.unsure:
            self._survey()
        elif self._is_needed() != (self._stock.frame is not None):  # guests came, or the last one went
            self._follow_guests()
        elif self._stock.frame is not None and self._stock.frame.firewall:
            self._admit_guests()

    def lay(self, ground: Ground) -> Problem | None:
        """Make the ground real (`reconcile.ports.Plane.lay`); why not all of it could be."""
        before, self._ground = self._ground.gateway, ground
        if self._is_first:
            before = self._gateway_cut_short(ground)
        problem = None
        try:
            if ground.gateway is not None:
                forwarding.set_up(ground.gateway)
                # The kernel tells of it too, but whoever asks for a mapping next need not wait for that.
                self.reframe(forwarding.as_set_up(self.network, ground.gateway))
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

    def apply(self, changes: Changes) -> Mapping[str, Problem]:
        """Put and remove (`reconcile.ports.Plane.apply`), and end the flows that are not allowed any more."""
        failed = self._refuse(changes.put)
        put = {wanted.mapping.id: wanted for wanted in changes.put if wanted.mapping.id not in failed}
        # What cannot be any more is not left as it was: where it led is another place now.
        remove = [*changes.remove, *(key for key in failed if key in self._stock.held)]
        before = {key: self._stock.held.get(key) for key in (*put, *remove)}
        self._make_room(put.values())
        try:
            self._change(put, remove, changes.marks)
        except (NftError, NetfilterError) as error:
            if len(put) + len(remove) < 2:
                raise
            _log.warning("kernel_refused_together", why=str(error), mappings=len(put) + len(remove))
            left = {key: wanted for key, wanted in put.items() if self._stock.held.get(key) is not wanted}
            failed |= self._change_singly(left, remove)
        self._cut(before, sweep=LEFTOVER in changes.remove)
        self._settle()
        self._route_soon()
        return failed

    def find_near(self, opened: Iterable[str]) -> list[Entry]:
        """The flows among which there may be stale ones. It changes nothing, and any other call may go on."""
        wanted = [each for key in opened if (each := self._stock.held.get(key)) is not None]
        return self._cutter.near(wanted, self.network)

    def clear_stale(self, opened: Iterable[str], near: Iterable[Entry]) -> None:
        """Forget what peers of ports just opened are still pinned to."""
        held = self._stock.held
        changes = [(None, held[key]) for key in opened if key in held]
        self._cutter.cut_among(near, changes, self.network, held.values())

    def kill(self, mapping_id: str | None, source: IPNetwork | None) -> int:
        """End live flows of a mapping (None: of all), from a prefix (None: from anywhere); how many."""
        held = self._stock.held
        if mapping_id is not None and mapping_id not in held:
            return 0
        wanted = None if mapping_id is None else held[mapping_id]
        return self._cutter.kill(wanted, source, self.network, held.values())

    # -- within --------------------------------------------------------------------------

    def _survey(self) -> None:
        self.unsure = False  # before: what is changed while it is read is to be looked at again
        self._stock.survey(time.time())
        if self._is_needed():
            self._settle()

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
        return len(self.network.wans) > 1 and bool(self.present)

    def _follow_guests(self) -> None:
        self._settle()
        self._route_soon()

    def _route_soon(self) -> None:
        """Follow the table with routes. Here nobody can be told what is in the way: `lay` tries again."""
        if self._routes.follow(self._stock.frame) is not None:
            self.in_doubt = True

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
        mapping = wanted.mapping
        place = wanted.targets, mapping.on, mapping.target.kind.value
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

    def _change(
        self, put: Mapping[str, Wanted], remove: Collection[str], known: Mapping[str, str] = _NOTHING
    ) -> None:
        """Put and remove. `known` are fingerprints that need not be worked out again."""
        marks = {key: known.get(key) or terms_of(wanted) for key, wanted in put.items()}
        # Figures of elements that are about to be replaced would go with them.
        self.meter.carry(key for key in put if key in self._stock.held)
        if len(put) > MANY and not remove and self._stock.lacks(put):
            is_sure = self._stock.fill(put, time.time(), marks)
        else:
            is_sure = self._stock.change(put, remove, time.time(), marks)
        if not is_sure:
            self.unsure = True
            self.in_doubt = True
        self.meter.forget(remove)

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
                self.unsure = True
        return failed

    def _cut(self, before: Mapping[str, Wanted | None], *, sweep: bool) -> None:
        """End the flows that are not allowed any more."""
        standing = self._stock.held.values()
        changed = [(old, self._stock.held.get(key)) for key, old in before.items() if old is not None]
        if changed:
            self._cutter.cut(changed, self.network, standing)
        opened = [key for key, old in before.items() if old is None]
        self.opened.update(opened)
        if sweep:  # the first look, or one after a loss: what ended unseen left its flows behind
            self._cutter.cut_orphans(standing, self.network, self.present)

    def _cut_banned(self) -> None:
        banned = {ban.prefix for ban in self._ground.bans}
        for prefix in banned - self._banned:
            self._cutter.kill(None, prefix, self.network, self._stock.held.values())
        self._banned = banned

    def _admit_guests(self) -> None:
        """Let the firewall admit what listens here for other planes."""
        guests = self.present if self._stock.frame is not None and self._stock.frame.firewall else ()
        put, remove, known = self._guests.compare(guests, time.time(), self._stock.lost)
        if put:  # one on an address of its own takes a place that may not be there yet
            self._stock.lay(self._frame(put.values()), time.time())
        if put or remove:
            self._stock.change(put, remove, time.time(), {})
        self._guests.settle(known)

    def _remember_ended(self, entries: Sequence[Entry]) -> None:
        now = time.time()
        if self._stock.frame is not None and not self._table.write((), ended_items(entries, now), now):
            self.unsure = True
            self.in_doubt = True


def _finder() -> Callable[[PortMapping, Sequence[PortMapping]], tuple[str, Listener] | None]:
    """`find_listener` for many mappings, on one reading: next to none of them is on a port that is taken."""
    listeners = read_listeners()
    taken = {listener.port for listener in listeners}

    def find(mapping: PortMapping, leaving: Sequence[PortMapping]) -> tuple[str, Listener] | None:
        for pair in mapping.ports:
            if pair.outside.first != pair.outside.last or pair.outside.first in taken:
                return find_listener(mapping, listeners, leaving)
        return None

    return find
