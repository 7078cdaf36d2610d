"""WANCommonInterfaceConfig and Layer3Forwarding: what devices may know of the line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sekimori.doors.igd.state import GatewayState
from sekimori.host.traffic import Traffic
from sekimori.wire.igddescription import Gateway, default_connection
from sekimori.wire.igdfaults import BadCall, Fault
from sekimori.wire.igdservices import IgdVersion, Value

__all__ = ["Line"]

_FASTEST: Final = 0xFFFF_FFFF  # Layer1UpstreamMaxBitRate is a ui4
_TOTALS: Final[Mapping[str, Callable[[Traffic], int]]] = {
    "GetTotalBytesSent": lambda traffic: traffic.bytes_out,
    "GetTotalBytesReceived": lambda traffic: traffic.bytes_in,
    "GetTotalPacketsSent": lambda traffic: traffic.packets_out,
    "GetTotalPacketsReceived": lambda traffic: traffic.packets_in,
}


class Line:
    """Carries out the actions.

    Args:
        gateway: who we say we are.
        state: the state variables.
        traffic: the counters of an interface; None where there is no such interface.
        speed: its bits a second; None where nobody knows.
    """

    def __init__(
        self,
        gateway: Gateway,
        state: GatewayState,
        traffic: Callable[[str], Traffic | None],
        speed: Callable[[str], int | None],
    ) -> None:
        self._gateway = gateway
        self._state = state
        self._traffic = traffic
        self._speed = speed

    def call(self, version: IgdVersion, action: str) -> Mapping[str, Value]:
        """Carry an action out; its values outward.

        Args:
            version: of the gateway that was asked.
            action: of either service.

        Raises:
            BadCall: the fault that is the answer.
        """
        match action:
            case "GetDefaultConnectionService":
                return {"NewDefaultConnectionService": default_connection(self._gateway, version)}
            case "SetDefaultConnectionService":
                raise BadCall(Fault.NOT_AUTHORIZED, "which connection is used is not for devices to say")
            case "GetCommonLinkProperties":
                return self._properties()
            case _:
                return {action.replace("Get", "New", 1): self._total(action)}

    def _properties(self) -> Mapping[str, Value]:
        wan = self._state.wan
        # 0 where nobody knows: PPP and most modems do not say how fast the line behind them is.
        speed = min((self._speed(wan) if wan else None) or 0, _FASTEST)
        return {
            "NewWANAccessType": "Ethernet",
            "NewLayer1UpstreamMaxBitRate": speed,
            "NewLayer1DownstreamMaxBitRate": speed,
            "NewPhysicalLinkStatus": self._state.physical_link,
        }

    def _total(self, action: str) -> int:
        wan = self._state.wan
        traffic = self._traffic(wan) if wan else None
        if traffic is None:
            raise BadCall(Fault.ACTION_FAILED, "no interface leads to the internet")
        return _TOTALS[action](traffic)
