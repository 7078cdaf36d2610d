"""What on this machine keeps a port from being opened, in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from sekimori.host.ports import find_free_port, find_holder, first_unprivileged_port, try_bind
from sekimori.model.address import parse_address
from sekimori.model.errors import Problem
from sekimori.planes.relay.entry import Listen

__all__ = ["explain_errno", "find_obstacle"]


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
