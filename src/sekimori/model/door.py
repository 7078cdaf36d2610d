"""Doors that are off until somebody switches them on: which, where, and how they answer."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sekimori.model.address import IPAddress, PortRange, parse_address
from sekimori.model.causes import Unreadable, cause
from sekimori.model.errors import Problem
from sekimori.model.lease import NonceRule
from sekimori.model.mapping import Owner
from sekimori.model.user import Grant

__all__ = ["DisableDoor", "Door", "DoorName", "EnableDoor", "ListenAt"]


class DoorName(StrEnum):
    """The doors at which others than this machine's administrators ask."""

    IGD = "igd"
    """UPnP Internet Gateway Device: SSDP on UDP 1900, and HTTP on a port of its own."""
    PORTMAP = "portmap"
    """NAT-PMP and PCP, both on UDP 5351."""
    SSH = "ssh"
    """An SSH server that only forwards: `ssh -R`, and `-L`, `-D` and `-J` where they are granted."""


@dataclass(frozen=True, slots=True)
class ListenAt:
    """Where the SSH door answers: a port of one address, or with None of every address."""

    address: IPAddress | None
    port: int

    @classmethod
    def parse(cls, text: str) -> ListenAt:
        """Read `192.168.1.1:2222`, `[2001:db8::1]:2222`, `*:2222`; `0.0.0.0` and `[::]` are all of a family.

        Raises:
            Problem: `bad-listen`.
        """
        host, colon, port = text.strip().rpartition(":")
        try:
            ports = PortRange.parse(port)
        except Unreadable as error:
            raise Problem("bad-listen", text=text, why=error.why) from None
        if not colon or ports.size > 1:
            raise Problem("bad-listen", text=text, why=cause("listen-form"))
        if host == "*":
            return cls(None, ports.first)
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise Problem("bad-listen", text=text, why=cause("brackets"))
        try:
            return cls(parse_address(host), ports.first)
        except Problem:
            raise Problem("bad-listen", text=text, why=cause("not-an-address")) from None

    def __str__(self) -> str:
        host = "*" if self.address is None else str(self.address)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A door as it was enabled.

    Attributes:
        interfaces: where it answers; on none of them while it leads to the internet.
        version: which IGD it says it is, 1 or 2; of other doors 1.
        nonce: what PCP does with another nonce; of other doors without meaning.
        listen: of the SSH door: the addresses and ports it answers on, as `ListenAt` reads them.
        authorized_keys: of the SSH door: a file of keys beside those of its users; "" is none.
        grant: of the SSH door: what keys of that file may do, unless their options say less.
        created_at: Unix seconds.
    """

    door: DoorName
    owner: Owner
    interfaces: tuple[str, ...]
    version: int = 1
    nonce: NonceRule = NonceRule.SAME_SOURCE
    listen: tuple[str, ...] = ()
    authorized_keys: str = ""
    grant: Grant | None = None
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
            "listen": list(self.listen),
            "authorized_keys": self.authorized_keys,
            "grant": None if self.grant is None else self.grant.to_document(),
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
            # Documents from before there was an SSH door do not name these.
            listen=tuple(document.get("listen", ())),
            authorized_keys=document.get("authorized_keys", ""),
            grant=Grant.from_document(document["grant"]) if document.get("grant") else None,
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
