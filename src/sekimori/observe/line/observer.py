"""Keeps what is known of the line: looks from outside now and then, and judges when it is asked."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import structlog

from sekimori.model.address import IPAddress
from sekimori.model.addresskind import AddressKind, kind_of
from sekimori.model.behaviour import Behaviour, Endpoint
from sekimori.model.causes import Text, cause, os_cause
from sekimori.model.errors import Problem
from sekimori.model.judging import judge
from sekimori.model.line import Above, Inputs, Line, Look, main_address4, prefixes_of, wans_of
from sekimori.model.linesettings import LineSettings, StunServer
from sekimori.model.network import Network, Wan
from sekimori.observe.line.looking import ask_servers
from sekimori.reconcile.ports import Clock, Resolver
from sekimori.wire.natbehaviour import TIMING, Timing

__all__ = ["LineObserver"]

_LEAST: Final = 15.0
"""Seconds between two looks from one address, however often the network changes: servers are strangers'."""
_RETRY: Final = 120.0
"""Seconds until another look where nothing was found out."""
_KEPT: Final = 10.0
"""Seconds until a line is judged anew though nothing it goes by has changed: facts tell their age."""
_MOST_KEPT: Final = 64
_NEVER_SENT: Final = frozenset({AddressKind.LINK_LOCAL, AddressKind.NONE})

_Source = tuple[str, IPAddress]
"""An interface, and the address there that is looked from."""

_Key = tuple[Network, int, Above | None, bool | None, tuple[float | None, float | None]]

_log = structlog.get_logger("line")


class LineObserver:
    """The line of this machine.

    It changes nothing, and sends nothing but questions to the STUN servers of the settings; without any, it
    sends nothing.

    Args:
        settings: `[line]`.
        network: the machine's place in the network, as it is now.
        above: the router beyond an interface, where one has answered; asked whenever the line is judged.
        translates: whether this machine translates for others; None where that is not known.
        arrived: when something from the internet last came in by a family (4 or 6), proven; Unix seconds.
        resolver: finds STUN servers by name.
        clock: the time.
        changed: called after a look that showed another line.
        timing: when servers are asked again.
    """

    def __init__(
        self,
        *,
        settings: LineSettings,
        network: Callable[[], Network],
        above: Callable[[str], Above | None] = lambda interface: None,
        translates: Callable[[], bool | None] = lambda: None,
        arrived: Callable[[int], float | None] = lambda family: None,
        resolver: Resolver,
        clock: Clock,
        changed: Callable[[], None] = lambda: None,
        timing: Timing = TIMING,
    ) -> None:
        self._settings = settings
        self._network = network
        self._above = above
        self._translates = translates
        self._arrived = arrived
        self._resolver = resolver
        self._clock = clock
        self._changed = changed
        self._timing = timing
        self._looks: dict[_Source, Look] = {}
        self._stale: set[_Source] = set()
        """What is to be looked from again though it is not old."""
        self._revision = 0
        """Of the looks."""
        self._judged: dict[tuple[str | None, str | None], tuple[_Key, float, Line]] = {}
        """By the interfaces of the two families: what the line was judged by, when, and the line."""
        self._wans: tuple[Wan, ...] = ()
        self._wake = asyncio.Event()

    @property
    def looks(self) -> tuple[Look, ...]:
        """The latest look from each address that the machine still has."""
        return tuple(self._looks[each] for each in self._sources() if each in self._looks)

    def line(self) -> Line:
        """The line as a whole: IPv4 by the WAN that is preferred for it, and IPv6 by its own."""
        return self._judge(*wans_of(self._network()))

    def lines(self) -> tuple[Line, ...]:
        """The line of each WAN, the preferred one first."""
        return tuple(self._judge(wan, wan) for wan in self._network().wans)

    def wake(self) -> None:
        """Have a look where the network has changed, or where it is time."""
        self._wake.set()

    def look_again(self) -> None:
        """Have a look from every address, though nothing is known to have changed."""
        self._stale.update(self._looks)
        self._wake.set()

    async def run(self) -> None:
        """Look whenever it is due, for ever."""
        while True:
            self._wake.clear()
            self._note_changes()
            await self.look()
            await self._clock.wait_until(self._next_due(), self._wake)

    async def look(self) -> None:
        """Look from every address that is due now."""
        now = self._clock.now()
        due = [source for source in self._sources() if self._due(source) <= now]
        if not due or not self._settings.stun:
            return
        before = _essence(self.line())
        found = await asyncio.gather(*(self._look_from(source) for source in due))
        self._stale.difference_update(due)
        self._looks.update(zip(due, found, strict=True))
        self._revision += 1
        self._forget()
        if _essence(self.line()) != before:
            self._changed()

    def _judge(self, wan4: Wan | None, wan6: Wan | None) -> Line:
        """The line, judged anew only where something it goes by is another; every request asks for it."""
        network, now = self._network(), self._clock.now()
        above = self._above(wan4.interface) if wan4 else None
        arrived = self._arrived(4), self._arrived(6)
        key = (network, self._revision, above, self._translates(), arrived)
        of = (wan4.interface if wan4 else None, wan6.interface if wan6 else None)
        known = self._judged.get(of)
        if known is not None and known[0] == key and 0 <= now - known[1] < _KEPT:
            return known[2]
        inputs = Inputs(
            now=now,
            wan4=wan4,
            wan6=wan6,
            prefixes6=prefixes_of(network),
            translates=key[3],
            above=above,
            looks=self.looks,
            settings=self._settings,
            arrived4=arrived[0],
            arrived6=arrived[1],
        )
        line = judge(inputs)
        if len(self._judged) >= _MOST_KEPT:  # interfaces that have come and gone
            self._judged.clear()
        self._judged[of] = key, now, line
        return line

    def _sources(self) -> Iterator[_Source]:
        """Where to look from: of each WAN its main IPv4 address, and its first global IPv6 one."""
        for wan in self._network().wans:
            address = main_address4(wan)
            if address is not None and kind_of(address) not in _NEVER_SENT:
                yield wan.interface, address
            six = next((each for each in wan.addresses6 if kind_of(each).is_public), None)
            if six is not None:
                yield wan.interface, six

    def _note_changes(self) -> None:
        """A line that has changed in anything is looked at again from every address of it."""
        before = {wan.interface: wan for wan in self._wans}
        self._wans = self._network().wans
        changed = {wan.interface for wan in self._wans if before.get(wan.interface) != wan}
        self._stale.update(source for source in self._looks if source[0] in changed)
        self._forget()

    def _forget(self) -> None:
        """Drop the looks from addresses that the machine no longer has."""
        present = set(self._sources())
        self._looks = {source: look for source, look in self._looks.items() if source in present}
        self._stale &= present

    def _due(self, source: _Source) -> float:
        """Unix seconds."""
        look = self._looks.get(source)
        if look is None:
            return 0.0
        if source in self._stale:
            return look.at + _LEAST
        return look.at + (self._settings.every if look.why is None else min(_RETRY, self._settings.every))

    def _next_due(self) -> float | None:
        return min(map(self._due, self._sources()), default=None) if self._settings.stun else None

    async def _look_from(self, source: _Source) -> Look:
        interface, local = source
        servers, why = await self._servers(local.version)
        if not servers:
            return Look(local, None, self._clock.now(), why)
        try:
            behaviour = await ask_servers(local, interface, servers, self._timing)
        except OSError as error:
            why = cause("line-look-unsent", address=local, why=os_cause(error))
            _log.info("line_not_seen", interface=interface, address=str(local), why=why["en"])
            return Look(local, None, self._clock.now(), why)
        return Look(local, behaviour, self._clock.now(), _why_not(behaviour))

    async def _servers(self, version: int) -> tuple[list[Endpoint], Text]:
        """The servers' addresses in a family; where there are none, why."""
        found: dict[Endpoint, None] = {}
        why: Text = cause("line-look-no-server", family=version)
        for server in self._settings.stun:
            try:
                addresses = await self._addresses(server)
            except Problem as problem:
                why = problem.titles
                continue
            address = next((each for each in addresses if each.version == version), None)
            if address is not None:
                found[Endpoint(address, server.port)] = None
        return list(found), why

    async def _addresses(self, server: StunServer) -> tuple[IPAddress, ...]:
        try:
            return (ipaddress.ip_address(server.host),)
        except ValueError:
            resolution = await self._resolver.resolve(server.host)
        return tuple(ipaddress.ip_address(each) for each in resolution.addresses)


def _why_not(behaviour: Behaviour) -> Text | None:
    """What kept a look from finding anything out; None where some server saw the socket."""
    if behaviour.mapped is not None:
        return None
    refused = next((each for each in behaviour.seen if each.refusal is not None), None)
    if refused is not None:
        return cause("line-look-refused", server=refused.server, code=refused.refusal)
    return cause("line-look-silent", servers=", ".join(str(each.server) for each in behaviour.seen))


def _essence(line: Line) -> Line:
    """A line without the times of its facts and the wording of its evidence."""
    return replace(line, facts=tuple(replace(each, at=0.0, evidence={}) for each in line.facts))
