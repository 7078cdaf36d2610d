"""How the NATs and firewalls on the way treat a socket of this machine, as STUN servers see it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sekimori.model.address import IPAddress

__all__ = ["Behaviour", "Endpoint", "FilteringBehaviour", "MappingBehaviour", "Seen"]


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """An address and a UDP port (1 to 65535)."""

    address: IPAddress
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


class MappingBehaviour(StrEnum):
    """Whether one socket has one outside address and port for all it talks to (RFC 4787 §4.1)."""

    UNTRANSLATED = "untranslated"
    """It is seen outside as it is here."""
    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    VARIES = "varies"
    """Two servers at different addresses see different ones; what it goes by was not found out."""
    UNKNOWN = "unknown"


class FilteringBehaviour(StrEnum):
    """From whom a socket receives that has sent to somebody (RFC 4787 §5).

    The firewall of this machine is on the way like any other.
    """

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    """From anyone."""
    ADDRESS_DEPENDENT = "address-dependent"
    """From any port of that address."""
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    UNKNOWN = "unknown"
    """Not tested, or the server does not truly answer from its other address."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one server said.

    Attributes:
        mapped: where it saw the question come from; None where it did not say.
        refusal: the code of its error answer (RFC 8489 §14.8); None without one.
    """

    server: Endpoint
    mapped: Endpoint | None = None
    refusal: int | None = None

    @property
    def silent(self) -> bool:
        """Whether no answer came."""
        return self.mapped is None and self.refusal is None


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What one socket found out from all servers, in the order they were given."""

    seen: tuple[Seen, ...]
    mapping: MappingBehaviour = MappingBehaviour.UNKNOWN
    filtering: FilteringBehaviour = FilteringBehaviour.UNKNOWN

    @property
    def mapped(self) -> Endpoint | None:
        """What the first server that answered saw."""
        return next((each.mapped for each in self.seen if each.mapped is not None), None)
