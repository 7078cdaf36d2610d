"""SSDP on one interface: searches are answered, and the gateway is announced."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import structlog

from sekimori.doors.igd.desk import wants_version_1
from sekimori.doors.igd.near import address_for, is_here, is_near
from sekimori.gate.devices import Inside
from sekimori.gate.fairness import Fairness
from sekimori.host.lansockets import Datagram, LanSocket, open_lan_socket, serving
from sekimori.model.address import IPAddress
from sekimori.wire import ssdp
from sekimori.wire.errors import BadPacket
from sekimori.wire.httpmessage import HttpUrl, read_head_untrusted
from sekimori.wire.igddescription import Gateway, config_id, root_path
from sekimori.wire.igdservices import IgdVersion

__all__ = ["Discovery", "Sign", "server_name"]

_GROUPS: Final = {4: (ssdp.GROUP4,), 6: (ssdp.GROUP6, "ff05::c")}
"""ff05::c: UPnP Device Architecture 1.1, annex A.3."""
_NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.ENODEV})
_RATE: Final = 10.0
_BURST: Final = 40.0
"""Searches of one host that are answered, in a second and at once: a client searches for half a dozen
targets three times each. Answers may have fifty times the size of the search; they go to its sender only, on
its own link.
"""
_RATE_ALL: Final = 200.0
_BURST_ALL: Final = 400.0
"""Those of all hosts together: a source address can be made up."""
_HOSTS: Final = 1024
_SPREAD: Final = 0.05
"""Seconds within which a search that went to the group is answered, whatever its MX: some clients ask for two
seconds and listen for a quarter of one (Tailscale). There is one gateway on a link, so nothing collides."""
_APART: Final = 0.005
"""Seconds between the answers to one search, and between announcements."""
_MOST_WAITING: Final = 1024
_TWICE: Final = 2  # what is told unasked may be lost (§1.2.2)
_log = structlog.get_logger("igd")


@dataclass(frozen=True, slots=True)
class Sign:
    """What the gateway puts up of itself.

    Attributes:
        boot_id: another one after every start, and for another address.
        software: `OS/VERSION`, and the product with its version.
    """

    gateway: Gateway
    versions: tuple[IgdVersion, ...]
    boot_id: int
    software: tuple[str, str]


def server_name(sign: Sign, version: IgdVersion) -> str:
    """The SERVER field: the first version of the gateway is one of UPnP 1.0."""
    system, product = sign.software
    return f"{system} UPnP/1.{version - 1} {product}"


class Discovery:
    """Answers and announces on an interface, for as long as it is open (a context manager).

    Args:
        interface: where.
        port: the web server's.
        inside: what is known.
        sign: what is told.
        lost: is called when nothing can be heard any more.
        clock: seconds of a clock that only goes on.
        ssdp_port: where searches come to.
    """

    def __init__(
        self,
        interface: str,
        port: int,
        inside: Inside,
        sign: Sign,
        lost: Callable[[OSError], None],
        clock: Callable[[], float],
        ssdp_port: int = ssdp.PORT,
    ) -> None:
        self._interface = interface
        self._port = port
        self._inside = inside
        self._sign = sign
        self._lost = lost
        self._clock = clock
        self._ssdp_port = ssdp_port
        self._sockets: list[LanSocket] = []
        self._waiting: set[asyncio.TimerHandle] = set()
        self._fairness = Fairness(_RATE, _BURST, _HOSTS)
        self._altogether = Fairness(_RATE_ALL, _BURST_ALL, 1)

    def __enter__(self) -> Discovery:
        with ExitStack() as stack:
            for version, groups in _GROUPS.items():
                try:
                    sock = open_lan_socket(
                        self._interface,
                        version,
                        self._ssdp_port,
                        groups=groups,
                        hops=ssdp.HOPS,
                        shared=True,
                    )
                except OSError as error:
                    if version == 4 or error.errno not in _NO_IPV6:
                        raise
                    _log.info("no_ipv6", interface=self._interface, why=str(error))
                    continue
                stack.callback(sock.close)
                self._sockets.append(sock)
                stack.enter_context(serving(sock, self._taker(sock), self._lost))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Say goodbye, and hear no more."""
        for timer in self._waiting:
            timer.cancel()
        self._waiting.clear()
        for send in self._announcements(ssdp.encode_byebye):
            send()
        self._stack.close()

    async def announce(self) -> None:
        """Tell everybody on the link that the gateway is here, now and before they forget it, until
        cancelled.
        """
        while True:
            for _ in range(_TWICE):
                for send in self._announcements(ssdp.encode_alive):
                    send()
                    await asyncio.sleep(_APART)
            await asyncio.sleep(ssdp.Presence("", "", 0, 0).max_age / 2)

    # -- searches ------------------------------------------------------------------------

    def _taker(self, sock: LanSocket) -> Callable[[Datagram], None]:
        return lambda datagram: self._take_untrusted(sock, datagram)

    def _take_untrusted(self, sock: LanSocket, datagram: Datagram) -> None:
        network, source = self._inside.network(), datagram.source
        unicast = not datagram.destination.is_multicast
        if datagram.port == 0 or not is_near(network, self._interface, source):
            return
        if unicast and not is_here(network, self._interface, datagram.destination):
            return
        try:
            search = ssdp.decode_search_untrusted(datagram.data)
        except BadPacket:  # an announcement of another device, mostly
            return
        now = self._clock()
        if not (self._fairness.admits(source, now) and self._altogether.admits("all", now)):
            return
        here = address_for(network, self._interface, source)
        if here is None:
            return
        answers = self._answers(search.st, _agent_untrusted(datagram.data), here)
        if unicast:
            for answer in answers:
                sock.answer(datagram, answer)
            return
        after = random.uniform(0, _SPREAD)  # noqa: S311 - it keeps no secret
        for number, answer in enumerate(answers):
            self._later(after + number * _APART, sock, datagram, answer, here)

    def _answers(self, st: str, agent: str, here: IPAddress) -> list[bytes]:
        """The answers to a search: by the first version to whom it is the only one, or who asks for it by its
        name; and otherwise by the newest.
        """
        oldest_first = wants_version_1(agent) or st.endswith(":1")
        versions = sorted(self._sign.versions, reverse=not oldest_first)
        for version in versions:
            targets = ssdp.answers_to(st, self._sign.gateway, version)
            if targets:
                presence = self._presence(version, here)
                return [ssdp.encode_answer(target, presence) for target in targets]
        return []

    def _later(
        self, after: float, sock: LanSocket, datagram: Datagram, answer: bytes, here: IPAddress
    ) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            return

        def send() -> None:
            self._waiting.discard(timer)
            sock.send(answer, datagram.source, datagram.port, here)

        timer = asyncio.get_running_loop().call_later(after, send)
        self._waiting.add(timer)

    # -- announcements -------------------------------------------------------------------

    def _announcements(
        self, encode: Callable[[ssdp.Target, ssdp.Presence, str], bytes]
    ) -> Iterable[Callable[[], None]]:
        """What sends each announcement of every version to every group."""
        network = self._inside.network()
        for sock in self._sockets:
            groups = _GROUPS[sock.version]
            here = address_for(network, self._interface, _anybody(sock.version))
            if here is None:
                continue
            for version in self._sign.versions:
                presence = self._presence(version, here)
                for target in ssdp.targets_of(self._sign.gateway, version):
                    for group in groups:
                        yield _sender(sock, encode(target, presence, group), group, self._ssdp_port, here)

    def _presence(self, version: IgdVersion, here: IPAddress) -> ssdp.Presence:
        sign = self._sign
        return ssdp.Presence(
            location=str(HttpUrl(here, self._port, root_path(version))),
            server=server_name(sign, version),
            boot_id=sign.boot_id,
            config_id=config_id(sign.gateway, version),
        )


def _sender(sock: LanSocket, data: bytes, group: str, port: int, here: IPAddress) -> Callable[[], None]:
    return lambda: sock.send_group(data, group, port, here)


def _anybody(version: int) -> IPAddress:
    return IPv4Address(0) if version == 4 else IPv6Address(0)


def _agent_untrusted(data: bytes) -> str:
    """What a program that searches calls itself. The message was read already, so it can be read."""
    _, fields = read_head_untrusted(data, ssdp.LONGEST)
    return fields.get("user-agent", "")
