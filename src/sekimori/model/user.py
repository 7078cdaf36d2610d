"""Users of the SSH door: their keys, and what those may open, reach and use up."""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import Any, Final

from sekimori.model.address import IPAddress, IpProtocol, PortRange, parse_address
from sekimori.model.causes import Unreadable, cause
from sekimori.model.destination import NOWHERE, Destinations
from sekimori.model.errors import Problem
from sekimori.model.lifetime import format_duration, parse_duration
from sekimori.model.limits import Limits, Rate
from sekimori.model.mapping import Owner
from sekimori.model.source import Sources

__all__ = [
    "Bind",
    "Grant",
    "PutUser",
    "RemoveUser",
    "Unbind",
    "User",
    "check_user_name",
    "parse_port_ranges",
]

_LONGEST_NAME: Final = 32
_NAME: Final = re.compile(rf"[a-z_][a-z0-9._-]{{0,{_LONGEST_NAME - 1}}}")
_UNLIMITED: Final = Limits()
_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR


def check_user_name(text: str) -> str:
    """A user's name, once it is known to be usable.

    Raises:
        Problem: `bad-name`.
    """
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        why = cause("not-a-name" if name else "empty")
        raise Problem("bad-name", text=text, why=why, most=_LONGEST_NAME)
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What somebody who comes by the SSH door may do. The least of it unless it was said.

    Attributes:
        ports: outside ports that may be opened by `ssh -R`; none are none.
        on: addresses of this machine they may be opened on; None is all.
        most: how many at one time.
        sources: who may come in by them; None is what a bare port admits, the LAN.
        lifetime: seconds that a port stands; a client that asks again has it for as long again.
        hold: seconds that a port stays its owner's after the session is gone.
        limits: of each port: rates of new connections, and how many at one time.
        quota: bytes, in and out, that all ports of the user and all channels to destinations may carry in
            `quota_every` seconds; None is no bound.
        destinations: where `-L`, `-D` and `-J` may lead.
        sessions: SSH connections at one time.
        accepted_risks: dangers that may be opened to anyone, by the names that refusals of `open` tell.
    """

    ports: tuple[PortRange, ...] = ()
    on: tuple[IPAddress, ...] | None = None
    most: int = 10
    sources: Sources | None = None
    lifetime: int = _DAY
    hold: int = _HOUR
    limits: Limits = _UNLIMITED
    quota: int | None = None
    quota_every: int = 30 * _DAY
    destinations: Destinations = NOWHERE
    sessions: int = 10
    accepted_risks: tuple[str, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "ports": ",".join(map(str, self.ports)),
            "on": None if self.on is None else [str(each) for each in self.on],
            "most": self.most,
            "from": None if self.sources is None else str(self.sources),
            "for": format_duration(self.lifetime),
            "hold": self.hold,
            "limit": _text(self.limits.per_source),
            "limit_total": _text(self.limits.total),
            "max_connections": self.limits.connections,
            "quota": self.quota,
            "quota_every": format_duration(self.quota_every),
            "to": str(self.destinations),
            "sessions": self.sessions,
            "accept_risk": list(self.accepted_risks),
        }

    @classmethod
    def from_document(cls, document: MappingABC[str, Any]) -> Grant:
        """Read `to_document` back.

        Raises:
            Problem, KeyError, ValueError: the document is not a grant.
        """
        on, sources = document["on"], document["from"]
        return cls(
            ports=parse_port_ranges(document["ports"]),
            on=None if on is None else tuple(map(parse_address, on)),
            most=document["most"],
            sources=None if sources is None else Sources.parse(sources),
            lifetime=parse_duration(document["for"]),
            hold=document["hold"],
            limits=Limits(
                _rate(document["limit"]), _rate(document["limit_total"]), document["max_connections"]
            ),
            quota=document["quota"],
            quota_every=parse_duration(document["quota_every"]),
            destinations=Destinations.parse(document["to"]),
            sessions=document["sessions"],
            accepted_risks=tuple(document["accept_risk"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who may come in by the SSH door. The owner of what is opened is `key:NAME`.

    Attributes:
        keys: lines as in authorized_keys (sshd(8)), options included; each option narrows the grant.
        expires_at: Unix seconds from which nobody comes in by these keys; None is never.
        created_at: Unix seconds.
    """

    name: str
    owner: Owner
    keys: tuple[str, ...]
    grant: Grant
    expires_at: int | None = None
    created_at: int = 0

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "owner": str(self.owner),
            "keys": list(self.keys),
            "grant": self.grant.to_document(),
            "expires_at": self.expires_at,
            "created_at": self.created_at,
        }

    @classmethod
    def from_document(cls, document: MappingABC[str, Any]) -> User:
        """Read `to_document` back.

        Raises:
            Problem, KeyError, ValueError: the document is not a user.
        """
        return cls(
            name=document["name"],
            owner=Owner.parse(document["owner"]),
            keys=tuple(document["keys"]),
            grant=Grant.from_document(document["grant"]),
            expires_at=document["expires_at"],
            created_at=document["created_at"],
        )


@dataclass(frozen=True, slots=True)
class PutUser:
    """Let somebody in by the SSH door, or on other terms than before."""

    user: User


@dataclass(frozen=True, slots=True)
class RemoveUser:
    """Let a user in no more. The ports that the user's keys opened close."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """Open a port for an SSH session, or take back the one that its user has (RFC 4254 §7.1).

    The actor of the context is the key's user. The same port on the same address of the same user is the same
    lease: whoever asks last has it, with the next generation.

    Attributes:
        host: the address as the client gave it; "", "localhost" and "*" name none.
        port: 0 is any; a user who asks for any gets back one that no session of the user holds now.
        grant: what the user may do; of a user in the ledger, what stands there counts instead.
        permitted: `permitlisten` of the key that was used (`host:port` as OpenSSH has them); None is no such
            option.
        held: ids of mappings that living sessions hold now: not to be given again for port 0.
        avoid: ports that were found to be in use on this machine.
        description: how the session calls itself: the login name and the address it came from.
        protocol: TCP, or UDP for clients that are Sekimori too.
    """

    host: str
    port: int
    grant: Grant
    permitted: tuple[str, ...] | None = None
    held: frozenset[str] = frozenset()
    avoid: frozenset[int] = frozenset()
    description: str = ""
    protocol: IpProtocol = IpProtocol.TCP


@dataclass(frozen=True, slots=True)
class Unbind:
    """A session holds a port no more.

    Attributes:
        ref: the mapping's id; of one that is gone, nothing is left to do.
        keep: seconds that it stays its user's, though no longer than it would have; 0 closes it.
        generation: the lease that the session held (`LeaseTerms.generation`): where another session has taken
            it since, it stands. 0 is whichever there is.
    """

    ref: str
    keep: int = 0
    generation: int = 0


def parse_port_ranges(text: str) -> tuple[PortRange, ...]:
    """Read `8000-8999,9443`; `none` and "" are none.

    Raises:
        Problem: `bad-ports`.
    """
    if text.strip().lower() in ("", "none"):
        return ()
    try:
        return tuple(sorted({PortRange.parse(part.strip()) for part in text.split(",")}))
    except Unreadable as error:
        raise Problem("bad-ports", text=text, why=error.why) from None


def _rate(text: str | None) -> Rate | None:
    return Rate.parse(text) if text else None


def _text(value: object) -> str | None:
    return None if value is None else str(value)
