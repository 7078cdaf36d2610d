"""The services of an Internet gateway: actions, arguments and state variables, in one table.

The documents that describe a service, the check of a call's arguments and the order of an answer all come
from here. Sources: the service templates WANIPConnection:1 and :2, WANIPv6FirewallControl:1,
WANCommonInterfaceConfig:1 and Layer3Forwarding:1 of the UPnP Forum. Of the optional actions those are left
out that do nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from sekimori.wire.igdfaults import Fault

__all__ = [
    "COMMON",
    "FIREWALL6",
    "FORWARDING",
    "WANIP1",
    "WANIP2",
    "WANPPP1",
    "Action",
    "Argument",
    "DataType",
    "IgdVersion",
    "Service",
    "Value",
    "Variable",
    "find_service",
    "services_of",
]

IgdVersion = Literal[1, 2]
Value = str | bool | int


class DataType(StrEnum):
    """UPnP Device Architecture 1.1 §2.5; those that occur here."""

    STRING = "string"
    BOOLEAN = "boolean"
    UI2 = "ui2"
    UI4 = "ui4"

    @property
    def most(self) -> int:
        """The largest number that the type holds."""
        return {"ui2": 0xFFFF, "ui4": 0xFFFF_FFFF, "boolean": 1, "string": 0}[self]


@dataclass(frozen=True, slots=True)
class Variable:
    """A state variable: what an argument related to it may be."""

    name: str
    data_type: DataType
    evented: bool = False
    allowed: tuple[str, ...] = ()
    """The values of a string; empty where every one is allowed. Case is not told apart in calls."""
    bounds: tuple[int, int] | None = None
    beyond: Fault | None = Fault.ARGUMENT_OUT_OF_RANGE
    """The answer to a number out of bounds; None takes the nearest one that is within."""
    absent: Value | None = None
    """What a call means that leaves the argument out, as some devices do; None refuses it."""
    document: bool = False
    """The string is XML. Clients that do not undo escapes want it as CDATA."""
    wraps: bool = False
    """A counter that starts again at 0 after the largest number of its type."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of an action, in or out."""

    name: str
    variable: Variable


@dataclass(frozen=True, slots=True)
class Action:
    """An action with its arguments in their order."""

    name: str
    inward: tuple[Argument, ...]
    outward: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """One version of a service."""

    name: str
    version: int
    service_id: str
    """The last part of its `serviceId`."""
    variables: MappingProxyType[str, Variable]
    actions: MappingProxyType[str, Action]

    @property
    def service_type(self) -> str:
        """`urn:schemas-upnp-org:service:NAME:VERSION`."""
        return f"urn:schemas-upnp-org:service:{self.name}:{self.version}"

    @property
    def evented(self) -> tuple[str, ...]:
        """The variables whose changes are told to subscribers."""
        return tuple(name for name, each in self.variables.items() if each.evented)


_Signature = tuple[str, str]
"""What goes in and what comes out: words `ARGUMENT=VARIABLE`."""


def _service(
    name: str, version: int, service_id: str, actions: dict[str, _Signature], *variables: Variable
) -> Service:
    known = {each.name: each for each in variables}

    def arguments(words: str) -> tuple[Argument, ...]:
        pairs = (word.split("=") for word in words.split())
        return tuple(Argument(argument, known[variable]) for argument, variable in pairs)

    made = {each: Action(each, arguments(ins), arguments(outs)) for each, (ins, outs) in actions.items()}
    return Service(name, version, service_id, MappingProxyType(known), MappingProxyType(made))


def _string(name: str, *allowed: str, evented: bool = False, absent: str | None = None) -> Variable:
    return Variable(name, DataType.STRING, evented, allowed, absent=absent)


def _boolean(name: str, *, evented: bool = False, absent: bool | None = None) -> Variable:
    return Variable(name, DataType.BOOLEAN, evented, absent=absent)


def _ui2(name: str, *, evented: bool = False) -> Variable:
    return Variable(name, DataType.UI2, evented)


def _ui4(name: str, *, evented: bool = False, wraps: bool = False) -> Variable:
    return Variable(name, DataType.UI4, evented, wraps=wraps)


_KEY: Final = "NewRemoteHost=RemoteHost NewExternalPort=ExternalPort NewProtocol=PortMappingProtocol"
_ENTRY: Final = (
    "NewInternalPort=InternalPort NewInternalClient=InternalClient NewEnabled=PortMappingEnabled"
    " NewPortMappingDescription=PortMappingDescription NewLeaseDuration=PortMappingLeaseDuration"
)
_RANGE: Final = (
    "NewStartPort=ExternalPort NewEndPort=ExternalPort NewProtocol=PortMappingProtocol"
    " NewManage=A_ARG_TYPE_Manage"
)
_STATUS: Final = (
    "NewConnectionStatus=ConnectionStatus NewLastConnectionError=LastConnectionError NewUptime=Uptime"
)
_CONNECTION_ACTIONS: Final[dict[str, _Signature]] = {
    "SetConnectionType": ("NewConnectionType=ConnectionType", ""),
    "GetConnectionTypeInfo": (
        "",
        "NewConnectionType=ConnectionType NewPossibleConnectionTypes=PossibleConnectionTypes",
    ),
    "RequestConnection": ("", ""),
    "ForceTermination": ("", ""),
    "GetStatusInfo": ("", _STATUS),
    "GetNATRSIPStatus": ("", "NewRSIPAvailable=RSIPAvailable NewNATEnabled=NATEnabled"),
    "GetGenericPortMappingEntry": (
        "NewPortMappingIndex=PortMappingNumberOfEntries",
        f"{_KEY} {_ENTRY}",
    ),
    "GetSpecificPortMappingEntry": (_KEY, _ENTRY),
    "AddPortMapping": (f"{_KEY} {_ENTRY}", ""),
    "DeletePortMapping": (_KEY, ""),
    "GetExternalIPAddress": ("", "NewExternalIPAddress=ExternalIPAddress"),
}
_CONNECTION_ACTIONS_2: Final[dict[str, _Signature]] = {
    "DeletePortMappingRange": (_RANGE, ""),
    "GetListOfPortMappings": (
        f"{_RANGE} NewNumberOfPorts=PortMappingNumberOfEntries",
        "NewPortListing=A_ARG_TYPE_PortListing",
    ),
    "AddAnyPortMapping": (f"{_KEY} {_ENTRY}", "NewReservedPort=ExternalPort"),
}
_LEASE: Final = Variable("PortMappingLeaseDuration", DataType.UI4, absent=0)
_INTERNAL_PORT: Final = Variable("InternalPort", DataType.UI2, bounds=(1, 65535), beyond=Fault.INVALID_ARGS)
_LONGEST_LEASE: Final = 604800  # one week: WANIPConnection:2, PortMappingLeaseDuration
_CONNECTION_VARIABLES: Final = (
    _string("ConnectionType"),
    _string("PossibleConnectionTypes", "Unconfigured", "IP_Routed", "IP_Bridged", evented=True),
    _string(
        "ConnectionStatus",
        "Unconfigured",
        "Connecting",
        "Connected",
        "PendingDisconnect",
        "Disconnecting",
        "Disconnected",
        evented=True,
    ),
    _ui4("Uptime", wraps=True),
    _string(
        "LastConnectionError", "ERROR_NONE", "ERROR_NO_CARRIER", "ERROR_IP_CONFIGURATION", "ERROR_UNKNOWN"
    ),
    _boolean("RSIPAvailable"),
    _boolean("NATEnabled"),
    _string("ExternalIPAddress", evented=True),
    _ui2("PortMappingNumberOfEntries", evented=True),
    _boolean("PortMappingEnabled", absent=True),
    _LEASE,
    _string("RemoteHost", absent=""),
    _ui2("ExternalPort"),
    _INTERNAL_PORT,
    _string("PortMappingProtocol", "TCP", "UDP"),
    _string("InternalClient"),
    _string("PortMappingDescription", absent=""),
)
_VARIABLES_2: Final = {
    # Version 2 knows a fault of its own for port 0. A lease that is too long becomes the longest there is,
    # which Get*PortMappingEntry tells: to refuse it would lose the clients that ask for a year.
    "InternalPort": replace(_INTERNAL_PORT, beyond=Fault.INTERNAL_PORT_WILDCARD),
    "PortMappingLeaseDuration": replace(_LEASE, bounds=(0, _LONGEST_LEASE), beyond=None),
}

WANIP1: Final = _service("WANIPConnection", 1, "WANIPConn1", _CONNECTION_ACTIONS, *_CONNECTION_VARIABLES)
WANIP2: Final = _service(
    "WANIPConnection",
    2,
    "WANIPConn1",
    {**_CONNECTION_ACTIONS, **_CONNECTION_ACTIONS_2},
    *(_VARIABLES_2.get(each.name, each) for each in _CONNECTION_VARIABLES),
    _ui4("SystemUpdateID", evented=True, wraps=True),
    _boolean("A_ARG_TYPE_Manage", absent=False),
    Variable("A_ARG_TYPE_PortListing", DataType.STRING, document=True),
)
WANPPP1: Final = replace(WANIP1, name="WANPPPConnection", service_id="WANPPPConn1")
"""Asked of routers above, never served: its actions for mappings are those of WANIPConnection:1."""

_PINHOLE: Final = (
    "RemoteHost=A_ARG_TYPE_IPv6Address RemotePort=A_ARG_TYPE_Port InternalClient=A_ARG_TYPE_IPv6Address"
    " InternalPort=A_ARG_TYPE_Port Protocol=A_ARG_TYPE_Protocol"
)
FIREWALL6: Final = _service(
    "WANIPv6FirewallControl",
    1,
    "WANIPv6Firewall1",
    {
        "GetFirewallStatus": (
            "",
            "FirewallEnabled=FirewallEnabled InboundPinholeAllowed=InboundPinholeAllowed",
        ),
        "GetOutboundPinholeTimeout": (
            _PINHOLE,
            "OutboundPinholeTimeout=A_ARG_TYPE_OutboundPinholeTimeout",
        ),
        "AddPinhole": (f"{_PINHOLE} LeaseTime=A_ARG_TYPE_LeaseTime", "UniqueID=A_ARG_TYPE_UniqueID"),
        "UpdatePinhole": ("UniqueID=A_ARG_TYPE_UniqueID NewLeaseTime=A_ARG_TYPE_LeaseTime", ""),
        "DeletePinhole": ("UniqueID=A_ARG_TYPE_UniqueID", ""),
        "GetPinholePackets": (
            "UniqueID=A_ARG_TYPE_UniqueID",
            "PinholePackets=A_ARG_TYPE_PinholePackets",
        ),
        "CheckPinholeWorking": ("UniqueID=A_ARG_TYPE_UniqueID", "IsWorking=A_ARG_TYPE_Boolean"),
    },
    _boolean("FirewallEnabled", evented=True),
    _string("A_ARG_TYPE_IPv6Address"),
    _ui2("A_ARG_TYPE_Port"),
    _ui2("A_ARG_TYPE_Protocol"),
    _ui2("A_ARG_TYPE_UniqueID"),
    # AddPinhole does not tell which lifetime was granted, so one that is out of bounds has to be refused.
    Variable("A_ARG_TYPE_LeaseTime", DataType.UI4, bounds=(1, 86400)),
    _boolean("InboundPinholeAllowed", evented=True),
    _ui4("A_ARG_TYPE_OutboundPinholeTimeout"),
    _boolean("A_ARG_TYPE_Boolean"),
    _ui4("A_ARG_TYPE_PinholePackets", wraps=True),
)

_TOTALS: Final = ("TotalBytesSent", "TotalBytesReceived", "TotalPacketsSent", "TotalPacketsReceived")
COMMON: Final = _service(
    "WANCommonInterfaceConfig",
    1,
    "WANCommonIFC1",
    {
        "GetCommonLinkProperties": (
            "",
            "NewWANAccessType=WANAccessType NewLayer1UpstreamMaxBitRate=Layer1UpstreamMaxBitRate"
            " NewLayer1DownstreamMaxBitRate=Layer1DownstreamMaxBitRate"
            " NewPhysicalLinkStatus=PhysicalLinkStatus",
        ),
        **{f"Get{each}": ("", f"New{each}={each}") for each in _TOTALS},
    },
    _string("WANAccessType", "DSL", "POTS", "Cable", "Ethernet"),
    _ui4("Layer1UpstreamMaxBitRate"),
    _ui4("Layer1DownstreamMaxBitRate"),
    _string("PhysicalLinkStatus", "Up", "Down", "Initializing", "Unavailable", evented=True),
    *(_ui4(each, wraps=True) for each in _TOTALS),
)

FORWARDING: Final = _service(
    "Layer3Forwarding",
    1,
    "L3Forwarding1",
    {
        "SetDefaultConnectionService": ("NewDefaultConnectionService=DefaultConnectionService", ""),
        "GetDefaultConnectionService": ("", "NewDefaultConnectionService=DefaultConnectionService"),
    },
    _string("DefaultConnectionService", evented=True),
)

_TREE: Final[dict[IgdVersion, tuple[tuple[str, tuple[Service, ...]], ...]]] = {
    1: (
        ("InternetGatewayDevice", (FORWARDING,)),
        ("WANDevice", (COMMON,)),
        ("WANConnectionDevice", (WANIP1,)),
    ),
    2: (
        ("InternetGatewayDevice", (FORWARDING,)),
        ("WANDevice", (COMMON,)),
        ("WANConnectionDevice", (WANIP2, FIREWALL6)),
    ),
}
_BY_TYPE: Final = {
    each.service_type: each for each in (FORWARDING, COMMON, WANIP1, WANIP2, FIREWALL6, WANPPP1)
}


def services_of(version: IgdVersion) -> tuple[tuple[str, tuple[Service, ...]], ...]:
    """The devices of a gateway, each inside the one before it, with their services."""
    return _TREE[version]


def find_service(service_type: str) -> Service | None:
    """The table of a service by its type; None for one that is not known here."""
    return _BY_TYPE.get(service_type)
