"""A home router that speaks PCP, NAT-PMP and UPnP IGD, and misbehaves as real ones do when it is told to.

It translates nothing: what it has is a table, and the conversation about it. It runs in the loop of the test,
on sockets made in the network of the test's choice.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Final

from sekimori.model.address import IpProtocol
from sekimori.wire.natpmp import PORT

__all__ = ["FakeRouter", "Ledge", "Quirks", "TableFull"]

_HTTP: Final = 0  # any port
_ROOM: Final = 64


@dataclass(slots=True)
class Quirks:
    """How a router differs from what the specifications say; by default it does not.

    Attributes:
        pcp: it speaks PCP. Without, and with NAT-PMP, it answers PCP in version 0 as RFC 6886 §3.5 has it.
        natpmp: it speaks NAT-PMP.
        upnp: it speaks UPnP. If that is all that it speaks from the start, its port 5351 is closed (ICMP).
        prefers_success: PREFER_FAILURE is passed over: another port is given instead.
        knows_prefer_failure: otherwise the option is refused (UNSUPP_OPTION).
        port_sets: it knows PORT_SET.
        shift: it gives the outside port that is so much higher than the one asked for.
        refuses: PCP's and NAT-PMP's result to every request for a mapping.
        faults: UPnP's fault by action.
        lease_fault: the fault for every lease but 0: 725 or 402.
        forgets_leases: leases are taken, and the entry has none.
        conflict: the fault for a port that another host has.
        keeps_nothing: AddPortMapping succeeds, and there is no entry.
        tells_entries: GetSpecificPortMappingEntry works.
        undeclared: SOAP with other prefixes, which are not declared.
        url_base: relative URLs hang on a URLBase.
        location: the host in LOCATION.
        drops: every so many-th datagram is lost; 0 is none.
        from_other_port: UDP answers come from another port.
        huge: its HTTP bodies do not end.
        slow: seconds between the bytes of its HTTP bodies.
        silent: it answers nothing at all.
    """

    pcp: bool = True
    natpmp: bool = True
    upnp: bool = True
    prefers_success: bool = False
    knows_prefer_failure: bool = True
    port_sets: bool = True
    shift: int = 0
    refuses: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    lease_fault: int = 0
    forgets_leases: bool = False
    conflict: int = 718
    keeps_nothing: bool = False
    tells_entries: bool = True
    undeclared: bool = False
    url_base: bool = False
    location: str | None = None
    drops: int = 0
    from_other_port: bool = False
    huge: bool = False
    slow: float = 0.0
    silent: bool = False


@dataclass(slots=True)
class Ledge:
    """One entry of the table.

    Attributes:
        client: the inside host.
        port: its port.
        until: when it ends, by the router's clock; None is never.
        nonce: of PCP; b"" of others.
    """

    client: str
    port: int
    until: float | None
    description: str = ""
    nonce: bytes = b""


class TableFull(Exception):  # noqa: N818 - a state of the router, no error of the program
    """No more entries."""


class FakeRouter:
    """The router, from `start` to `close`.

    Args:
        address: its own inside address; its ports 5351 and 1900 are its own there.
        quirks: how it misbehaves; may be changed at any time.
        outside: the address it says it has outside.
        call: how to run what makes a socket.
        interface: where it hears and sends multicast; None for neither.
        now: its clock.

    Attributes:
        table: what it maps, by protocol and outside port.
        asked: everything that it was asked: `pcp map`, `natpmp map`, `AddPortMapping`, …
    """

    def __init__(
        self,
        address: str,
        quirks: Quirks | None = None,
        outside: str = "20.30.40.50",
        *,
        call: Callable[[Callable[[], socket.socket]], socket.socket] | None = None,
        interface: str | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = address
        self.quirks = quirks or Quirks()
        self.outside = IPv4Address(outside)
        self.interface = interface
        self.now = now
        self.born = now() - 1000
        self.boot_id = 1
        self.table: dict[tuple[IpProtocol, int], Ledge] = {}
        self.asked: list[str] = []
        self.http_port = 0
        self._call = call
        self._closing: list[Callable[[], None]] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> FakeRouter:
        """Serve."""
        # Late, for they know this class.
        from sekimori.testing.fakerouter_ports import PortServer
        from sekimori.testing.fakerouter_upnp import HttpServer, SearchServer

        if self.quirks.pcp or self.quirks.natpmp or not self.quirks.upnp:
            self._serve_udp(PORT, PortServer(self).answer)
        self._serve_udp(1900, SearchServer(self).answer)
        listener = self.make(lambda: socket.create_server((self.address, _HTTP)))
        self.http_port = listener.getsockname()[1]
        self._http = HttpServer(self)
        self._server = await asyncio.start_server(self._http.serve, sock=listener)
        return self

    async def close(self) -> None:
        """Serve no more."""
        for close in self._closing:
            close()
        if self._server is not None:
            self._server.close()
            await self._http.close()
            await self._server.wait_closed()

    def make(self, make: Callable[[], socket.socket]) -> socket.socket:
        """Make a socket in the router's network."""
        return make() if self._call is None else self._call(make)

    @property
    def epoch(self) -> int:
        """Seconds since it lost its state."""
        return int(self.now() - self.born)

    def restart(self) -> None:
        """Forget everything and begin to count anew."""
        self.table.clear()
        self.born = self.now()
        self.boot_id += 1

    # -- its table -------------------------------------------------------------------------------

    def entry(self, protocol: IpProtocol, outside: int) -> Ledge | None:
        """The entry of an outside port, unless it has ended."""
        found = self.table.get((protocol, outside))
        if found is not None and found.until is not None and found.until <= self.now():
            del self.table[protocol, outside]
            return None
        return found

    def entry_of(self, protocol: IpProtocol, client: str, port: int) -> int | None:
        """The outside port of an inside one."""
        for (its, outside), each in list(self.table.items()):
            if (its, each.client, each.port) == (protocol, client, port) and self.entry(its, outside):
                return outside
        return None

    def free_from(self, protocol: IpProtocol, outside: int) -> int:
        """The first free port from one on."""
        while self.entry(protocol, outside) is not None:
            outside += 1
        return outside

    def put(self, protocol: IpProtocol, outside: int, ledge: Ledge) -> None:
        """Keep an entry.

        Raises:
            TableFull: it has 64.
        """
        if len(self.table) >= _ROOM * 4 and (protocol, outside) not in self.table:
            raise TableFull
        self.table[protocol, outside] = ledge

    def occupy(self, port: int, client: str = "192.168.1.99") -> None:
        """Another host of the network has a port."""
        for protocol in (IpProtocol.TCP, IpProtocol.UDP):
            self.table[protocol, port] = Ledge(client, port, None, "NAS")

    def vacate(self, port: int) -> None:
        """It lets go of it."""
        for protocol in (IpProtocol.TCP, IpProtocol.UDP):
            self.table.pop((protocol, port), None)

    # -- its sockets -----------------------------------------------------------------------------

    def announce(self, data: bytes, group: str, port: int) -> None:
        """Send to a multicast group on its network."""
        sock = self.make(lambda: self._sender(0))
        with sock:
            sock.sendto(data, (group, port))

    def _serve_udp(self, port: int, answer: Callable[[bytes, tuple[str, int]], list[bytes]]) -> None:
        loop = asyncio.get_running_loop()
        count = itertools.count(1)
        sock = self.make(lambda: self._listener(port))
        stray = self.make(lambda: self._sender(0))

        def read() -> None:
            data, sender = sock.recvfrom(4096)
            drops, number = self.quirks.drops, next(count)
            if self.quirks.silent or (drops and number % drops == 1 % drops):
                return
            for each in answer(data, sender):
                (stray if self.quirks.from_other_port else sock).sendto(each, sender)

        loop.add_reader(sock.fileno(), read)

        def close() -> None:
            loop.remove_reader(sock.fileno())
            sock.close()
            stray.close()

        self._closing.append(close)

    def _listener(self, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # 1900 is for several by design
        if port == 1900 and self.interface is not None:
            sock.bind(("0.0.0.0", port))
            membership = socket.inet_aton("239.255.255.250") + socket.inet_aton(self.address)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        else:
            sock.bind((self.address, port))
        return sock

    def _sender(self, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((self.address, port))
        if self.interface is not None:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(self.address))
        return sock
