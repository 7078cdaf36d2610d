"""The one record: an outside port that leads to an inside target."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from sekimori.model.address import IPAddress, PortPair, format_ports, parse_address, parse_ports
from sekimori.model.causes import Text, cause
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Asked, Lifetime, format_duration, parse_duration
from sekimori.model.limits import Limits, Rate
from sekimori.model.schedule import Schedule
from sekimori.model.source import Sources
from sekimori.model.target import Target, pair_ports

__all__ = ["Claim", "Hop", "Mapping", "Owner", "OwnerKind", "check_name", "fold_fields"]

_FOLDED: Final = {"asked": "until", "asked_value": "until", "expires_at": "until", "zone": "hours"}
"""Fields of a document that people know by another word."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,62}")


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


@dataclass(frozen=True, slots=True)
class Claim:
    """What a mapping holds for itself: ports of one protocol on one address, or on all."""

    pair: PortPair
    on: IPAddress | None

    def overlaps(self, other: Claim) -> bool:
        """Whether both claim a port that arrives at one and the same address."""
        return (
            self.pair.protocol is other.pair.protocol
            and self.pair.outside.overlaps(other.pair.outside)
            and _addresses_overlap(self.on, other.on)
        )

    def __str__(self) -> str:
        text = f"{self.pair.protocol}/{self.pair.outside}"
        return text if self.on is None else f"{text} on {self.on}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """An outside port that leads to an inside target, with everything that was granted.

    Attributes:
        id: stable for the mapping's life, never used again.
        on: the one outside address, `0.0.0.0` or `::` for all of a family, None for all.
        via: the plane asked for, `auto` when it was left to us.
        path: the hops chosen, in order.
        proxy_protocol: 0 for none, 1 or 2 (haproxy.org proxy-protocol.txt).
        idle: seconds without a byte after which a flow ends; None is the plane's default.
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
    on: IPAddress | None = None
    via: str = "auto"
    path: tuple[Hop, ...] = ()
    limits: Limits = field(default_factory=Limits)
    proxy_protocol: int = 0
    idle: int | None = None
    accepted_risks: tuple[str, ...] = ()
    preset: str | None = None
    paused: bool = False
    created_at: int = 0
    revision: int = 0

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The ports it holds."""
        return tuple(Claim(pair, self.on) for pair in self.ports)

    def wants_open(self, now: float) -> bool:
        """Whether it should admit new flows at `now`."""
        if self.paused or self.lifetime.has_ended(now):
            return False
        return self.schedule is None or self.schedule.is_open(now)

    def next_change(self, now: float) -> float | None:
        """The next instant at which time alone changes `wants_open` or ends the mapping."""
        edges = [] if self.lifetime.expires_at is None else [float(self.lifetime.expires_at)]
        if self.schedule is not None and not self.paused:
            edge = self.schedule.next_change(now)
            edges += [] if edge is None else [edge]
        return min((edge for edge in edges if edge > now), default=None)

    @property
    def target_text(self) -> str:
        """The target with its inside ports, as `--to` takes it where one port suffices."""
        insides = {pair.inside for pair in self.ports}
        if len(insides) == 1:
            return self.target.with_port(insides.pop())
        return str(self.target)

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
            "path": [str(hop) for hop in self.path],
            "limit": _text(self.limits.per_source),
            "limit_total": _text(self.limits.total),
            "max_connections": self.limits.connections,
            "proxy_protocol": self.proxy_protocol,
            "idle": None if self.idle is None else format_duration(self.idle),
            "accept_risk": list(self.accepted_risks),
            "preset": self.preset,
            "paused": self.paused,
            "created_at": self.created_at,
            "revision": self.revision,
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
            ports=pair_ports(parse_ports(document["ports"]), None, str(target)),
            target=target,
            sources=_read_sources(document["from"]),
            lifetime=Lifetime(Asked(document["asked"]), document["asked_value"], document["expires_at"]),
            schedule=Schedule.parse(document["hours"], document["zone"]) if document["hours"] else None,
            on=parse_address(document["on"]) if document["on"] else None,
            via=document["via"],
            path=tuple(map(Hop.parse, document["path"])),
            limits=Limits(
                _rate(document["limit"]), _rate(document["limit_total"]), document["max_connections"]
            ),
            proxy_protocol=document["proxy_protocol"],
            idle=parse_duration(document["idle"]) if document["idle"] else None,
            accepted_risks=tuple(document["accept_risk"]),
            preset=document["preset"],
            paused=document["paused"],
            created_at=document["created_at"],
            revision=document["revision"],
        )


def check_name(text: str) -> str:
    """A mapping's name as given, once it is known to be usable.

    Raises:
        Problem: `bad-name`.
    """
    if not text:
        raise Problem("bad-name", text=text, why=cause("empty"))
    if not _NAME.fullmatch(text):
        raise Problem("bad-name", text=text, why=cause("not-a-name"))
    if text.lower() in {"anyone", "lan", "self", "auto", "none"}:
        raise Problem("bad-name", text=text, why=cause("reserved"))
    return text


def fold_fields(fields: Iterable[str]) -> list[str]:
    """The words of the CLI for fields of a mapping's document, each once, in their order."""
    return list(dict.fromkeys(_FOLDED.get(field, field) for field in fields))


def _addresses_overlap(one: IPAddress | None, other: IPAddress | None) -> bool:
    if one is None or other is None:
        return True
    if one.version != other.version:
        return False
    return one == other or one.is_unspecified or other.is_unspecified


# A ledger of thousands names few owners, targets and sources, and these values are frozen.
_read_owner = lru_cache(maxsize=1024)(Owner.parse)
_read_target = lru_cache(maxsize=4096)(Target.parse_host)


@lru_cache(maxsize=4096)
def _read_sources(text: str) -> Sources:
    return Sources.parse(text) if text != "" else Sources()


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _rate(text: str | None) -> Rate | None:
    return Rate.parse(text) if text else None
