"""The plane that makes mappings elements of the kernel's table.

What is there is known by rendering again what is held: no copy of 60,000 mappings' elements is kept. After
a start, and after somebody else changed the ruleset, what is there is read once and compared.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import Final, TypeVar

import structlog

from sekimori.host.nfmonitor import Monitor, Overrun
from sekimori.host.nfsocket import NetfilterError
from sekimori.host.nftables import NftError
from sekimori.model.address import IPNetwork
from sekimori.model.causes import Text
from sekimori.model.errors import Problem
from sekimori.model.gateway import Gateway
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.network import Network
from sekimori.planes.kernel.cutting import Cutter
from sekimori.planes.kernel.elements import terms_of
from sekimori.planes.kernel.hands import Hands
from sekimori.planes.kernel.table import Table
from sekimori.planes.kernel.terms import are_free, busy, find_taken, why_unable
from sekimori.reconcile.ports import Changes, Ground, Wanted

__all__ = ["KernelPlane"]

T = TypeVar("T")

_CLEAR_AFTER: Final = 0.1
"""Seconds from opening a port to clearing what its peers are still pinned to."""

_CLEAR_EVERY: Final = 2.0
"""Seconds at least between two such clearings. The kernel gives up its CPU for nobody while it walks over
all flows (5 ms with 262,144 buckets), so that whoever opens ports meanwhile waits."""

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
    """

    def __init__(self, table: Table, cutter: Cutter, monitor: Monitor) -> None:
        self.name = "kernel"
        self.obstacle = None
        self.on_change: Callable[[], None] = lambda: None
        self._guests: Callable[[], Iterable[PortMapping]] = tuple
        self._hands = Hands(table, cutter)
        self.meter = self._hands.meter
        self._lock = asyncio.Lock()
        self._monitor = monitor
        self._held_open = ExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clear = asyncio.Event()

    def join(
        self,
        guests: Callable[[], Iterable[PortMapping]],
        workers: Callable[[], Collection[int]],
        last_gateway: Callable[[], Gateway | None],
    ) -> None:
        """Tell it where to ask, before the engine first runs.

        Args:
            guests: mappings of other planes that listen on this machine, and that the firewall must let in.
            workers: processes that listen for them. A mapping that moved here leaves its listener behind for
                the grace of its flows; newcomers do not come to it.
            last_gateway: the gateway that was enabled last, disabled or not; what it found is given back when
                a disable was cut short.
        """
        self._guests = guests
        self._hands.workers, self._hands.last_gateway = workers, last_gateway

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
        To find those takes a walk over all flows, which the answer need not wait for, and one walk does
        for all ports that were opened since the last. Other changes go on meanwhile: what is near is found
        without the lock, and what of it is stale is decided with it.
        """
        while True:
            await self._clear.wait()
            await asyncio.sleep(_CLEAR_AFTER)
            self._clear.clear()
            async with self._lock:  # nobody is adding to them
                opened, self._hands.opened = self._hands.opened, set()
            try:
                near = await self._call(self._hands.find_near, opened)
                if near:
                    async with self._lock:
                        await self._call(self._hands.clear_stale, opened, near)
            except Problem as problem:
                _log.warning("stale_flows_not_cleared", problem=problem.title())
            await asyncio.sleep(_CLEAR_EVERY - _CLEAR_AFTER)

    async def close(self) -> None:
        """Let go. The table stays, with all that is in it."""
        async with self._lock:
            if self._loop is not None:
                self._loop.remove_reader(self._monitor.fileno())
                self._loop = None
            await asyncio.to_thread(self._held_open.close)

    @property
    def network(self) -> Network:
        """The machine's place, as `reframe` told it last."""
        return self._hands.network

    def reframe(self, network: Network) -> None:
        """Go by another network from now on; the engine is to ask for `lay` after this."""
        self._hands.reframe(network)

    def _hear(self) -> None:
        """Somebody changed the ruleset. Unless it was us, the next `observe` reads what is there."""
        events = self._monitor.read()
        lost = any(isinstance(event, Overrun) for event in events)
        if lost and self._loop is not None:
            # libuv stops watching a socket that reported an error, as one that overran does.
            self._loop.remove_reader(self._monitor.fileno())
            self._loop.add_reader(self._monitor.fileno(), self._hear)
        foreign = lost or any(
            not isinstance(event, Overrun) and not self._hands.is_ours(event.port) for event in events
        )
        if foreign and not self._hands.unsure:
            self._hands.unsure = True
            self.on_change()

    # -- Plane ---------------------------------------------------------------------------

    def unable(self, mapping: PortMapping) -> Text | None:
        """What its terms, or this machine's place in the network, keep the kernel from."""
        return why_unable(mapping, self._hands.network)

    async def preflight(self, mapping: PortMapping, leaving: Sequence[PortMapping]) -> Problem | None:
        """Whether something on this machine listens on a port that would be taken from it."""
        if are_free(mapping):
            return None
        found = await asyncio.to_thread(find_taken, mapping, leaving)
        return None if found is None else await asyncio.to_thread(busy, *found, self._hands.workers())

    async def lay(self, ground: Ground) -> Problem | None:
        """The gateway's settings, the firewall, translation and bans; and routes for several WANs."""
        async with self._lock:
            return await self._call(self._hands.lay, ground)

    def fingerprint(self, wanted: Wanted) -> str:
        """A hash of the terms, good for this process."""
        return terms_of(wanted)

    async def observe(self) -> Mapping[str, str]:
        """What was put; read from the kernel when somebody else may have changed it."""
        async with self._lock:
            self._hands.present = tuple(self._guests())
            if self._hands.needs_look:  # seldom, and a thread's turn costs more than what it seldom does
                await self._call(self._hands.look)
        return MappingProxyType(self._hands.marks)

    async def apply(self, changes: Changes) -> Mapping[str, Problem]:
        """Put and remove elements, then end the flows that are not allowed any more."""
        async with self._lock:
            if self._hands.is_quick(changes):
                return self._call_here(self._hands.apply, changes)
            return await self._call(self._hands.apply, changes)

    async def kill(self, mapping_id: str | None, source: IPNetwork | None) -> int:
        """End live flows of a mapping (None: of all), from a prefix (None: from anywhere); how many."""
        async with self._lock:
            return await self._call(self._hands.kill, mapping_id, source)

    # -- in a thread -----------------------------------------------------------------------

    async def _call(self, function: Callable[..., T], *arguments: object) -> T:
        """Run something that asks the kernel. It is finished even if who waits goes away.

        Raises:
            Problem: `kernel-refused`.
        """
        self._hands.present = tuple(self._guests())
        running = asyncio.get_running_loop().run_in_executor(None, functools.partial(function, *arguments))
        cancelled: asyncio.CancelledError | None = None
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError as error:
                cancelled = error
        self._follow_up()
        if cancelled is not None:
            running.exception()  # taken, so that it is not reported as lost
            raise cancelled
        return self._result_of(running.result)

    def _call_here(self, function: Callable[..., T], *arguments: object) -> T:
        """The same in the loop, for what takes less than a turn of a thread."""
        self._hands.present = tuple(self._guests())
        try:
            return self._result_of(functools.partial(function, *arguments))
        finally:
            self._follow_up()

    def _result_of(self, take: Callable[[], T]) -> T:
        try:
            return take()
        except (NftError, NetfilterError) as error:
            self._hands.unsure = True
            raise Problem("kernel-refused", why=str(error)) from None

    def _follow_up(self) -> None:
        """See to what a call left to be done."""
        if self._hands.opened:
            self._clear.set()
        if self._hands.in_doubt:
            self._hands.in_doubt = False
            self.on_change()
