"""What a relay worker is told to serve: one frozen value per mapping.

This is the relay's own vocabulary, apart from `model`, because a worker outlives
the daemon that started it: an older worker must understand what a newer daemon
says. Fields are only ever added, with a default.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Entry", "Listen", "Rate"]


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` new flows in any `seconds` (a token bucket of depth `count`)."""

    count: int
    seconds: float


@dataclass(frozen=True, slots=True, order=True)
class Listen:
    """One socket: where the relay listens and which port of the target it leads to.

    `address` is numeric; `::` accepts IPv4 too (V6ONLY off) when `dual` is set.
    """

    protocol: Literal["tcp", "udp"]
    address: str
    port: int
    target_port: int
    dual: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """All a worker needs to serve one mapping."""

    id: str
    listens: tuple[Listen, ...]
    targets: tuple[str, ...]
    """Numeric addresses, best first; more than one is dialled by RFC 8305."""
    sources: tuple[str, ...] | None = None
    """Prefixes that may come in; None admits anyone, an empty tuple no one."""
    accept_until: float | None = None
    """Unix time at whose second accepting stops, with the daemon or without it."""
    grace: float = 30.0
    """Seconds that flows may go on once accepting has stopped."""
    rate_per_source: Rate | None = None
    rate_total: Rate | None = None
    max_connections: int | None = None
    proxy_protocol: Literal[0, 1, 2] = 0
    idle: float | None = None
    """Seconds without a byte after which a flow ends; None takes the protocol's default."""

    def to_json(self) -> dict[str, Any]:
        """The entry as plain JSON values."""
        # Written out: dataclasses.asdict copies deeply, and ten thousand entries are sent at once.
        return {
            "id": self.id,
            "listens": [_fields(listen) for listen in self.listens],
            "targets": list(self.targets),
            "sources": None if self.sources is None else list(self.sources),
            "accept_until": self.accept_until,
            "grace": self.grace,
            "rate_per_source": None if self.rate_per_source is None else _fields(self.rate_per_source),
            "rate_total": None if self.rate_total is None else _fields(self.rate_total),
            "max_connections": self.max_connections,
            "proxy_protocol": self.proxy_protocol,
            "idle": self.idle,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Entry:
        """Read `to_json` back.

        Raises:
            KeyError, TypeError: the value is not an entry.
        """
        known = {k: v for k, v in value.items() if k in cls.__slots__}
        known["listens"] = tuple(Listen(**_known(Listen, listen)) for listen in value["listens"])
        known["targets"] = tuple(value["targets"])
        if value.get("sources") is not None:
            known["sources"] = tuple(value["sources"])
        for key in ("rate_per_source", "rate_total"):
            if value.get(key) is not None:
                known[key] = Rate(**_known(Rate, value[key]))
        return cls(**known)

    @property
    def digest(self) -> str:
        """A short name for exactly these terms: equal digests, equal entries."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _fields(value: Rate | Listen) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _known(kind: type[Rate | Listen], value: dict[str, Any]) -> dict[str, Any]:
    """Without members that a newer daemon may have added."""
    return {name: value[name] for name in kind.__slots__ if name in value}
