"""What on this machine keeps a port from being opened, in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from sekimori.host.ports import find_free_port, find_holder, first_unprivileged_port, is_local, try_bind
from sekimori.model.address import Interface, IpProtocol, parse_address
from sekimori.model.causes import Text, cause
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping
from sekimori.model.target import TargetKind
from sekimori.planes.relay.entry import Listen
from sekimori.planes.relay.render import MOST_PORTS
from sekimori.policy import loops

__all__ = ["explain_errno", "find_inability", "find_loop", "find_obstacle"]


def find_inability(mapping: Mapping) -> Text | None:
    """What of a mapping's terms sockets in user space cannot make, the gravest first. Pure."""
    protocols = {pair.protocol for pair in mapping.ports}
    if IpProtocol.DMZ in protocols:
        return cause("relay-kind-dmz")
    if mapping.trigger is not None:
        return cause("relay-kind-trigger")
    if mapping.target.kind is TargetKind.SUFFIX:
        return cause("relay-kind-pinhole")
    others = protocols - {IpProtocol.TCP, IpProtocol.UDP}
    if others:
        return cause("relay-protocol", name=", ".join(sorted(others)))
    if isinstance(mapping.on, Interface):
        return cause("relay-interface", name=str(mapping.on))
    if mapping.log:
        return cause("relay-log")
    count = sum(pair.outside.size for pair in mapping.ports)
    if count > MOST_PORTS:
        return cause("relay-sockets", most=MOST_PORTS, count=count)
    return None if loops.find_loop(mapping) is None else loops.LOOPS


def find_loop(mapping: Mapping) -> Problem | None:
    """Whether a mapping would lead to its own port, its target being an address of this machine."""
    target = mapping.target.address
    if target is None or isinstance(mapping.on, Interface):
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
        return Problem("port-busy", claim=claim, holder=str(holder), other=_other(listen), port=listen.port)
    if code in (errno.EACCES, errno.EPERM):
        first = first_unprivileged_port()
        return Problem("privileged-port", port=listen.port, first=first, other=_other(listen))
    if code == errno.EADDRNOTAVAIL:
        return Problem("address-not-here", address=listen.address)
    return Problem("port-busy", claim=claim, holder=os.strerror(code), other=_other(listen), port=listen.port)


def _other(listen: Listen) -> int:
    return find_free_port(listen.protocol, listen.address, listen.port, dual=listen.dual)
