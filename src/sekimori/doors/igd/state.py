"""The state variables of the gateway that devices may ask for and subscribe to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sekimori.doors.igd.entries import Entries
from sekimori.gate.devices import Inside
from sekimori.wire.igddescription import Gateway, default_connection
from sekimori.wire.igdservices import IgdVersion, Service, Value

__all__ = ["GatewayState"]

_MOST_ENTRIES: Final = 0xFFFF  # PortMappingNumberOfEntries is a ui2
_TYPE: Final = "IP_Routed"


class GatewayState:
    """What is so now.

    Args:
        inside: what is known.
        entries: the array of mappings.
        gateway: who we say we are.
        clock: seconds of a clock that only goes on.
    """

    def __init__(
        self, inside: Inside, entries: Entries, gateway: Gateway, clock: Callable[[], float]
    ) -> None:
        self._inside = inside
        self._entries = entries
        self._gateway = gateway
        self._clock = clock
        self._address = self.address
        self._since = clock()

    @property
    def address(self) -> str:
        """The outside IPv4 address; empty where there is none."""
        found = self._inside.outside_address(4)
        return "" if found is None else str(found)

    @property
    def connection(self) -> str:
        """ConnectionStatus."""
        return "Connected" if self.address else "Disconnected"

    @property
    def uptime(self) -> int:
        """Seconds that the connection has had its address, as far as the door has seen."""
        return int(self._clock() - self._since) if self.address else 0

    @property
    def wan(self) -> str | None:
        """The interface that leads to the internet."""
        return next((wan.interface for wan in self._inside.network().wans), None)

    @property
    def physical_link(self) -> str:
        """PhysicalLinkStatus."""
        return "Down" if self.wan is None else "Up"

    @property
    def is_firewall_on(self) -> bool:
        """Whether pinholes make a difference here. A gateway that is not ours may well filter."""
        gateway = self._inside.snapshot().gateway
        return gateway is None or gateway.firewall

    @property
    def has_pinholes(self) -> bool:
        """InboundPinholeAllowed: whether anybody can come in by IPv6."""
        return self._inside.outside_address(6) is not None

    def look(self) -> None:
        """See whether the connection is another one."""
        if self.address != self._address:
            self._address, self._since = self.address, self._clock()

    def evented(self, version: IgdVersion, service: Service) -> dict[str, Value]:
        """The values of the variables of a service whose changes are told."""
        return {name: self._value(version, name) for name in service.evented}

    def _value(self, version: IgdVersion, name: str) -> Value:
        match name:
            case "DefaultConnectionService":
                return default_connection(self._gateway, version)
            case "PhysicalLinkStatus":
                return self.physical_link
            case "PossibleConnectionTypes":
                return _TYPE
            case "ConnectionStatus":
                return self.connection
            case "ExternalIPAddress":
                return self.address
            case "PortMappingNumberOfEntries":
                return min(len(self._entries), _MOST_ENTRIES)
            case "SystemUpdateID":
                return self._entries.update_id
            case "FirewallEnabled":
                return self.is_firewall_on
            case "InboundPinholeAllowed":
                return self.has_pinholes
            case _:
                raise ValueError(f"a variable that is not known here: {name}")
