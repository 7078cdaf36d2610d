"""The sets that mappings fill, each with what its keys and values are.

Their elements are written by `elements`, their look-ups by `structure`. Two rules hold of them: what is
looked up for a new flow only has a timeout, so that it ends on its second with the daemon dead; what
counts has a counter and no timeout, for a counter ends with its element.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["GLOBAL_SETS", "SCOPE_SETS", "SetKind", "all_sets", "is_filled", "set_name"]

_PORT: Final = "inet_proto . inet_service"
_HOLE: Final = "inet_proto . ipv6_addr . inet_service"


@dataclass(frozen=True, slots=True)
class SetKind:
    """How a set is declared.

    Attributes:
        key: nftables' data types of the key.
        value: of the value, where it is a map.
        interval: elements are ranges (pipapo); otherwise a hash, whose look-up costs the same at 60,000.
        expires: elements may have a timeout.
    """

    key: str
    value: str | None = None
    interval: bool = False
    expires: bool = True

    def declare(self, name: str) -> str:
        """The command that makes it; where it is there already, that does nothing."""
        flags = [flag for flag, on in (("interval", self.interval), ("timeout", self.expires)) if on]
        noun, kind = ("map", f"{self.key} : {self.value}") if self.value else ("set", self.key)
        flag_text = f"flags {', '.join(flags)} ; " if flags else ""
        return f"add {noun} inet sekimori {name} {{ type {kind} ; {flag_text}counter ; }}"


SCOPE_SETS: Final = {
    # Where to: exact ports and every port of a shifted range; ranges that keep their ports; protocols.
    "fwd4": SetKind(_PORT, "ipv4_addr . inet_service"),
    "fwd6": SetKind(_PORT, "ipv6_addr . inet_service"),
    "fwdr4": SetKind(_PORT, "ipv4_addr", interval=True),
    "fwdr6": SetKind(_PORT, "ipv6_addr", interval=True),
    "fwdp4": SetKind("inet_proto", "ipv4_addr"),
    "fwdp6": SetKind("inet_proto", "ipv6_addr"),
    "dmz": SetKind("nf_proto", "ipv4_addr"),
    "trig": SetKind(_PORT, "verdict", interval=True),
    # Who may: only mappings that say so are here.
    "gate": SetKind(_PORT, "verdict"),
    "gater": SetKind(_PORT, "verdict", interval=True),
    "gatep": SetKind("inet_proto", "verdict"),
    # The same for the policy that most mappings have. The kernel walks every element of a verdict map at
    # each transaction (nft_lookup_validate), 3 ms at 60,000; of a set it walks none.
    "lan": SetKind(_PORT),
    "lanr": SetKind(_PORT, interval=True),
    # What goes in and out, and whether it is for this machine itself; of that, new flows are counted by
    # themselves, which a NAT map does by the way.
    "in": SetKind(_PORT, expires=False),
    "inr": SetKind(_PORT, interval=True, expires=False),
    "inp": SetKind("inet_proto", expires=False),
    "own": SetKind(_PORT),
    "ownr": SetKind(_PORT, interval=True),
    "ownp": SetKind("inet_proto"),
    "fresh": SetKind(_PORT, expires=False),
    "freshr": SetKind(_PORT, interval=True, expires=False),
    "freshp": SetKind("inet_proto", expires=False),
    "out": SetKind(_PORT, expires=False),
    "outr": SetKind(_PORT, interval=True, expires=False),
    "outp": SetKind("inet_proto", expires=False),
    "dmzin": SetKind("nf_proto"),
    "dmzout": SetKind("nf_proto", expires=False),
    "dmzx": SetKind(_PORT, interval=True, expires=False),
}
"""Sets that every scope has, by the stem of their names."""

GLOBAL_SETS: Final = {
    "sym4": SetKind("inet_proto . ipv4_addr . inet_service", "inet_service"),
    # IPv6 pinholes: exact, ranges, by suffix (its upper 64 bits are 0), suffix with a range, protocols, all.
    "hole": SetKind(_HOLE),
    "holer": SetKind(_HOLE, interval=True),
    "holes": SetKind(_HOLE),
    "holesr": SetKind(_HOLE, interval=True),
    "holep": SetKind("inet_proto . ipv6_addr"),
    "holea": SetKind("ipv6_addr"),
    "holex": SetKind(_HOLE, interval=True, expires=False),
    "holeout": SetKind(_HOLE, expires=False),
    "holeoutr": SetKind(_HOLE, interval=True, expires=False),
    "holeouts": SetKind(_HOLE, expires=False),
    "holeoutsr": SetKind(_HOLE, interval=True, expires=False),
    "holeoutp": SetKind("inet_proto . ipv6_addr", expires=False),
    "holeouta": SetKind("ipv6_addr", expires=False),
    "holegate": SetKind(_HOLE, "verdict"),
    "holegater": SetKind(_HOLE, "verdict", interval=True),
    "holegates": SetKind(_HOLE, "verdict"),
    "holegatesr": SetKind(_HOLE, "verdict", interval=True),
    "holegatep": SetKind("inet_proto . ipv6_addr", "verdict"),
    "holegatea": SetKind("ipv6_addr", "verdict"),
    "holefresh": SetKind(_HOLE, expires=False),
    "holefreshr": SetKind(_HOLE, interval=True, expires=False),
    "holefreshs": SetKind(_HOLE, expires=False),
    "holefreshsr": SetKind(_HOLE, interval=True, expires=False),
    "holefreshp": SetKind("inet_proto . ipv6_addr", expires=False),
    "holefresha": SetKind("ipv6_addr", expires=False),
    "trig6": SetKind(_PORT, "verdict", interval=True),
    "trigin6": SetKind(_PORT, interval=True, expires=False),
    "trigout6": SetKind(_PORT, interval=True, expires=False),
    "trigfresh": SetKind(_PORT, interval=True, expires=False),
}
"""Sets there is one of."""


def is_filled(name: str) -> bool:
    """Whether a set is one that mappings fill."""
    stem, separator, _ = name.partition("_")
    return name in GLOBAL_SETS or (bool(separator) and stem in SCOPE_SETS)


def set_name(stem: str, scope: str) -> str:
    """The name of a scope's set."""
    return f"{stem}_{scope}"


def all_sets(scopes: Iterator[str] | tuple[str, ...]) -> Iterator[tuple[str, SetKind]]:
    """Every set of these scopes and the global ones, by its name."""
    for scope in scopes:
        for stem, kind in SCOPE_SETS.items():
            yield set_name(stem, scope), kind
    yield from GLOBAL_SETS.items()
