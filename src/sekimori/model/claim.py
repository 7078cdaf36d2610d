"""What mappings hold for themselves, and when two of them meet."""

from __future__ import annotations

from dataclasses import dataclass

from sekimori.model.address import Interface, On, PortPair, UnixPath

__all__ = ["Claim"]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a mapping holds for itself: ports of one protocol on one address, or on all; or a path.

    Attributes:
        on: an address or interface of the machine; None is all of them. Of a pinhole it is the address
            of the host inside, of a unix socket its path.
        hole: it is a pinhole's, and so nothing of this machine is taken.
        at: the link at whose far end the ports are; None is this machine.
    """

    pair: PortPair
    on: On | None
    hole: bool = False
    at: str | None = None

    @property
    def space(self) -> str:
        """What the claim is one of: those of two spaces never meet."""
        kind = f"hole/{self.pair.protocol}" if self.hole else str(self.pair.protocol)
        if isinstance(self.on, UnixPath):
            kind = str(self.on)
        return kind if self.at is None else f"at/{self.at}/{kind}"

    def overlaps(self, other: Claim) -> bool:
        """Whether both claim a port that arrives at one and the same address."""
        return (
            self.hole is other.hole
            and self.at == other.at
            and self.pair.protocol is other.pair.protocol
            and self.pair.outside.overlaps(other.pair.outside)
            and _addresses_overlap(self.on, other.on)
        )

    def __str__(self) -> str:
        text = f"{self.pair.protocol}/{self.pair.outside}" if self.pair.protocol.has_ports else str(self.pair)
        if isinstance(self.on, UnixPath):
            text = str(self.on)
        elif self.on is not None:
            text = f"{text} on {self.on}"
        return text if self.at is None else f"{text} at {self.at}"


def _addresses_overlap(one: On | None, other: On | None) -> bool:
    if one is None or other is None:
        return True
    if isinstance(one, Interface) and isinstance(other, Interface):
        return one == other
    if isinstance(one, UnixPath) or isinstance(other, UnixPath):
        return one == other
    if isinstance(one, Interface) or isinstance(other, Interface):
        return True  # it may have that address, today or tomorrow
    if one.version != other.version:
        return False
    return one == other or one.is_unspecified or other.is_unspecified
