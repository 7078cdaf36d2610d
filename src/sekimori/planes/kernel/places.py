"""Sets of packed addresses, as conntrack has them: 4 or 16 bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from sekimori.model.address import IPNetwork

__all__ = ["NOBODY", "NOWHERE", "Places", "Prefixes", "Suffix", "prefixes_of"]


class Prefixes:
    """The addresses within some prefixes; a look-up costs the same for one prefix and for 100,000.

    Equal to another of the same prefixes.
    """

    __slots__ = ("_heads", "networks")

    def __init__(self, networks: Iterable[IPNetwork] = ()) -> None:
        self.networks = frozenset(networks)
        found: dict[int, dict[int, set[int]]] = {}
        for network in self.networks:
            shift = network.max_prefixlen - network.prefixlen
            heads = found.setdefault(network.max_prefixlen // 8, {}).setdefault(shift, set())
            heads.add(int(network.network_address) >> shift)
        self._heads = {size: tuple(by_shift.items()) for size, by_shift in found.items()}

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that its addresses have."""
        return tuple(sorted(self._heads))

    def __contains__(self, address: bytes) -> bool:
        number = int.from_bytes(address)
        return any(number >> shift in heads for shift, heads in self._heads.get(len(address), ()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prefixes) and self.networks == other.networks

    def __hash__(self) -> int:
        return hash(self.networks)

    def __repr__(self) -> str:
        return f"Prefixes({sorted(map(str, self.networks))})"


NOBODY: Final = Prefixes()
"""No address at all."""


@lru_cache(maxsize=256)
def prefixes_of(networks: tuple[IPNetwork, ...]) -> Prefixes:
    """Few lists serve many mappings, so they are prepared once."""
    return Prefixes(networks)


@dataclass(frozen=True, slots=True)
class Suffix:
    """IPv6 addresses with these lower 64 bits in any of some prefixes."""

    prefixes: Prefixes
    suffix: int

    def __contains__(self, address: bytes) -> bool:
        return len(address) == 16 and int.from_bytes(address[8:]) == self.suffix and address in self.prefixes


Places = frozenset[bytes] | Prefixes | Suffix
"""Which packed addresses are meant."""

NOWHERE: Final[Places] = frozenset()
