"""Mappings that a plane which listens would lead back to itself."""

from __future__ import annotations

import ipaddress
from typing import Final

from sekimori.model.address import IPAddress, IpProtocol, On
from sekimori.model.causes import Text, cause
from sekimori.model.claim import Claim
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping
from sekimori.model.target import TargetKind

__all__ = ["LOOPS", "find_loop", "loop_problem"]

LOOPS: Final[Text] = cause("relay-loop")
"""Why a plane that listens cannot make a mapping that `find_loop` finds a loop in."""

_LOOPBACK: Final = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))
_RELAYED: Final = frozenset({IpProtocol.TCP, IpProtocol.UDP})


def find_loop(mapping: Mapping) -> Claim | None:
    """The claim at which the mapping would dial its own listening socket, as far as can be known here.

    The kernel plane does not listen: there, such a mapping is a permit for a service of this machine.
    """
    if mapping.at is not None or mapping.link is not None:
        return None  # another machine dials or listens: there its own addresses mean others
    if mapping.on is not None and mapping.on == mapping.target.unix:
        return mapping.claims[0]
    if not any(_listens_at(mapping.on, target) for target in _own_targets(mapping)):
        return None
    straight = (claim for claim in mapping.claims if claim.pair.outside == claim.pair.inside)
    return next((claim for claim in straight if claim.pair.protocol in _RELAYED), None)


def loop_problem(mapping: Mapping, claim: Claim) -> Problem:
    """The refusal of a loop."""
    return Problem("leads-to-itself", claim=str(claim), target=mapping.target.with_port(claim.pair.inside))


def _own_targets(mapping: Mapping) -> tuple[IPAddress, ...]:
    """The addresses of this machine that a mapping leads to, as far as can be known here."""
    host, address = mapping.target.host, mapping.target.address
    if mapping.target.kind is TargetKind.SELF or host == "localhost" or host.endswith(".localhost"):
        return _LOOPBACK  # RFC 6761 §6.3 for the name
    own = address is not None and (address.is_loopback or address == mapping.on)
    return (address,) if address is not None and own else ()


def _listens_at(on: On | None, address: IPAddress) -> bool:
    if isinstance(on, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return on == address or (on.is_unspecified and on.version == address.version)
    return on is None  # no interface outside has a loopback address
