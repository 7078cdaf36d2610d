"""What this machine does as a gateway beyond single mappings: translation, a firewall, and bans."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import Any

from sekimori.model.address import IPNetwork
from sekimori.model.mapping import Owner

__all__ = ["Ban", "Gateway"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The gateway as it was enabled. There is one or none.

    Attributes:
        masquerade: translate what the LAN sends out to the address of the WAN (NAPT, RFC 3022).
        firewall: admit nothing from outside, to this machine or through it, but mappings and replies.
        found: sysctls and the values they had before, which `disable` gives back.
        created_at: Unix seconds.
    """

    owner: Owner
    masquerade: bool = True
    firewall: bool = False
    found: tuple[tuple[str, str], ...] = ()
    created_at: int = 0

    @property
    def name(self) -> str:
        """What the journal calls it."""
        return "gateway"

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "owner": str(self.owner),
            "masquerade": self.masquerade,
            "firewall": self.firewall,
            "found": dict(self.found),
            "created_at": self.created_at,
        }

    @classmethod
    def from_document(cls, document: MappingABC[str, Any]) -> Gateway:
        """Read `to_document` back.

        Raises:
            KeyError, ValueError: the document is not a gateway.
        """
        return cls(
            owner=Owner.parse(document["owner"]),
            masquerade=document["masquerade"],
            firewall=document["firewall"],
            found=tuple(sorted(document["found"].items())),
            created_at=document["created_at"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """A prefix nobody of which may come in, by any mapping.

    Attributes:
        expires_at: Unix seconds; None is until it is lifted.
        reason: why, in the words of who made it; may be empty.
        created_at: Unix seconds.
    """

    prefix: IPNetwork
    owner: Owner
    expires_at: int | None = None
    reason: str = ""
    created_at: int = 0

    @property
    def name(self) -> str:
        """What the journal calls it: the prefix, a single host without its length."""
        host = self.prefix.prefixlen == self.prefix.max_prefixlen
        return str(self.prefix.network_address if host else self.prefix)

    def has_ended(self, now: float) -> bool:
        """Whether the second of its end has come."""
        return self.expires_at is not None and now >= self.expires_at

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "prefix": str(self.prefix),
            "owner": str(self.owner),
            "expires_at": self.expires_at,
            "reason": self.reason,
            "created_at": self.created_at,
        }

    @classmethod
    def from_document(cls, document: MappingABC[str, Any]) -> Ban:
        """Read `to_document` back.

        Raises:
            KeyError, ValueError: the document is not a ban.
        """
        return cls(
            prefix=ipaddress.ip_network(document["prefix"]),
            owner=Owner.parse(document["owner"]),
            expires_at=document["expires_at"],
            reason=document["reason"],
            created_at=document["created_at"],
        )
