"""What a refusal is called in UPnP."""

from __future__ import annotations

from typing import Final

from sekimori.wire.igdfaults import Fault
from sekimori.wire.igdservices import IgdVersion

__all__ = ["mapping_fault", "pinhole_fault"]

_NOT_ALLOWED: Final = frozenset(
    {"lease-refused", "not-permitted", "lease-nonce", "lease-paused", "risk-not-accepted"}
)
_EXHAUSTED: Final = frozenset({"lease-quota", "no-free-port"})


def mapping_fault(code: str, version: IgdVersion, *, by_hand: bool = False) -> Fault:
    """The fault of WANIPConnection for a problem's code.

    Args:
        code: the problem's.
        version: of the service that was called: 728 and 729 came with the second.
        by_hand: whether what holds the port is no device's.
    """
    if code in _NOT_ALLOWED:
        return Fault.NOT_AUTHORIZED
    if code == "port-taken" and not by_hand:
        return Fault.CONFLICT
    if code in ("port-taken", "port-busy"):
        return Fault.CONFLICT if version == 1 else Fault.CONFLICT_WITH_OTHER_MECHANISMS
    if code in _EXHAUSTED and version == 2:
        return Fault.NO_PORT_MAPS_AVAILABLE
    return Fault.ACTION_FAILED


def pinhole_fault(code: str) -> Fault:
    """The fault of WANIPv6FirewallControl for a problem's code."""
    if code in _NOT_ALLOWED:
        return Fault.NOT_AUTHORIZED
    if code in _EXHAUSTED:
        return Fault.PINHOLE_SPACE_EXHAUSTED
    if code in ("port-taken", "port-busy"):
        return Fault.INBOUND_PINHOLE_NOT_ALLOWED
    return Fault.ACTION_FAILED
