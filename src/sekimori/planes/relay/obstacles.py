"""What on this machine keeps a port from being opened, in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from sekimori.host.ports import find_free_port, find_holder, first_unprivileged_port, is_local, try_bind
from sekimori.model.address import parse_address
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping
from sekimori.planes.relay.entry import Listen

__all__ = ["explain_errno", "find_loop", "find_obstacle"]


def find_loop(mapping: Mapping) -> Problem | None:
    """Whether a mapping would lead to its own port, its target being an address of this machine."""
    target = mapping.target.address
    if target is None:
        return None
    same_family = mapping.on is not None and mapping.on.version == target.version
    meets = mapping.on is None or mapping.on == target or (same_family and mapping.on.is_unspecified)
    for claim in mapping.claims if meets else ():
        if claim.pair.outside == claim.pair.inside and is_local(target):
            text = mapping.target.with_port(claim.pair.inside)
            return Problem("leads-to-itself", claim=str(claim), target=text)
    return None


def find_obstacle(listens: Iterable[Listen]) -> Problem | None:
    """The first of `listens` that could not be bound now, and why. Binds each for a moment."""
    for listen in listens:
        code = try_bind(listen.protocol, listen.address, listen.port, dual=listen.dual)
        if code:
            return explain_errno(code, listen)
    return None


def explain_errno(code: int, listen: Listen) -> Problem:
    """The problem behind an errno that binding `listen` gave."""
    on = None if listen.dual or listen.address in ("0.0.0.0", "::") else parse_address(listen.address)
    claim = f"{listen.protocol}/{listen.port}" + (f" on {listen.address}" if on else "")
    if code == errno.EADDRINUSE:
        holder = find_holder(listen.protocol, listen.port, on)
        return Problem("port-busy", claim=claim, holder=str(holder), other=_other(listen))
    if code in (errno.EACCES, errno.EPERM):
        first = first_unprivileged_port()
        return Problem("privileged-port", port=listen.port, first=first, other=_other(listen))
    if code == errno.EADDRNOTAVAIL:
        return Problem("address-not-here", address=listen.address)
    return Problem("port-busy", claim=claim, holder=os.strerror(code), other=_other(listen))


def _other(listen: Listen) -> int:
    return find_free_port(listen.protocol, listen.address, listen.port, dual=listen.dual)
