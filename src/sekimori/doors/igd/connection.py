"""WANIPConnection, versions 1 and 2: the outside address, and the port mappings of IPv4."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from itertools import islice
from typing import Any, Final

from sekimori.doors.igd.asking import Asking, asker_for, refuse_anothers
from sekimori.doors.igd.entries import Entries, entry_of, find_pair
from sekimori.doors.igd.faults import mapping_fault
from sekimori.doors.igd.state import GatewayState
from sekimori.gate.devices import Inside, Leases
from sekimori.model.address import IPAddress, IpProtocol, PortRange
from sekimori.model.errors import Problem
from sekimori.model.lease import LeaseProtocol, LeaseTerms, NonceRule, Obtain
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.source import Sources
from sekimori.wire.igdcall import (
    read_client_untrusted,
    read_description_untrusted,
    read_remote_host_untrusted,
)
from sekimori.wire.igdfaults import BadCall, Fault
from sekimori.wire.igdlisting import Listed, encode_listing
from sekimori.wire.igdservices import IgdVersion, Value

__all__ = ["Connection"]

_PROTOCOLS: Final = {"TCP": IpProtocol.TCP, "UDP": IpProtocol.UDP}
_WEEK: Final = 604_800
"""The longest lease of version 2, and how long one without an end is asked for at a time."""
_MOST_LISTED: Final = 500
"""Entries of one GetListOfPortMappings, written in some 10 ms; who wants more asks on from the last port."""

Values = Mapping[str, Any]
"""Arguments by name, checked by the table of the service."""


class Connection:
    """Carries out the actions.

    Args:
        leases: the way to the gate.
        inside: what is known.
        entries: the array of mappings.
        state: the state variables.
    """

    def __init__(self, leases: Leases, inside: Inside, entries: Entries, state: GatewayState) -> None:
        self._leases = leases
        self._inside = inside
        self._entries = entries
        self._state = state

    async def call(
        self, who: Asking, version: IgdVersion, action: str, values: Values
    ) -> Mapping[str, Value]:
        """Carry an action out; its values outward.

        Args:
            who: who calls.
            version: of the service that was called.
            action: one of its table.
            values: its arguments.

        Raises:
            BadCall: the fault that is the answer.
            Problem: policy or a plane refused; `fault` makes the fault of it.
        """
        match action:
            case "AddPortMapping":
                await self._obtain(who, version, values, exact=True)
                return {}
            case "AddAnyPortMapping":
                return await self._add_any(who, version, values)
            case "DeletePortMapping":
                return await self._delete(who, version, values)
            case "DeletePortMappingRange":
                return await self._delete_range(who, values)
            case "GetGenericPortMappingEntry":
                return self._generic(who, values)
            case "GetSpecificPortMappingEntry":
                return self._specific(who, values)
            case "GetListOfPortMappings":
                return self._list(who, values)
            case _:
                return self._about_line(version, action)

    def fault(self, problem: Problem, version: IgdVersion, values: Values) -> Fault:
        """The fault that tells a problem of `call`."""
        by_hand = False
        if problem.code == "port-taken":
            holder = self._entries.holder(_protocol(values), values["NewExternalPort"])
            by_hand = holder is not None and holder.lease is None
        return mapping_fault(problem.code, version, by_hand=by_hand)

    # -- the line ------------------------------------------------------------------------

    def _about_line(self, version: IgdVersion, action: str) -> Mapping[str, Value]:
        state = self._state
        match action:
            case "GetExternalIPAddress":
                # Without one, an empty text: clients that are told of a fault give the gateway up for good.
                return {"NewExternalIPAddress": state.address}
            case "GetStatusInfo":
                return {
                    "NewConnectionStatus": state.connection,
                    "NewLastConnectionError": "ERROR_NONE" if state.address else "ERROR_NO_CARRIER",
                    "NewUptime": state.uptime,
                }
            case "GetConnectionTypeInfo":
                return {"NewConnectionType": "IP_Routed", "NewPossibleConnectionTypes": "IP_Routed"}
            case "GetNATRSIPStatus":
                return {"NewRSIPAvailable": False, "NewNATEnabled": True}
            case "RequestConnection":
                if not state.address:
                    raise BadCall(Fault.CONNECTION_SETUP_FAILED, "there is no connection to the internet")
                return {}
            case "SetConnectionType" if version == 2:
                raise BadCall(Fault.READ_ONLY, "the type of the connection is found, not set")
            case _:
                # ForceTermination, and SetConnectionType: no device ends the connection of all of them.
                raise BadCall(Fault.NOT_AUTHORIZED, f"{action} is not for devices")

    # -- opening and closing -------------------------------------------------------------

    async def _add_any(self, who: Asking, version: IgdVersion, values: Values) -> Mapping[str, Value]:
        mapping = await self._obtain(who, version, values, exact=False)
        protocol, port = _protocol(values), values["NewInternalPort"]
        pair = next(each for each in mapping.ports if each.protocol is protocol and port in each.inside)
        return {"NewReservedPort": pair.outside.first + port - pair.inside.first}

    async def _obtain(self, who: Asking, version: IgdVersion, values: Values, *, exact: bool) -> PortMapping:
        """Open or renew. In UPnP the outside port tells one mapping from another; where any port is asked for
        it is the inside port, or asking again would take one port after the other.

        Somebody who may come in is one address or everybody. Two mappings of one outside port for two remote
        hosts cannot stand beside each other here, so for the same device the later one is what it means.
        """
        outside, lease = values["NewExternalPort"], values["NewLeaseDuration"]
        if exact and outside == 0:
            raise BadCall(Fault.EXTERNAL_PORT_WILDCARD, "a mapping of every outside port")
        if not values["NewEnabled"]:
            # A port that is to be shut needs no mapping, and one that stands is ended by DeletePortMapping.
            raise BadCall(Fault.INVALID_ARGS, "a mapping that is not enabled")
        client = _ipv4(read_client_untrusted(values["NewInternalClient"]))
        remote = read_remote_host_untrusted(values["NewRemoteHost"])
        ask = Obtain(
            asker=await asker_for(self._inside, who, client),
            protocol=_protocol(values),
            inside=client,
            ports=PortRange(values["NewInternalPort"], values["NewInternalPort"]),
            lifetime=min(lease or _WEEK, _WEEK),
            terms=LeaseTerms(
                protocol=LeaseProtocol.IGD,
                description=read_description_untrusted(values["NewPortMappingDescription"]),
                # Only the first version knows leases without an end; in the second 0 is a week.
                lasting=version == 1 and lease == 0,
            ),
            outside=outside or None,
            exact=exact,
            by_outside=exact,
            sources=_sources(remote),
        )
        mapping = await self._leases.obtain(who.device, ask)
        refuse_anothers(ask, mapping, who)
        return mapping

    async def _delete(self, who: Asking, version: IgdVersion, values: Values) -> Mapping[str, Value]:
        found = self._entries.holder(_protocol(values), values["NewExternalPort"])
        remote = read_remote_host_untrusted(values["NewRemoteHost"])
        if found is None or (remote is not None and found.sources != _sources(remote)):
            raise BadCall(Fault.NO_SUCH_ENTRY, "there is no such mapping")
        if not _is_its_own(found, who):
            # Version 1 has no word for it but that the device has no such mapping.
            raise BadCall(Fault.NO_SUCH_ENTRY if version == 1 else Fault.NOT_AUTHORIZED, "it is another's")
        await self._leases.release(who.device, found, None, NonceRule.SAME_SOURCE)
        return {}

    async def _delete_range(self, who: Asking, values: Values) -> Mapping[str, Value]:
        """End the device's own mappings in a range; with NewManage it would be everybody's, which no device
        may.
        """
        bounds = _bounds(values)
        mine = [each for each, _ in self._entries.held_by(who.device, *bounds) if _is_its_own(each, who)]
        if not mine:
            theirs = values["NewManage"] and any(self._entries.between(*bounds))
            raise BadCall(Fault.NOT_AUTHORIZED if theirs else Fault.PORT_MAPPING_NOT_FOUND, "none is its own")
        for mapping in mine:
            await self._leases.release(who.device, mapping, None, NonceRule.SAME_SOURCE)
        return {}

    # -- looking -------------------------------------------------------------------------

    def _generic(self, who: Asking, values: Values) -> Mapping[str, Value]:
        found = self._entries.at(values["NewPortMappingIndex"])
        if found is None:
            raise BadCall(Fault.ARRAY_INDEX_INVALID, "the array is shorter")
        entry = self._entry(who, *found)
        key: dict[str, Value] = {
            "NewRemoteHost": entry.remote_host,
            "NewExternalPort": entry.external_port,
            "NewProtocol": entry.protocol,
        }
        return {**key, **_rest(entry)}

    def _specific(self, who: Asking, values: Values) -> Mapping[str, Value]:
        """Who has a port, whatever remote host is asked about: consoles ask before they add, and to be told
        that nobody has it means to them that it is free.
        """
        protocol, port = _protocol(values), values["NewExternalPort"]
        found = self._entries.holder(protocol, port)
        if found is None or find_pair(found, protocol, port) is None:
            raise BadCall(Fault.NO_SUCH_ENTRY, "nobody has the port")
        return _rest(self._entry(who, found, protocol, port))

    def _list(self, who: Asking, values: Values) -> Mapping[str, Value]:
        bounds = _bounds(values)
        everybody = values["NewManage"]
        found = self._entries.between(*bounds) if everybody else self._entries.held_by(who.device, *bounds)
        most = min(values["NewNumberOfPorts"] or _MOST_LISTED, _MOST_LISTED)
        entries = [self._entry(who, each, bounds[0], port) for each, port in islice(found, most)]
        if not entries:
            raise BadCall(Fault.PORT_MAPPING_NOT_FOUND, "none is in the range")
        return {"NewPortListing": encode_listing(entries)}

    def _entry(self, who: Asking, mapping: PortMapping, protocol: IpProtocol, port: int) -> Listed:
        return entry_of(mapping, protocol, port, who.asker.address, who.here, self._inside)


def _rest(entry: Listed) -> dict[str, Value]:
    return {
        "NewInternalPort": entry.internal_port,
        "NewInternalClient": entry.internal_client,
        "NewEnabled": entry.enabled,
        "NewPortMappingDescription": entry.description,
        "NewLeaseDuration": entry.lease,
    }


def _protocol(values: Values) -> IpProtocol:
    return _PROTOCOLS[values["NewProtocol"]]


def _bounds(values: Values) -> tuple[IpProtocol, int, int]:
    """The protocol, the first and the last outside port of a range."""
    first, last = values["NewStartPort"], values["NewEndPort"]
    if first > last:
        raise BadCall(Fault.INCONSISTENT_PARAMETERS, "the range ends before it begins")
    return _protocol(values), first, last


def _ipv4(address: IPAddress) -> IPAddress:
    if address.version != 4:
        raise BadCall(Fault.ARGUMENT_VALUE_INVALID, "a mapping of IPv4 to an IPv6 address")
    return address


def _sources(remote: IPAddress | None) -> Sources:
    if remote is None:
        return Sources(anyone=True)
    return Sources(prefixes=(ip_network(str(_ipv4(remote))),))


def _is_its_own(mapping: PortMapping, who: Asking) -> bool:
    """Whether a device may end a mapping by naming one port of it."""
    return mapping.lease is not None and mapping.owner == who.device and mapping.ports[0].outside.size == 1
