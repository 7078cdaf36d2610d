"""One router above: which protocol it answers, whether it is still there, and whether it lost its state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Final

import structlog

from sekimori.host.routersockets import Place
from sekimori.planes.router.asking import Asker, Greeting, Refusal, Silence
from sekimori.planes.router.facts import Presence, RouterFacts, RouterProtocol
from sekimori.planes.router.igd import IgdAsker
from sekimori.planes.router.natpmp import NatPmpAsker
from sekimori.planes.router.pcp import PcpAsker
from sekimori.planes.router.refusals import address_doubt
from sekimori.planes.router.terms import Line
from sekimori.reconcile.ports import Clock

__all__ = ["Hooks", "Router"]

_HEARTBEAT: Final = 20.0
"""Seconds between two looks at a router that holds something for us: after it restarted, nothing is open for
so long at worst, where its announcements are not heard (our own firewall keeps them out)."""
_IDLE: Final = 600.0
"""Seconds between two looks at one that holds nothing."""
_MISSES: Final = 3
"""Looks in a row that stay unanswered until a router counts as silent."""
_SOON: Final = 1.0
_LONGEST_PAUSE: Final = 60.0

_log = structlog.get_logger("router")


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a router tells the plane, and asks it.

    Attributes:
        lost: it has lost its state, or is silent: nothing that it held is sure any more.
        check: look whether entries are still there: all of them, or (False) one.
        holds: whether anything is held or wanted there.
        changed: its facts are others.
    """

    lost: Callable[[Router], None]
    check: Callable[[Router, bool], Awaitable[None]]
    holds: Callable[[Router], bool]
    changed: Callable[[], None]


@dataclass(slots=True)
class _Heard:
    """What answers have told."""

    model: str = ""
    address: IPv4Address | None = None
    epoch: int | None = None
    at: float | None = None
    answered: set[RouterProtocol] = field(default_factory=set)


class Router:
    """A router, and the conversation with it.

    Args:
        line: where it is.
        clock: the time.
        steady: seconds that only go forward, in sleep too.
        former: addresses that this machine had on the line before.
        hooks: the plane's.

    Attributes:
        line: where it is.
        presence: whether it answers.
        closed: nothing can be asked of it any more: the line is another one now.
    """

    def __init__(
        self,
        line: Line,
        clock: Clock,
        steady: Callable[[], float],
        former: frozenset[IPv4Address],
        hooks: Hooks,
    ) -> None:
        self.line = line
        self.former = former
        self.presence = Presence.UNKNOWN
        self.closed = False
        self._clock = clock
        self._steady = steady
        self._hooks = hooks
        self._place = Place(line.interface, line.local, line.gateway)
        self._askers: dict[RouterProtocol, Asker] = {}
        self._unfit: set[RouterProtocol] = set()
        """Protocols by which it refuses what another may grant."""
        self._chosen: Asker | None = None
        self._last: RouterProtocol | None = None
        self._turns: dict[RouterProtocol, asyncio.Semaphore] = {}
        self._heard = _Heard()
        self._misses = 0
        self._pause = _SOON
        self._next_at = 0.0
        self._doubted = False
        self._restarted = False
        self._settled = asyncio.Event()
        self._wake = asyncio.Event()

    # -- for the plane -------------------------------------------------------------------------

    async def ready(self) -> Asker | None:
        """Who asks it, once that is known; None where it does not answer."""
        await self._settled.wait()
        return self._chosen

    @property
    def last_protocol(self) -> str:
        """The protocol that it answered last, as people write it; "" where it never did."""
        return "" if self._last is None else self._last.label

    def turn(self, asker: Asker) -> AbstractAsyncContextManager[None]:
        """For the length of one question: no more than its protocol allows are under way at a time."""
        return self._turns.setdefault(asker.protocol, asyncio.Semaphore(asker.at_once))

    def pass_over(self, asker: Asker) -> Asker | None:
        """Go by another protocol from now on, for this one is switched off or halved; None without any."""
        self._unfit.add(asker.protocol)
        self._choose()
        return self._chosen if self._chosen is not asker else None

    def suspect(self) -> None:
        """Look soon whether it is there: it did not answer, or announced something."""
        self._wake.set()

    def attend(self) -> None:
        """It holds something now: look at it more often than at one that holds nothing."""
        if self._next_at > self._clock.now() + _HEARTBEAT:
            self._wake.set()

    def doubt(self) -> None:
        """Look soon whether it still has what it held."""
        self._doubted = True
        self._wake.set()

    def facts(self) -> RouterFacts:
        """What is known of it."""
        heard = self._heard
        return RouterFacts(
            interface=self.line.interface,
            local=self.line.local,
            gateway=self.line.gateway,
            presence=self.presence,
            protocol=self._chosen.protocol if self._chosen else None,
            answered=tuple(each for each in RouterProtocol if each in heard.answered),
            model=heard.model,
            address=heard.address,
            address_doubt=address_doubt(heard.address),
            epoch=heard.epoch,
            heard_at=heard.at,
            lasting_only=any(asker.lasting_only for asker in self._askers.values()),
        )

    def note_address(self, address: IPv4Address | None) -> None:
        """An answer about a port told its outside address."""
        if address is not None and address != self._heard.address:
            self._heard.address = address
            self._hooks.changed()

    def close(self) -> None:
        """Let go of it."""
        self.closed = True
        for asker in self._askers.values():
            asker.close()

    # -- in the background ---------------------------------------------------------------------

    async def run(self) -> None:
        """Find out what it answers, and see now and then whether it is still there, for ever."""
        while True:
            self._wake.clear()
            before = self.facts()
            await self._look()
            after = self.facts()
            if (before.presence, before.protocol, before.address) != (
                after.presence,
                after.protocol,
                after.address,
            ):
                _log.info(
                    "router",
                    gateway=str(after.gateway),
                    presence=str(after.presence),
                    protocol=str(after.protocol),
                    address=str(after.address),
                    model=after.model,
                )
                self._hooks.changed()
            self._next_at = self._clock.now() + self._until_next()
            await self._clock.wait_until(self._next_at, self._wake)

    def _until_next(self) -> float:
        if self.presence is Presence.THERE:
            if self._misses:
                return _SOON
            return _HEARTBEAT if self._hooks.holds(self) else _IDLE
        # After a power cut both start at the same time, and a router takes longer.
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return self._pause

    async def _look(self) -> None:
        if self._chosen is None or self._restarted:
            self._restarted = False
            await self._probe()
            return
        asker = self._chosen
        try:
            await self._greet(asker)
        except Silence as silence:
            self._miss(str(silence))
            return
        except Refusal as refusal:
            _log.info("router_refuses", gateway=str(self.line.gateway), answer=refusal.answer)
        self._misses = 0
        if self._hooks.holds(self):
            whole, self._doubted = self._doubted, False
            await self._hooks.check(self, whole)

    def _miss(self, why: str) -> None:
        self._misses += 1
        if self._misses < _MISSES:
            return
        _log.warning("router_silent", gateway=str(self.line.gateway), why=why)
        self._misses = 0
        self._chosen = None
        self.presence = Presence.SILENT
        self._pause = _SOON
        self._hooks.lost(self)

    async def _probe(self) -> None:
        """Ask by all protocols at once, and take the first that answers in the order of preference."""
        self._unfit.clear()
        was = self._chosen
        async with asyncio.TaskGroup() as group:
            tasks = {each: group.create_task(self._try(each)) for each in RouterProtocol}
            for protocol, task in tasks.items():
                if await task:
                    self._heard.answered.add(protocol)
                else:
                    self._heard.answered.discard(protocol)
                if self._chosen is was:
                    self._choose(protocol)
        if not self._heard.answered:
            self._chosen = None
            self.presence = Presence.SILENT if self._last else Presence.NONE
        self._settled.set()

    def _choose(self, newest: RouterProtocol | None = None) -> None:
        """Go by the first protocol that it answers; while it is found out, up to the newest known."""
        for protocol in RouterProtocol:
            if protocol in self._heard.answered and protocol not in self._unfit:
                self._chosen = self._askers[protocol]
                self._last = protocol
                was_away, self.presence = self.presence is not Presence.THERE, Presence.THERE
                self._pause, self._misses = _SOON, 0
                self._settled.set()
                if was_away:
                    self._hooks.lost(self)  # what waited for it is asked for now
                return
            if protocol is newest:
                return

    async def _try(self, protocol: RouterProtocol) -> bool:
        """Whether it answers by a protocol."""
        try:
            asker = self._askers.get(protocol)
            if asker is None:
                asker = self._askers[protocol] = self._make(protocol)
            await self._greet(asker)
        except Silence:
            return False
        except Refusal as refusal:
            _log.info("router_refuses", gateway=str(self.line.gateway), answer=refusal.answer)
            return False
        except OSError as error:  # our address has gone, and `reframe` will say so
            _log.info("router_not_asked", gateway=str(self.line.gateway), why=str(error))
            return False
        return True

    def _make(self, protocol: RouterProtocol) -> Asker:
        match protocol:
            case RouterProtocol.PCP:
                return PcpAsker(self._place, self._steady, lambda: self._lose(protocol))
            case RouterProtocol.NATPMP:
                return NatPmpAsker(self._place, self._steady, lambda: self._lose(protocol))
            case RouterProtocol.UPNP:
                return IgdAsker(self._place, lambda: self.former, self.doubt)

    async def _greet(self, asker: Asker) -> None:
        async with self.turn(asker):
            greeting = await asker.greet()
        self._note(greeting, asker)

    def _note(self, greeting: Greeting, asker: Asker) -> None:
        heard = self._heard
        heard.at = self._clock.now()
        heard.model = greeting.model or heard.model
        if greeting.address is not None:
            heard.address = greeting.address
        if asker is self._chosen or heard.epoch is None:
            heard.epoch = greeting.epoch

    def _lose(self, protocol: RouterProtocol) -> None:
        """Its epoch went astray: it was restarted, or has forgotten what it had."""
        if self._chosen is None or self._chosen.protocol is not protocol:
            return  # what it held is in doubt already, or the protocol that made it will say so
        _log.warning("router_lost_state", gateway=str(self.line.gateway))
        self._restarted = True
        self._wake.set()
        self._hooks.lost(self)
