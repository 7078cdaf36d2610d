"""What the options of a PCP MAP say about the lease that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from sekimori.model.address import HIGHEST_PORT, IPAddress, IPNetwork, PortRange
from sekimori.model.source import Sources
from sekimori.wire import pcp
from sekimori.wire.pcpoptions import Filter, Option, PortSet, PreferFailure, ThirdParty, filters_after

__all__ = ["MOST_PEERS", "MOST_PORTS", "MapOptions", "read_options", "sources_of"]

MOST_PORTS: Final = 64
"""Ports of one lease: what one rule of a home's clients can want, and no quota can be gone around with."""
MOST_PEERS: Final = 64
"""Prefixes of one lease. One message holds 43 of them."""

_O = TypeVar("_O", ThirdParty, PreferFailure, PortSet)


@dataclass(frozen=True, slots=True)
class MapOptions:
    """The options of one request.

    Attributes:
        third_party: the host it is for, where that is not the asker.
        exact: rather nothing than another outside (PREFER_FAILURE).
        filters: who may come in, in the order in which they stand.
        port_set: how many ports are wished.
        asked: the options themselves, as they are said back.
    """

    third_party: IPAddress | None
    exact: bool
    filters: tuple[Filter, ...]
    port_set: PortSet | None
    asked: tuple[Option, ...]

    def ports(self, first: int) -> PortRange:
        """The inside ports that are asked for."""
        size = 1 if self.port_set is None else min(self.port_set.size, MOST_PORTS, HIGHEST_PORT - first + 1)
        return PortRange(first, first + size - 1)

    def sources(self, standing: Sources | None, version: int) -> Sources | None:
        """Who may come in from now on; None leaves a lease as it is (RFC 6887 §13.3).

        Args:
            standing: who may come in to the lease that stands; None without one.
            version: of the address that it leads to.

        Raises:
            pcp.BadRequest: EXCESSIVE_REMOTE_PEERS, the answer for filters that cannot be made: for one peer
                port, for a family that never gets there, or for too many peers.
        """
        if not self.filters:
            return None
        for each in self.filters:
            # Sources are prefixes: the kernel asks who comes, not from which of its ports.
            if not each.clears and (each.port or each.network.version != version):
                raise _too_many(f"a filter of port {each.port} of {each.address}")
        # The filters of a request join those that stand, but who is anyone has no filter to join.
        cleared = any(each.clears for each in self.filters)
        before = () if standing is None or standing.anyone or cleared else standing.prefixes
        networks = [each.network for each in filters_after((), self.filters)]
        lists = () if standing is None or cleared else standing.lists
        return sources_of((*before, *networks), lists)

    def answered(self, granted: PortRange, outside_first: int) -> tuple[Option, ...]:
        """The options as they were processed; PORT_SET with what was granted (RFC 7753 §4.1)."""
        kept = granted.first % 2 == outside_first % 2
        return tuple(
            replace(each, size=granted.size, first_inside_port=granted.first, parity=each.parity and kept)
            if isinstance(each, PortSet)
            else each
            for each in self.asked
        )


def read_options(options: tuple[Option, ...], inside_port: int, lifetime: int) -> MapOptions:
    """The options of a MAP request.

    Raises:
        pcp.BadRequest: MALFORMED_OPTION.
    """
    third = _only(ThirdParty, options)
    port_set = _only(PortSet, options)
    filters = tuple(each for each in options if isinstance(each, Filter))
    if filters and lifetime == 0:  # RFC 6887 §13.3
        raise pcp.BadRequest("FILTER of what is to be closed", pcp.Result.MALFORMED_OPTION)
    if port_set is not None and port_set.first_inside_port != inside_port:
        raise pcp.BadRequest("PORT_SET begins at another port", pcp.Result.MALFORMED_OPTION)
    return MapOptions(
        third.address if third else None,
        _only(PreferFailure, options) is not None,
        filters,
        port_set,
        options,
    )


def sources_of(prefixes: Iterable[IPNetwork], lists: tuple[str, ...] = ()) -> Sources:
    """Who may come in where these may. Without any, anyone may.

    Raises:
        pcp.BadRequest: EXCESSIVE_REMOTE_PEERS.
    """
    # In the order in which sources are written down, so that what is read back is equal.
    wanted = sorted(set(prefixes), key=lambda each: (each.version, int(each.network_address), each.prefixlen))
    if any(each.prefixlen == 0 for each in wanted) or not (wanted or lists):
        return Sources(anyone=True)
    if len(wanted) > MOST_PEERS:
        raise _too_many(f"{len(wanted)} filters")
    return Sources(prefixes=tuple(wanted), lists=lists)


def _only(kind: type[_O], options: tuple[Option, ...]) -> _O | None:
    return next((each for each in options if isinstance(each, kind)), None)


def _too_many(why: str) -> pcp.BadRequest:
    return pcp.BadRequest(why, pcp.Result.EXCESSIVE_REMOTE_PEERS)
