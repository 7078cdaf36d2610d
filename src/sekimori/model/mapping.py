"""The one record: an outside port that leads to an inside target."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any, Final

from sekimori.model.address import (
    WHOLE,
    IpProtocol,
    On,
    PortPair,
    Span,
    UnixPath,
    format_ports,
    format_spans,
    parse_on,
    parse_spans,
)
from sekimori.model.causes import Text, cause
from sekimori.model.claim import Claim
from sekimori.model.errors import Problem
from sekimori.model.lease import LeaseTerms
from sekimori.model.lifetime import Asked, Lifetime, format_duration, parse_duration
from sekimori.model.limits import Limits, Rate
from sekimori.model.schedule import Schedule
from sekimori.model.socks import SocksTerms
from sekimori.model.source import Sources
from sekimori.model.target import Target, TargetKind, read_pairs

__all__ = [
    "Claim",
    "Hop",
    "Mapping",
    "MappingKind",
    "Owner",
    "OwnerKind",
    "Trigger",
    "check_name",
    "fold_fields",
]

_UNLIMITED: Final = Limits()
_FOLDED: Final = {"asked": "until", "asked_value": "until", "expires_at": "until", "zone": "hours"}
"""Fields of a document that people know by another word."""
_ASKED = {str(each): each for each in Asked}
_LONGEST_NAME = 63
_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9._-]{{0,{_LONGEST_NAME - 1}}}")


class OwnerKind(StrEnum):
    """What sort of asker an owner is."""

    PERSON = "person"
    FILE = "file"
    DEVICE = "device"
    KEY = "key"
    CLIENT = "client"
    TRIGGER = "trigger"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who asked for a mapping: `person:alice`, `file:/etc/sekimori/sekimori.toml`."""

    kind: OwnerKind
    id: str

    @classmethod
    def parse(cls, text: str) -> Owner:
        """Read `str(owner)` back.

        Raises:
            ValueError: it has no known kind.
        """
        kind, _, name = text.partition(":")
        return cls(OwnerKind(kind), name)

    @property
    def label(self) -> Text:
        """How people are told of it, by language: `root`, `the file /etc/…`."""
        return cause(f"owner-{self.kind}", id=self.id)

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of a mapping's path: the plane that makes it, and the link it goes through."""

    plane: str
    link: str | None = None

    def __str__(self) -> str:
        return f"{self.plane}@{self.link}" if self.link else self.plane

    @classmethod
    def parse(cls, text: str) -> Hop:
        """Read `str(hop)` back."""
        plane, _, link = text.partition("@")
        return cls(plane, link or None)


class MappingKind(StrEnum):
    """What sort of opening a mapping is."""

    FORWARD = "forward"
    """Packets are sent on to another address (NAT), or their bytes are relayed."""
    PERMIT = "permit"
    """A service of this machine itself: nothing is rewritten, only let in."""
    PINHOLE = "pinhole"
    """An IPv6 host is reached at its own address: nothing is rewritten, only let through."""
    DMZ = "dmz"
    """Everything that nothing else claims goes to one host."""
    TRIGGER = "trigger"
    """Ports that open to the LAN host that has just sent a packet to a trigger port."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """What sets a mapping off: an outbound packet to one of `ports`; it holds for `hold` seconds after
    the last one.
    """

    ports: tuple[Span, ...]
    hold: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """An outside port that leads to an inside target, with everything that was granted.

    Attributes:
        id: stable for the mapping's life, never used again.
        on: the one outside address, `0.0.0.0` or `::` for all of a family, an interface for the
            addresses it has, None for all.
        via: the plane asked for, `auto` when it was left to us, or the link to dial through.
        at: the link at whose far end it listens; None listens here.
        path: the hops chosen, in order.
        proxy_protocol: 0 for none, 1 or 2 (haproxy.org proxy-protocol.txt).
        idle: seconds without a byte after which a flow ends; None is the plane's default.
        trigger: what sets it off; where there is one, the target is whoever did.
        excepted: what a DMZ host does not get.
        socks: what clients must say and may reach, where they name the destination.
        log: whether the kernel logs new flows, at a limited rate.
        lease: how a device asked for it; None of what people and files asked for.
        created_at: Unix seconds.
        revision: the journal's revision that last changed it.
    """

    id: str
    name: str
    owner: Owner
    ports: tuple[PortPair, ...]
    target: Target
    sources: Sources
    lifetime: Lifetime
    schedule: Schedule | None = None
    on: On | None = None
    via: str = "auto"
    at: str | None = None
    path: tuple[Hop, ...] = ()
    limits: Limits = _UNLIMITED
    proxy_protocol: int = 0
    idle: int | None = None
    trigger: Trigger | None = None
    excepted: tuple[Span, ...] = ()
    socks: SocksTerms | None = None
    log: bool = False
    accepted_risks: tuple[str, ...] = ()
    preset: str | None = None
    paused: bool = False
    created_at: int = 0
    revision: int = 0
    lease: LeaseTerms | None = None

    @property
    def kind(self) -> MappingKind:
        """What sort of opening it is. A name or a device may have an IPv4 and an IPv6 address, and is then
        a forward in the one family and a pinhole in the other; it is told as a forward.
        """
        if self.trigger is not None:
            return MappingKind.TRIGGER
        if self.ports[0].protocol is IpProtocol.DMZ:  # it stands alone
            return MappingKind.DMZ
        target = self.target
        if target.kind is TargetKind.SUFFIX:
            return MappingKind.PINHOLE
        if target.kind is TargetKind.SELF:
            relayed = self.plane == "relay"  # from one own address to another
            return MappingKind.PERMIT if self.is_straight and not relayed else MappingKind.FORWARD
        if target.kind is TargetKind.ADDRESS and ":" in target.host and self.on is None:
            by_kernel = self.plane == "kernel"
            return MappingKind.PINHOLE if by_kernel and self.is_straight else MappingKind.FORWARD
        return MappingKind.FORWARD

    @property
    def plane(self) -> str:
        """The plane that meets its packets at this machine; "" before one was chosen.

        A router before us only hands them on, and a link only carries what a plane here accepts or dials.
        """
        return next((hop.plane for hop in reversed(self.path) if hop.plane != "link"), "")

    @property
    def link(self) -> str | None:
        """The link that its bytes go through, or `link.SSH_DOOR`; None where they go through none."""
        return next((hop.link for hop in self.path if hop.link is not None), None)

    @property
    def is_dialled_far(self) -> bool:
        """Whether its target is dialled at the far end of a link, where a name of it is looked up too."""
        return self.at is None and self.link is not None

    @property
    def is_straight(self) -> bool:
        """Whether every outside port leads to the same one inside."""
        return all(pair.outside == pair.inside for pair in self.ports)

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The ports it holds."""
        place = self.place
        return tuple(Claim(pair, *place) for pair in self.ports)

    @property
    def place(self) -> tuple[On | None, bool, str | None]:
        """Where its ports are claimed: `Claim.on`, `Claim.hole` and `Claim.at`.

        A pinhole takes nothing of this machine: thousands of hosts may each have their own port 443.
        """
        if self.kind is not MappingKind.PINHOLE:
            return self.on, False, self.at
        suffix = self.target.suffix
        return (self.target.address if suffix is None else IPv6Address(suffix)), True, None

    def wants_open(self, now: float) -> bool:
        """Whether it should admit new flows at `now`."""
        if self.paused or self.lifetime.has_ended(now):
            return False
        return self.schedule is None or self.schedule.is_open(now)

    def next_change(self, now: float) -> float | None:
        """The next instant at which time alone changes `wants_open` or ends the mapping."""
        end = self.lifetime.expires_at
        if self.schedule is None:
            return float(end) if end is not None and end > now else None
        edges = [] if end is None else [float(end)]
        if self.schedule is not None and not self.paused:
            edge = self.schedule.next_change(now)
            edges += [] if edge is None else [edge]
        return min((edge for edge in edges if edge > now), default=None)

    @property
    def target_text(self) -> str:
        """The target with its inside ports, as `--to` takes it where one port suffices."""
        insides = {pair.inside for pair in self.ports}
        ported = all(pair.protocol.has_ports or pair.inside != WHOLE for pair in self.ports)
        one = self.trigger is None and ported and len(insides) == 1
        return self.target.with_port(insides.pop()) if one else str(self.target)

    @property
    def ports_text(self) -> str:
        """The outside ports with their inside ones, or the path outside, as they are asked for."""
        return str(self.on) if isinstance(self.on, UnixPath) else format_ports(self.ports)

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values, in the words of the CLI: what the ledger and the journal keep."""
        lifetime = self.lifetime
        return {
            "id": self.id,
            "name": self.name,
            "owner": str(self.owner),
            "ports": format_ports(self.ports),
            "to": str(self.target),
            "from": str(self.sources),
            "asked": str(lifetime.asked),
            "asked_value": lifetime.value,
            "expires_at": lifetime.expires_at,
            "hours": None if self.schedule is None else str(self.schedule),
            "zone": None if self.schedule is None else self.schedule.zone,
            "on": None if self.on is None else str(self.on),
            "via": self.via,
            **({} if self.at is None else {"at": self.at}),
            "path": [str(hop) for hop in self.path],
            "limit": _text(self.limits.per_source),
            "limit_total": _text(self.limits.total),
            "max_connections": self.limits.connections,
            "proxy_protocol": self.proxy_protocol,
            "idle": None if self.idle is None else format_duration(self.idle),
            "trigger": None if self.trigger is None else format_spans(self.trigger.ports),
            "hold": None if self.trigger is None else format_duration(self.trigger.hold),
            "except": format_spans(self.excepted) or None,
            **({} if self.socks is None else {"socks": self.socks.to_document()}),
            "log": self.log,
            "accept_risk": list(self.accepted_risks),
            "preset": self.preset,
            "paused": self.paused,
            "created_at": self.created_at,
            "revision": self.revision,
            **({} if self.lease is None else {"lease": self.lease.to_document()}),
        }

    @classmethod
    def from_document(cls, document: MappingABC[str, Any]) -> Mapping:
        """Read `to_document` back.

        Raises:
            Problem, KeyError, ValueError: the document is not a mapping.
        """
        target = _read_target(document["to"])
        return cls(
            id=document["id"],
            name=document["name"],
            owner=_read_owner(document["owner"]),
            ports=read_pairs(document["ports"]),
            target=target,
            sources=_read_sources(document["from"]),
            lifetime=Lifetime(_ASKED[document["asked"]], document["asked_value"], document["expires_at"]),
            schedule=Schedule.parse(document["hours"], document["zone"]) if document["hours"] else None,
            on=parse_on(document["on"]) if document["on"] else None,
            via=document["via"],
            at=document.get("at"),
            path=_read_path(tuple(document["path"])),
            limits=_read_limits(document["limit"], document["limit_total"], document["max_connections"]),
            proxy_protocol=document["proxy_protocol"],
            idle=parse_duration(document["idle"]) if document["idle"] else None,
            trigger=_read_trigger(document),
            excepted=parse_spans(document["except"]) if document.get("except") else (),
            socks=SocksTerms.from_document(document["socks"]) if "socks" in document else None,
            log=document.get("log", False),
            accepted_risks=tuple(document["accept_risk"]),
            preset=document["preset"],
            paused=document["paused"],
            created_at=document["created_at"],
            revision=document["revision"],
            lease=LeaseTerms.from_document(document["lease"]) if "lease" in document else None,
        )


def check_name(text: str) -> str:
    """A mapping's name as given, once it is known to be usable.

    Raises:
        Problem: `bad-name`.
    """
    if not text:
        raise Problem("bad-name", text=text, why=cause("empty"), most=_LONGEST_NAME)
    if not _NAME.fullmatch(text):
        raise Problem("bad-name", text=text, why=cause("not-a-name"), most=_LONGEST_NAME)
    if text.lower() in {"anyone", "lan", "self", "auto", "none", "trigger"}:
        raise Problem("bad-name", text=text, why=cause("reserved"), most=_LONGEST_NAME)
    return text


def fold_fields(fields: Iterable[str]) -> list[str]:
    """The words of the CLI for fields of a mapping's document, each once, in their order."""
    return list(dict.fromkeys(_FOLDED.get(field, field) for field in fields))


def _read_trigger(document: MappingABC[str, Any]) -> Trigger | None:
    # Documents written before there were triggers, exceptions and logs do not name them.
    text = document.get("trigger")
    return Trigger(parse_spans(text), parse_duration(document["hold"])) if text else None


# A ledger of thousands names few owners, targets and sources, and these values are frozen.
_read_owner = lru_cache(maxsize=8192)(Owner.parse)
_read_target = lru_cache(maxsize=4096)(Target.parse_host)


@lru_cache(maxsize=4096)
def _read_sources(text: str) -> Sources:
    return Sources.parse(text) if text != "" else Sources()


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _rate(text: str | None) -> Rate | None:
    return Rate.parse(text) if text else None


@lru_cache(maxsize=64)
def _read_path(texts: tuple[str, ...]) -> tuple[Hop, ...]:
    return tuple(map(Hop.parse, texts))


@lru_cache(maxsize=1024)
def _read_limits(per_source: str | None, total: str | None, connections: int | None) -> Limits:
    return Limits(_rate(per_source), _rate(total), connections)
