"""What the table is for, apart from single mappings: names, labels, scopes, and the facts it stands on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sekimori.model.address import Interface, IPAddress, On
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.network import Network, Wan

__all__ = [
    "DMZ_LABEL",
    "EVERYWHERE",
    "FORWARD_LABEL",
    "PERMIT_LABEL",
    "TABLE",
    "Frame",
    "Scope",
    "scope_of",
]

TABLE: Final = "sekimori"
"""Our one table, of family inet. Nothing else on the machine is ours."""

FORWARD_LABEL: Final = 120
"""Bit of the conntrack label (of 128) that says: admitted by a mapping, to go through this machine.

Labels and not marks: marks are few and others route by them (mwan3, QoS), labels hardly anyone uses.
The highest bits, because connlabel.conf(5) is filled from 0 upwards."""

PERMIT_LABEL: Final = 121
"""Likewise: admitted by a mapping, to this machine itself."""

DMZ_LABEL: Final = 122
"""Likewise: claimed by nothing else, so it goes to the DMZ host."""

_NOT_A_WORD = re.compile(r"[^a-zA-Z0-9]")


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """Where outside ports are claimed: everywhere, at one address, or at one interface's addresses.

    Attributes:
        name: how its sets and chains are called.
    """

    name: str
    on: On | None = field(compare=False)

    def covers(self, wan: Wan, address: IPAddress) -> bool:
        """Whether packets to `address`, which is one of `wan`, are looked up in it."""
        if self.on is None:
            return True
        if isinstance(self.on, Interface):
            return self.on.name == wan.interface
        return self.on.version == address.version and (self.on.is_unspecified or self.on == address)


EVERYWHERE: Final = Scope("all", None)


def scope_of(on: On | None) -> Scope:
    """The scope that a mapping's `on` names. An unspecified address means everywhere, in its family."""
    if on is None:
        return EVERYWHERE
    kind = "if" if isinstance(on, Interface) else "at"
    # Two interfaces may differ in what no set name can have; hex keeps them apart.
    text = _NOT_A_WORD.sub(lambda match: f"_{ord(match[0]):x}_", str(on))
    return Scope(f"{kind}_{text}", on)


@dataclass(frozen=True, slots=True)
class Frame:
    """All that the table's structure follows from.

    Attributes:
        gateway: what was enabled beyond mappings; None is nothing.
        scopes: those in use beside `EVERYWHERE`, in order of their names.
        numbers: by WAN interface, the number in the marks of its flows; it stays while the line does,
            for live flows carry it.
        used: the sets of mappings that are looked up; None is all of them.
        pptp: a mapping carries GRE, so conntrack must follow PPTP's control connections.
    """

    network: Network
    gateway: Gateway | None = None
    bans: tuple[Ban, ...] = ()
    scopes: tuple[Scope, ...] = ()
    numbers: tuple[tuple[str, int], ...] = ()
    pptp: bool = False
    used: frozenset[str] | None = None

    @property
    def numbered(self) -> tuple[tuple[Wan, int], ...]:
        """Every WAN with its number."""
        numbers = dict(self.numbers)
        return tuple((wan, numbers[wan.interface]) for wan in self.network.wans if wan.interface in numbers)

    @property
    def all_scopes(self) -> tuple[Scope, ...]:
        """Those in use, the special ones before `EVERYWHERE`: the special is asked first."""
        return (*self.scopes, EVERYWHERE)

    def outside(self) -> Iterable[tuple[Wan, IPAddress, tuple[Scope, ...]]]:
        """Every WAN address with the scopes that cover it, in the order they are asked."""
        for wan in self.network.wans:
            for address in wan.addresses:
                yield wan, address, tuple(scope for scope in self.all_scopes if scope.covers(wan, address))

    @property
    def firewall(self) -> bool:
        """Whether everything that no mapping admits is kept out."""
        return self.gateway is not None and self.gateway.firewall

    @property
    def masquerade(self) -> bool:
        """Whether what the LAN sends out gets the WAN's address."""
        return self.gateway is not None and self.gateway.masquerade
