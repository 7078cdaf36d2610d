"""Asks a router by UPnP: InternetGatewayDevice:1 and :2, WANIPConnection and WANPPPConnection."""

from __future__ import annotations

from collections.abc import Callable, Collection
from ipaddress import IPv4Address, ip_address
from typing import Final

import structlog

from sekimori.host.routersockets import Place
from sekimori.planes.router.asking import Grant, Greeting, PortTaken, Refusal, Silence, Wish
from sekimori.planes.router.facts import RouterProtocol
from sekimori.planes.router.igddiscovery import Service, call, find_service_of, read_address
from sekimori.planes.router.terms import Run
from sekimori.wire.igdservices import Value
from sekimori.wire.igdxml import one_line

__all__ = ["LABEL", "IgdAsker"]

LABEL: Final = "Sekimori"
"""What descriptions of our entries begin with."""
_LEASE: Final = 3600
"""Seconds. Longer ones than an hour some routers refuse, and all leave behind what we cannot take back."""
_NO_LEASES: Final = frozenset({725, 402})
"""725 says it; with 402 others say the same of a lease that is not 0."""
_NOT_THERE: Final = frozenset({713, 714, 730})
_CANNOT_TELL: Final = frozenset({401, 602, 501, 606, None})
"""Answers of routers that let nobody look up an entry."""
_IN_THE_WAY: Final = frozenset({718, 501, 729})
"""What routers answer where an entry of that outside port is there already; only the first is right."""
_SLACK: Final = 5
"""Seconds that an uptime may go back by: some routers round it."""

_log = structlog.get_logger("router")


class IgdAsker:
    """Asks by UPnP. See `asking.Asker`.

    Args:
        place: where the router is.
        former: addresses that this machine had on this line: entries to them, with our label, are ours.
        doubt: called when entries may have been lost.
    """

    protocol = RouterProtocol.UPNP
    at_once = 2
    one_outside = False
    runs = False
    longest = _LEASE

    def __init__(
        self, place: Place, former: Callable[[], Collection[IPv4Address]], doubt: Callable[[], None]
    ) -> None:
        self._place = place
        self._former = former
        self._doubt = doubt
        self._service: Service | None = None
        self._uptime: int | None = None
        self.lasting_only = False

    async def greet(self) -> Greeting:
        """By asking for the outside address, and how long its line is up. Found anew where it has moved."""
        if self._service is not None:
            try:
                return await self._greet(self._service)
            except Silence:
                self._service = None  # it listens on another port since it restarted, or is away
                self._doubt()
        self._service = await find_service_of(self._place)
        return await self._greet(self._service)

    async def open(self, wish: Wish) -> Grant:
        """By AddPortMapping; and what was granted is read back, for there are routers that only say so."""
        lease = 0 if self.lasting_only else max(1, min(wish.lifetime or _LEASE, _LEASE))
        try:
            await self._add(wish, lease)
        except Refusal as refusal:
            if lease == 0 or refusal.code not in _NO_LEASES:
                raise
            lease = 0
            await self._add(wish, lease)
            self.lasting_only = True
        return await self._read_back(wish, lease)

    async def shut(self, wish: Wish) -> None:
        """By DeletePortMapping."""
        try:
            await self._call("DeletePortMapping", _key(wish.run))
        except Refusal as refusal:
            if refusal.code in _NOT_THERE:
                return
            # Many say 402 or 501 for what is not there.
            if await self._entry(wish.run) is not None:
                raise

    async def stands(self, run: Run) -> bool:
        """By GetSpecificPortMappingEntry."""
        try:
            entry = await self._look_up(run)
        except Refusal as refusal:
            return refusal.code not in _NOT_THERE
        return self._is_ours(entry, run)

    async def taker(self, run: Run) -> PortTaken | None:
        """By the same."""
        entry = await self._entry(run)
        if entry is None or self._is_ours(entry, run) or self._was_ours(entry):
            return None
        return _taken(entry)

    def close(self) -> None:
        """No socket is kept."""

    async def _greet(self, service: Service) -> Greeting:
        try:
            address = read_address(await self._call("GetExternalIPAddress"))
        except Refusal:  # its line is down, mostly; it can be asked all the same
            address = None
        try:
            status = await self._call("GetStatusInfo")
        except Refusal:
            status = {}
        uptime = status.get("NewUptime")
        before, self._uptime = self._uptime, uptime if isinstance(uptime, int) else None
        if before is not None and self._uptime is not None and self._uptime < before - _SLACK:
            self._doubt()
        return Greeting(address, self._uptime, service.model)

    async def _add(self, wish: Wish, lease: int) -> None:
        """Add or refresh an entry; an old one of ours that is in its way goes first.

        Raises:
            Refusal, PortTaken: it is not there.
        """
        try:
            await self._add_once(wish, lease)
        except Refusal as refusal:
            if refusal.code in _NO_LEASES and lease:
                raise
            entry = await self._entry(wish.run)
            if entry is None:
                raise
            if not (self._is_ours(entry, wish.run) or self._was_ours(entry)):
                raise _taken(entry) from refusal  # whichever code it has for that
            if refusal.code not in _IN_THE_WAY:
                raise
            await self._call("DeletePortMapping", _key(wish.run))
            await self._add_once(wish, lease)

    async def _add_once(self, wish: Wish, lease: int) -> None:
        run = wish.run
        values: dict[str, Value] = {
            **_key(run),
            "NewInternalPort": run.inside,
            "NewInternalClient": str(self._place.local),
            "NewEnabled": True,
            "NewPortMappingDescription": wish.label,
            "NewLeaseDuration": lease,
        }
        await self._call("AddPortMapping", values)

    async def _read_back(self, wish: Wish, lease: int) -> Grant:
        try:
            entry = await self._look_up(wish.run)
        except Refusal as refusal:
            if refusal.code in _NOT_THERE:
                raise Refusal(self.protocol, refusal.code, refusal.said, "not-kept") from None
            if refusal.code not in _CANNOT_TELL:
                _log.info("read_back_refused", gateway=str(self._place.gateway), answer=refusal.answer)
            return Grant(1, lease or None)
        if not self._is_ours(entry, wish.run):
            raise _taken(entry)
        left = entry.get("NewLeaseDuration", lease)
        granted = int(left) if isinstance(left, int) else lease
        if lease and not granted:
            self.lasting_only = True
        return Grant(1, min(granted, lease) if granted and lease else granted or None)

    async def _entry(self, run: Run) -> dict[str, Value] | None:
        """The entry of an outside port; None where there is none, or the router does not tell."""
        try:
            return await self._look_up(run)
        except Refusal:
            return None

    async def _look_up(self, run: Run) -> dict[str, Value]:
        return await self._call("GetSpecificPortMappingEntry", _key(run))

    async def _call(self, name: str, values: dict[str, Value] | None = None) -> dict[str, Value]:
        if self._service is None:
            self._service = await find_service_of(self._place)
        return await call(self._place, self._service.service, name, values)

    def _is_ours(self, entry: dict[str, Value], run: Run) -> bool:
        enabled = entry.get("NewEnabled", True)
        return (
            _client(entry) == self._place.local
            and entry.get("NewInternalPort") == run.inside
            and bool(enabled)
        )

    def _was_ours(self, entry: dict[str, Value]) -> bool:
        """Whether an entry is an old one of ours: to this address, or with our label to one that we had."""
        client = _client(entry)
        labelled = str(entry.get("NewPortMappingDescription", "")).startswith(LABEL)
        return labelled and (client == self._place.local or client in self._former())


def _key(run: Run) -> dict[str, Value]:
    return {
        "NewRemoteHost": "",
        "NewExternalPort": run.outside,
        "NewProtocol": str(run.protocol).upper(),
    }


def _client(entry: dict[str, Value]) -> object:
    try:
        return ip_address(str(entry.get("NewInternalClient", "")).strip())
    except ValueError:
        return None


def _taken(entry: dict[str, Value]) -> PortTaken:
    port = entry.get("NewInternalPort", 0)
    return PortTaken(
        one_line(str(entry.get("NewInternalClient", "")), 64),
        port if isinstance(port, int) else 0,
        one_line(str(entry.get("NewPortMappingDescription", "")), 80),
    )
