"""What is done with a datagram before anybody works on it: it is let in or not, read, and put in its turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Final

import structlog

from sekimori.doors.portmap.link import Link
from sekimori.doors.portmap.natpmp import NatPmpService
from sekimori.doors.portmap.pcpserving import PcpService
from sekimori.doors.portmap.seldom import Seldom
from sekimori.doors.portmap.standing import Asking
from sekimori.doors.portmap.turns import Turns
from sekimori.gate.devices import Inside
from sekimori.gate.fairness import Fairness
from sekimori.host.lansockets import Datagram, LanSocket
from sekimori.model.address import IPAddress
from sekimori.model.errors import Problem
from sekimori.model.lease import Asker, NonceRule
from sekimori.model.mapping import Owner
from sekimori.model.network import Network
from sekimori.wire import natpmp, pcp
from sekimori.wire.errors import BadPacket

__all__ = ["Entrance", "is_let_in"]

_RATE: Final = 1000.0
_BURST: Final = 2000.0
"""Datagrams of one host that are read, in a second and at once: all its leases may be renewed together, and
each is asked for again while its answer is on the way. What they ask for waits in the host's own line."""
_HOSTS: Final = 4096
_MINUTE: Final = 60.0
_LINES: Final = 10.0
"""Lines of one kind in the log, in a minute and at once, about whomever."""
_log = structlog.get_logger("portmap")


class Entrance:
    """Takes datagrams from the links.

    Args:
        inside: what is known.
        turns: where requests wait.
        natpmp: who serves them.
        pcp: likewise.
        rule: what becomes of a request with another nonce.
        clock: seconds of any clock that only goes on.
    """

    def __init__(
        self,
        inside: Inside,
        turns: Turns,
        natpmp: NatPmpService,
        pcp: PcpService,
        rule: NonceRule,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inside = inside
        self._turns = turns
        self._natpmp = natpmp
        self._pcp = pcp
        self._rule = rule
        self._clock = clock
        self._fairness = Fairness(_RATE, _BURST, _HOSTS)
        self._seldom = Seldom(_MINUTE)
        self._lines = Fairness(_LINES / _MINUTE, _LINES, _HOSTS)

    def heed(self, link: Link, mac: str) -> None:
        """Count a frame of a host. One that sends too many is not heard for a moment: by its MAC address, so
        that who makes up IP addresses is one host all the same, and nobody uses up what is another's.
        """
        if not self._fairness.admits(mac, self._clock()):
            link.shun(mac)
            self._say("too_many_requests", link, mac, mac=mac)

    def take(self, link: Link, sock: LanSocket, datagram: Datagram) -> None:
        """Look at what came, answer it at once where that costs nothing, and else put it in its turn."""
        mac = link.mac_of(datagram)
        host: Hashable = mac or datagram.source
        who = {"source": str(datagram.source), "mac": str(mac)}
        if link.watched and mac is None:
            self._say("frame_not_seen", link, host, **who)
        elif not link.watched and not self._fairness.admits(host, self._clock()):
            self._say("too_many_requests", link, host, **who)
        elif not is_let_in(datagram, link.interface, link.index, self._inside.network()):
            self._say("not_from_the_link", link, host, to=str(datagram.destination), **who)
        else:
            self._begin_untrusted(link, sock, datagram, host, mac)

    def _begin_untrusted(
        self, link: Link, sock: LanSocket, datagram: Datagram, host: Hashable, mac: str | None
    ) -> None:
        data, source = datagram.data, datagram.source
        try:
            dialect = pcp.dialect_untrusted(data)
        except BadPacket:
            return
        begun: natpmp.MapRequest | pcp.Request | bytes | None
        if dialect is pcp.Dialect.PCP:
            begun = self._pcp.begin_untrusted(data, source)
        elif source.version == 4:
            begun = self._natpmp.begin_untrusted(data)
        else:  # NAT-PMP has IPv4 only; this version of it is told of the one that has both
            begun = self._pcp.refuse_version(data)
        if begun is None or isinstance(begun, bytes):
            if begun is not None:
                sock.answer(datagram, begun)
            return
        request = begun

        async def work() -> None:
            answer = await self._serve(link, datagram, request, mac)
            if answer is not None:
                sock.answer(datagram, answer)

        if not self._turns.put(host, (source, datagram.port, datagram.destination, data), work):
            self._say("too_many_waiting", link, host, source=str(source))

    async def _serve(
        self, link: Link, datagram: Datagram, request: natpmp.MapRequest | pcp.Request, mac: str | None
    ) -> bytes | None:
        device = await self._inside.identify(datagram.source, link.interface)
        if device is None:
            self._say("unknown_device", link, datagram.source, source=str(datagram.source))
            service = self._pcp if isinstance(request, pcp.Request) else self._natpmp
            return service.refuse_unknown(datagram.data)
        if mac is not None and device.id != mac:
            # Not answered: the answer would go to the device that did not ask.
            what = {"source": str(datagram.source), "mac": mac, "device": device.id}
            self._say("spoofed_source", link, mac, **what)
            return None
        who = Asking(device, Asker(datagram.source, link.interface), self._rule)
        try:
            if isinstance(request, pcp.Request):
                return await self._pcp.serve(datagram.data, request, who)
            return await self._natpmp.serve(datagram.data, request, who)
        except Problem as problem:
            self._tell(device, datagram.source, problem)
            return self._refuse(datagram.data, request, problem.code)
        except Exception:  # a fault of ours; the device is not to wait for an answer in vain
            _log.exception("request_broke", device=str(device))
            return self._refuse(datagram.data, request, "internal")

    def _refuse(self, data: bytes, request: natpmp.MapRequest | pcp.Request, code: str) -> bytes | None:
        if isinstance(request, pcp.Request):
            return self._pcp.refuse(data, request, code)
        return self._natpmp.refuse(data, request, code)

    def _tell(self, device: Owner, source: IPAddress, problem: Problem) -> None:
        now = self._clock()
        if self._seldom.is_due((str(device), problem.code), now) and self._lines.admits("refused", now):
            what = {"device": str(device), "source": str(source), "code": problem.code}
            _log.info("lease_refused", why=problem.title(), **what)

    def _say(self, event: str, link: Link, about: Hashable, **what: str) -> None:
        now = self._clock()
        if self._seldom.is_due((event, about), now) and self._lines.admits(event, now):
            _log.warning(event, interface=link.interface, **what)


def is_let_in(datagram: Datagram, interface: str, index: int, network: Network) -> bool:
    """Whether a datagram comes from a host on the interface's link, and was sent to us there.

    What comes from another network, from a group or from this machine itself is not; and what was sent to a
    group, to everybody, or to an address of a WAN is not answered.
    """
    source, destination = datagram.source, datagram.destination
    if source.is_unspecified or source.is_multicast or datagram.port == 0 or destination.is_multicast:
        return False
    if network.is_wan_address(destination):
        return False
    if not (network.is_own(destination) or (destination.version == 6 and destination.is_link_local)):
        return False
    if source.version == 6 and source.is_link_local:
        return datagram.scope == index and any(lan.interface == interface for lan in network.lans)
    lan = network.lan_of(source)
    return lan is not None and lan.interface == interface
