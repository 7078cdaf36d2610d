"""Doors that are off until somebody switches them on: which, where, and how they answer."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sekimori.model.lease import NonceRule
from sekimori.model.mapping import Owner

__all__ = ["DisableDoor", "Door", "DoorName", "EnableDoor"]


class DoorName(StrEnum):
    """The doors at which devices ask."""

    IGD = "igd"
    """UPnP Internet Gateway Device: SSDP on UDP 1900, and HTTP on a port of its own."""
    PORTMAP = "portmap"
    """NAT-PMP and PCP, both on UDP 5351."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A door as it was enabled.

    Attributes:
        interfaces: where it answers; on none of them while it leads to the internet.
        version: which IGD it says it is, 1 or 2; of other doors 1.
        nonce: what PCP does with another nonce; of other doors without meaning.
        created_at: Unix seconds.
    """

    door: DoorName
    owner: Owner
    interfaces: tuple[str, ...]
    version: int = 1
    nonce: NonceRule = NonceRule.SAME_SOURCE
    created_at: int = 0

    @property
    def name(self) -> str:
        """What the journal calls it."""
        return f"door {self.door}"

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "door": str(self.door),
            "owner": str(self.owner),
            "interfaces": list(self.interfaces),
            "version": self.version,
            "nonce": str(self.nonce),
            "created_at": self.created_at,
        }

    @classmethod
    def from_document(cls, document: MappingABC[str, Any]) -> Door:
        """Read `to_document` back.

        Raises:
            KeyError, ValueError: the document is not a door.
        """
        return cls(
            door=DoorName(document["door"]),
            owner=Owner.parse(document["owner"]),
            interfaces=tuple(document["interfaces"]),
            version=document["version"],
            nonce=NonceRule(document["nonce"]),
            created_at=document["created_at"],
        )


@dataclass(frozen=True, slots=True)
class EnableDoor:
    """Let devices ask at a door, or change how they may."""

    door: Door


@dataclass(frozen=True, slots=True)
class DisableDoor:
    """Shut a door. What was opened through it stands until its end."""

    door: DoorName
