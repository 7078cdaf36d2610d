"""Who may use the API: decided by the kernel's word on who is at the other end."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from sekimori.model.mapping import Owner, OwnerKind

__all__ = ["Access", "Peer", "Role", "Visitor", "read_peer"]

_UCRED: Final = struct.Struct("iII")
"""`struct ucred` (unix(7), SO_PEERCRED): pid, uid, gid."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end, as it was when it connected."""

    pid: int
    uid: int
    gid: int


def read_peer(sock: socket.socket) -> Peer:
    """The credentials of a unix socket's peer; the kernel vouches for them.

    Raises:
        OSError: the socket is not a connected unix socket.
    """
    return Peer(*_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


class Role(IntEnum):
    """What somebody may do; each includes the ones before."""

    NONE = 0
    VIEWER = 1
    ADMIN = 2


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody at the API: a name and a role."""

    name: str
    role: Role

    @property
    def owner(self) -> Owner:
        """The owner of what they open."""
        return Owner(OwnerKind.PERSON, self.name)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may what. Root and the daemon's own user may everything.

    Attributes:
        own_uid: the daemon's user.
        admins: user names, and groups as `@name`, that may change things.
        viewers: those that may look.
    """

    own_uid: int
    admins: Sequence[str] = ()
    viewers: Sequence[str] = ()
    _known: dict[int, Visitor] = field(default_factory=dict, init=False, compare=False, repr=False)
    """Those that may everything and were here before, by their user ids."""

    @property
    def socket_mode(self) -> int:
        """The mode the socket needs: others can connect only where others may do something."""
        return 0o666 if self.admins or self.viewers else 0o660

    def admit_at_once(self, peer: Peer) -> Visitor | None:
        """The same as `admit` for a peer that may everything and was here before; None for all others.

        What others may follows from their groups, which may have changed since.
        """
        return self._known.get(peer.uid)

    def admit(self, peer: Peer) -> Visitor:
        """Who a peer is and what it may do. May wait for the name service."""
        name = _name_of(peer.uid)
        if peer.uid in (0, self.own_uid):
            return self._known.setdefault(peer.uid, Visitor(name, Role.ADMIN))
        words = {name, *(f"@{group}" for group in _groups_of(peer.uid))}
        if words.intersection(self.admins):
            return Visitor(name, Role.ADMIN)
        return Visitor(name, Role.VIEWER if words.intersection(self.viewers) else Role.NONE)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # an account without an entry, as in many containers
        return str(uid)


def _groups_of(uid: int) -> list[str]:
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return []
    return [_group_name(gid) for gid in os.getgrouplist(user.pw_name, user.pw_gid)]


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
