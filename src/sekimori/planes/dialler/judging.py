"""Where a client may be connected to, as its dial says: the rules go with every one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, Final

from sekimori.host.carrier import DialFailed
from sekimori.model.address import HIGHEST_PORT, IPNetwork
from sekimori.model.destination import Destination, Destinations
from sekimori.model.errors import Problem

__all__ = ["Rules"]


class Rules:
    """The destinations of one mapping, and the networks of this machine that are guarded for it.

    They ride on each dial (`rules` and `own` of its frame), so that a change takes effect with the next one
    and a dialler that was just started knows them.
    """

    def __init__(self, places: tuple[str, ...], own: tuple[str, ...]) -> None:
        """Raises Problem or ValueError for what is no destination or no prefix."""
        self._reach = Destinations(tuple(map(Destination.parse, places)))
        self._own: tuple[IPNetwork, ...] = tuple(ip_network(text, strict=False) for text in own)

    @classmethod
    def of(cls, asked: Mapping[str, Any], own: tuple[str, ...]) -> Rules:
        """Read those of a frame; one without them may be connected nowhere.

        `own` are the networks that this machine is in now, guarded as those of the frame are: a mapping may
        have been made before it had its addresses.

        Raises:
            DialFailed: `other`: they make no sense.
        """
        try:
            guarded = {*map(str, asked.get("own", ())), *own}
            return _read(tuple(map(str, asked.get("rules", ()))), tuple(sorted(guarded)))
        except (Problem, TypeError, ValueError):
            raise DialFailed("other") from None

    def check_name(self, host: str, port: int) -> None:
        """Raises DialFailed for a name that no rule lets through, whatever its addresses are."""
        if not self._reach.allow(host, None, port, self._own):
            raise DialFailed("prohibited")

    def sift(self, host: str, addresses: Iterable[str], port: int) -> tuple[str, ...]:
        """Those of a host's addresses that may be connected to. `port` 0 stands for every port.

        Raises:
            DialFailed: `prohibited`: none of them.
        """
        ports = (port,) if port else (1, HIGHEST_PORT)
        allowed = tuple(
            address
            for address in addresses
            if all(self._reach.allow(host, ip_address(address), each, self._own) for each in ports)
        )
        if not allowed:
            raise DialFailed("prohibited")
        return allowed


_MAPPINGS_KEPT: Final = 256


@lru_cache(maxsize=_MAPPINGS_KEPT)
def _read(places: tuple[str, ...], own: tuple[str, ...]) -> Rules:
    return Rules(places, own)
