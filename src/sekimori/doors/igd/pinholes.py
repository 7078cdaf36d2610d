"""WANIPv6FirewallControl: what devices open in IPv6, where every host has its own address."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv6Address, ip_network
from typing import Any, Final

from sekimori.doors.igd.asking import Asking, asker_for, refuse_anothers
from sekimori.doors.igd.faults import pinhole_fault
from sekimori.doors.igd.state import GatewayState
from sekimori.gate.devices import Inside, Leases
from sekimori.host.sysctl import read_sysctl
from sekimori.model.actual import State
from sekimori.model.address import IpProtocol, PortRange
from sekimori.model.errors import Problem
from sekimori.model.events import Committed
from sekimori.model.lease import LeaseProtocol, LeaseTerms, NonceRule, Obtain
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import Sources
from sekimori.wire.igdcall import read_client_untrusted, read_remote_host_untrusted
from sekimori.wire.igdfaults import BadCall, Fault
from sekimori.wire.igdservices import Value

__all__ = ["Packets", "Pinholes", "UniqueIds"]

Packets = Callable[[str], Awaitable[int]]
"""How many packets came in through the mapping of an id.

Raises:
    Problem: the plane cannot be asked.
"""

Values = Mapping[str, Any]

_HIGHEST: Final = 0xFFFF
_ANY_PROTOCOL: Final = 65535  # WANIPv6FirewallControl:1 §2.4.5, Protocol
_PROTOCOLS: Final = {each.number: each for each in (IpProtocol.TCP, IpProtocol.UDP)}
_TIMEOUTS: Final = {
    IpProtocol.TCP: "net.netfilter.nf_conntrack_tcp_timeout_established",
    IpProtocol.UDP: "net.netfilter.nf_conntrack_udp_timeout_stream",
}


class UniqueIds:
    """Numbers of 16 bits for the pinholes of devices, and for those of others that devices asked for too.

    The number comes from what the pinhole leads to, so that it is the same after a restart; the few that
    would share one get the next that is free. `load` is to be called once, and `take` with every commit
    after it.
    """

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._numbers: dict[str, int] = {}
        self._ids: dict[int, str] = {}

    def load(self) -> None:
        """Take up what stands now, what was made first first."""
        snapshot = self._snapshot()
        self._numbers.clear()
        self._ids.clear()
        leases = [lease for owner in snapshot.leaseholders() for lease in snapshot.leases_of(owner)]
        for lease in sorted(leases, key=lambda each: (each.created_at, each.id)):
            self._add(lease)

    def take(self, committed: Committed) -> None:
        """Take note of what was committed."""
        for change in committed.changes:
            if isinstance(change.before, PortMapping) and change.after is None:
                number = self._numbers.pop(change.before.id, None)
                if number is not None:
                    del self._ids[number]
            if isinstance(change.after, PortMapping) and change.after.lease is not None:
                self._add(change.after)

    def of(self, mapping: PortMapping) -> int | None:
        """The number of a pinhole; None where all numbers are taken."""
        self._add(mapping)  # `take` may not have been told of it yet
        return self._numbers.get(mapping.id)

    def find(self, number: int) -> PortMapping | None:
        """The pinhole of a number."""
        return self._snapshot().get(self._ids.get(number, ""))

    def _add(self, mapping: PortMapping) -> None:
        is_hole = isinstance(mapping.target.address, IPv6Address)
        if not is_hole or mapping.id in self._numbers or len(self._ids) >= _HIGHEST:
            return
        pair = mapping.ports[0]
        number = zlib.crc32(f"{pair.protocol} {mapping.target} {pair.inside}".encode()) % _HIGHEST + 1
        while number in self._ids:
            number = number % _HIGHEST + 1
        self._numbers[mapping.id] = number
        self._ids[number] = mapping.id


class Pinholes:
    """Carries out the actions.

    Args:
        leases: the way to the gate.
        inside: what is known.
        ids: the numbers of pinholes.
        state: the state variables.
        packets: what counts a mapping's packets; None where nothing does.
    """

    def __init__(
        self, leases: Leases, inside: Inside, ids: UniqueIds, state: GatewayState, packets: Packets | None
    ) -> None:
        self._leases = leases
        self._inside = inside
        self._ids = ids
        self._state = state
        self._packets = packets

    async def call(self, who: Asking, action: str, values: Values) -> Mapping[str, Value]:
        """Carry an action out; its values outward.

        Raises:
            BadCall: the fault that is the answer.
            Problem: policy or a plane refused; `fault` makes the fault of it.
        """
        match action:
            case "GetFirewallStatus":
                return {
                    "FirewallEnabled": self._state.is_firewall_on,
                    "InboundPinholeAllowed": self._state.has_pinholes,
                }
            case "GetOutboundPinholeTimeout":
                return {"OutboundPinholeTimeout": _outbound_timeout(values)}
            case "AddPinhole":
                return await self._add(who, values)
            case "UpdatePinhole":
                await self._obtain(who, self._own(who, values), values["NewLeaseTime"])
                return {}
            case "DeletePinhole":
                hole = self._own(who, values)
                await self._leases.release(who.device, hole, None, NonceRule.SAME_SOURCE)
                return {}
            case "GetPinholePackets":
                return {"PinholePackets": await self._count(self._own(who, values))}
            case _:  # CheckPinholeWorking
                return await self._check(self._own(who, values))

    def fault(self, problem: Problem) -> Fault:
        """The fault that tells a problem of `call`."""
        return pinhole_fault(problem.code)

    async def _add(self, who: Asking, values: Values) -> Mapping[str, Value]:
        protocol = _read_protocol(values)
        port = values["InternalPort"]
        if port == 0:
            raise BadCall(Fault.PINHOLE_INTERNAL_PORT_WILDCARD, "a pinhole to every port")
        client, remote = _ipv6(values["InternalClient"]), read_remote_host_untrusted(values["RemoteHost"])
        if remote is not None and remote.version != 6:
            raise BadCall(Fault.ARGUMENT_VALUE_INVALID, "a pinhole of IPv6 for an IPv4 address")
        # Sources are addresses: no plane asks from which port somebody comes, and a pinhole that is wider
        # than was asked for is not made. But who may be anybody has no port either: Syncthing writes its own
        # port there, which no peer comes from.
        if values["RemotePort"] and not (remote is None and values["RemotePort"] == port):
            raise BadCall(Fault.ACTION_FAILED, "a pinhole for one remote port")
        if not self._state.has_pinholes:
            raise BadCall(Fault.INBOUND_PINHOLE_NOT_ALLOWED, "nobody can come in by IPv6")
        ask = Obtain(
            asker=await asker_for(self._inside, who, client),
            protocol=protocol,
            inside=client,
            ports=PortRange(port, port),
            lifetime=values["LeaseTime"],
            terms=LeaseTerms(protocol=LeaseProtocol.IGD),
            outside=port,
            exact=True,
            sources=Sources(anyone=True) if remote is None else Sources(prefixes=(ip_network(str(remote)),)),
        )
        hole = await self._leases.obtain(who.device, ask)
        refuse_anothers(ask, hole, who)
        number = self._ids.of(hole)
        if number is None:
            raise BadCall(Fault.PINHOLE_SPACE_EXHAUSTED, "every number is taken")
        return {"UniqueID": number}

    async def _obtain(self, who: Asking, hole: PortMapping, lifetime: int) -> None:
        """Give a pinhole more time; whatever else it has stays."""
        pair, host = hole.ports[0], hole.target.address
        assert hole.lease is not None
        assert host is not None
        ask = Obtain(
            asker=await asker_for(self._inside, who, host),
            protocol=pair.protocol,
            inside=host,
            ports=pair.inside,
            lifetime=lifetime,
            terms=hole.lease,
            outside=pair.outside.first,
            exact=True,
        )
        await self._leases.obtain(who.device, ask)

    def _own(self, who: Asking, values: Values) -> PortMapping:
        """The device's own pinhole of a number.

        Raises:
            BadCall: 704 there is none, 606 it is another's.
        """
        found = self._ids.find(values["UniqueID"])
        if found is None:
            raise BadCall(Fault.NO_SUCH_PINHOLE, "there is no such pinhole")
        if found.owner != who.device or found.lease is None:
            raise BadCall(Fault.NOT_AUTHORIZED, "it is another's")
        return found

    async def _count(self, hole: PortMapping) -> int:
        if self._packets is None:
            raise BadCall(Fault.ACTION_FAILED, "nothing counts packets here")
        return await self._packets(hole.id)

    async def _check(self, hole: PortMapping) -> Mapping[str, Value]:
        """Whether packets go through: where none came, nobody can tell (§2.4.9). Where none are counted, what
        is known is whether the pinhole is there; a fault would keep clients from renewing it.
        """
        if self._packets is not None and not await self._packets(hole.id):
            raise BadCall(Fault.NO_PACKET_SENT, "nothing came through it yet")
        return {"IsWorking": self._inside.status_of(hole.id).state is State.OPEN}


def _read_protocol(values: Values) -> IpProtocol:
    number = values["Protocol"]
    if number == _ANY_PROTOCOL:
        raise BadCall(Fault.PINHOLE_PROTOCOL_WILDCARD, "a pinhole for every protocol")
    found = _PROTOCOLS.get(number)
    if found is None:
        raise BadCall(Fault.PINHOLE_PROTOCOL_NOT_SUPPORTED, f"a pinhole for protocol {number}")
    return found


def _ipv6(text: str) -> IPv6Address:
    address = read_client_untrusted(text)
    if not isinstance(address, IPv6Address):
        raise BadCall(Fault.ARGUMENT_VALUE_INVALID, "a pinhole to an IPv4 address")
    return address


def _outbound_timeout(values: Values) -> int:
    """After how many seconds without a packet the kernel forgets a flow that a device began."""
    name = _TIMEOUTS[_read_protocol(values)]
    try:
        said = read_sysctl(name)
    except Problem as problem:
        raise BadCall(Fault.ACTION_FAILED, problem.title()) from None
    if said is None or not said.isdecimal():
        raise BadCall(Fault.ACTION_FAILED, f"this kernel does not say {name}")
    return int(said)
