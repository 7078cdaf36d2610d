"""What is known of the routers above, and what they hold for us: values that others may read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from sekimori.model.causes import Text

__all__ = ["Presence", "RouterFacts", "RouterProtocol", "Standing"]


class RouterProtocol(StrEnum):
    """How a router is asked; in the order of preference."""

    PCP = "pcp"
    NATPMP = "natpmp"
    UPNP = "upnp"

    @property
    def label(self) -> str:
        """As people write it."""
        return {"pcp": "PCP", "natpmp": "NAT-PMP", "upnp": "UPnP"}[self.value]


class Presence(StrEnum):
    """Whether a router answers."""

    UNKNOWN = "unknown"
    """It has not been asked to the end."""
    THERE = "there"
    NONE = "none"
    """It answers none of the protocols, and never has."""
    SILENT = "silent"
    """It answered once, and does not any more."""


@dataclass(frozen=True, slots=True)
class RouterFacts:
    """One router above.

    Attributes:
        interface: the WAN it is reached by.
        local: this machine's address there.
        gateway: the router's address.
        presence: whether it answers.
        protocol: the one it is asked by; None where it answers none.
        answered: all that it answered.
        model: its own words for what it is, on one line; "" where it does not say.
        address: its outside address; None where it did not tell.
        address_doubt: why that is no address of the internet; None where it is one.
        epoch: seconds since it lost its state last, or for UPnP since its line came up, as it says.
        heard_at: Unix seconds of its last answer; None where there was none.
        lasting_only: it keeps entries only without an end: they stay if this program is killed.
    """

    interface: str
    local: IPv4Address
    gateway: IPv4Address
    presence: Presence
    protocol: RouterProtocol | None
    answered: tuple[RouterProtocol, ...]
    model: str
    address: IPv4Address | None
    address_doubt: Text | None
    epoch: int | None
    heard_at: float | None
    lasting_only: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What one router holds of a mapping.

    Attributes:
        ports: `tcp/8080`, `udp/7000-7010`.
        until: Unix seconds at which the router takes it away unless it is renewed; None for never.
        sure: whether it is known to be there: not after the router lost its state, or fell silent.
    """

    interface: str
    gateway: IPv4Address
    protocol: RouterProtocol
    ports: str
    until: float | None
    sure: bool
