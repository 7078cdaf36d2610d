"""What on this machine keeps a port from being opened, in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Literal

from sekimori.host.ports import find_free_port, find_holder, first_unprivileged_port, is_local, try_bind
from sekimori.model.address import Interface, IpProtocol, UnixPath, parse_address
from sekimori.model.causes import Text, cause, os_cause
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping
from sekimori.model.target import TargetKind
from sekimori.planes.relay.entry import Listen
from sekimori.planes.relay.render import MOST_PORTS
from sekimori.planes.relay.unixsockets import look_at_path
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
    others = protocols - {IpProtocol.TCP, IpProtocol.UDP, IpProtocol.UNIX}
    if others:
        return cause("relay-protocol", name=", ".join(sorted(others)))
    if isinstance(mapping.on, Interface):
        return cause("relay-interface", name=str(mapping.on))
    if mapping.log:
        return cause("relay-log")
    count = sum(pair.outside.size for pair in mapping.ports if pair.protocol.has_ports)
    if count > MOST_PORTS:
        return cause("relay-sockets", most=MOST_PORTS, count=count)
    return None if loops.find_loop(mapping) is None else loops.LOOPS


def find_loop(mapping: Mapping) -> Problem | None:
    """Whether a mapping would lead to its own port, its target being an address of this machine."""
    target = mapping.target.address
    if target is None or isinstance(mapping.on, Interface | UnixPath):
        return None
    if mapping.at is not None or mapping.is_dialled_far:  # another machine's addresses are others
        return None
    same_family = mapping.on is not None and mapping.on.version == target.version
    meets = mapping.on is None or mapping.on == target or (same_family and mapping.on.is_unspecified)
    for claim in mapping.claims if meets else ():
        if claim.pair.outside == claim.pair.inside and is_local(target):
            text = mapping.target.with_port(claim.pair.inside)
            return Problem("leads-to-itself", claim=str(claim), target=text)
    return None


def find_obstacle(listens: Iterable[Listen]) -> Problem | None:
    """The first of `listens` that could not be bound now, and why. Binds each port for a moment."""
    for listen in listens:
        code = _try(listen)
        if code:
            return explain_errno(code, listen)
    return None


def explain_errno(code: int, listen: Listen) -> Problem:
    """The problem behind an errno that binding `listen` gave."""
    if listen.protocol == "unix":
        return _explain_path(code, listen.address)
    on = None if listen.dual or listen.address in ("0.0.0.0", "::") else parse_address(listen.address)
    claim = f"{listen.protocol}/{listen.port}" + (f" on {listen.address}" if on else "")
    if code == errno.EADDRINUSE:
        holder = find_holder(_transport(listen), listen.port, on)
        return Problem("port-busy", claim=claim, holder=str(holder), other=_other(listen), port=listen.port)
    if code in (errno.EACCES, errno.EPERM):
        first = first_unprivileged_port()
        return Problem("privileged-port", port=listen.port, first=first, other=_other(listen))
    if code == errno.EADDRNOTAVAIL:
        return Problem("address-not-here", address=listen.address)
    return Problem("port-busy", claim=claim, holder=os.strerror(code), other=_other(listen), port=listen.port)


def _other(listen: Listen) -> int:
    return find_free_port(_transport(listen), listen.address, listen.port, dual=listen.dual)


def _try(listen: Listen) -> int:
    if listen.protocol == "unix":
        return look_at_path(listen.address)
    return try_bind(listen.protocol, listen.address, listen.port, dual=listen.dual)


def _transport(listen: Listen) -> Literal["tcp", "udp"]:
    return "udp" if listen.protocol == "udp" else "tcp"


def _explain_path(code: int, path: str) -> Problem:
    if code == errno.EADDRINUSE:
        return Problem("path-busy", path=path)
    why = cause("no-socket-there") if code == errno.EEXIST else os_cause(OSError(code, os.strerror(code)))
    return Problem("path-unusable", path=path, why=why)
