"""What a relay worker is told to serve: one frozen value per mapping.

This is the relay's own vocabulary, apart from `model`, because a worker outlives
the daemon that started it: an older worker must understand what a newer daemon
says. Fields are only ever added, with a default.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Literal

__all__ = ["Entry", "Listen", "ListenKey", "Rate", "Socks", "key_of"]

_GRACE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` new flows in any `seconds` (a token bucket of depth `count`)."""

    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Socks:
    """The client names its destination, by SOCKS 4, 4a or 5 or HTTP CONNECT."""

    users: tuple[tuple[str, str], ...] = ()
    """Names and verifiers of their passwords; none asks nobody for one."""
    rules: tuple[str, ...] = ()
    """Destinations that may be reached (`model.destination`)."""
    own: tuple[str, ...] = ()
    """Prefixes of this machine's networks: guarded, unless a rule names them."""


@dataclass(frozen=True, slots=True, order=True)
class Listen:
    """One socket: where the relay listens and which port of the target it leads to.

    `address` is numeric; `::` accepts IPv4 too (V6ONLY off) when `dual` is set. Of `unix` it is a path, and
    the ports mean nothing.
    """

    protocol: Literal["tcp", "udp", "unix"]
    address: str
    port: int
    target_port: int
    dual: bool = False


ListenKey = tuple[str, str, int, bool]
"""What a socket is bound to: protocol, address, port, dual. The target port is not part of it."""


def key_of(listen: Listen) -> ListenKey:
    """The part of a Listen that a change of terms must keep for its socket to be kept."""
    return listen.protocol, listen.address, listen.port, listen.dual


@dataclass(frozen=True, slots=True)
class Entry:
    """All a worker needs to serve one mapping."""

    id: str
    listens: tuple[Listen, ...]
    targets: tuple[str, ...]
    """Numeric addresses, best first; more than one is dialled by RFC 8305. Through a carrier: the one host,
    maybe a name. A unix socket's path begins with a slash."""
    sources: tuple[str, ...] | None = None
    """Prefixes that may come in; None admits anyone, an empty tuple no one."""
    accept_until: float | None = None
    """Unix time at whose second accepting stops, with the daemon or without it."""
    grace: float = _GRACE
    """Seconds that flows may go on once accepting has stopped."""
    rate_per_source: Rate | None = None
    rate_total: Rate | None = None
    max_connections: int | None = None
    proxy_protocol: Literal[0, 1, 2] = 0
    idle: float | None = None
    """Seconds without a byte after which a flow ends; None takes the protocol's default."""
    carrier: str | None = None
    """Dial through this carrier instead of from here."""
    arrivals: str | None = None
    """Newcomers are brought by this carrier. Sockets there are none: `listens` are the far end's."""
    socks: Socks | None = None
    """The client names the destination; `targets` and target ports mean nothing."""
    shut: bool = False
    """Take no newcomers, and need no sockets: the flows that are there go on under these terms."""

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
            "carrier": self.carrier,
            "arrivals": self.arrivals,
            "socks": None if self.socks is None else _fields(self.socks),
            "shut": self.shut,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Entry:
        """Read `to_json` back.

        Raises:
            KeyError, TypeError: the value is not an entry.
        """
        sources, get = value["sources"], value.get
        return cls(
            id=value["id"],
            listens=tuple(map(_listen, value["listens"])),
            targets=tuple(value["targets"]),
            sources=None if sources is None else tuple(sources),
            accept_until=get("accept_until"),
            grace=get("grace", _GRACE),
            rate_per_source=_rate(get("rate_per_source")),
            rate_total=_rate(get("rate_total")),
            max_connections=get("max_connections"),
            proxy_protocol=get("proxy_protocol", 0),
            idle=get("idle"),
            carrier=get("carrier"),
            arrivals=get("arrivals"),
            socks=_socks(get("socks")),
            shut=get("shut", False),
        )

    @property
    def sockets(self) -> tuple[Listen, ...]:
        """The listens that need a socket on this machine."""
        return () if self.shut or self.arrivals is not None else self.listens

    @property
    def needs_carriers(self) -> bool:
        """Whether only a worker that knows carriers (or unix sockets, which came with them) can serve it."""
        if self.carrier is not None or self.arrivals is not None or self.socks is not None:
            return True
        paths = any(target.startswith("/") for target in self.targets)
        return paths or any(listen.protocol == "unix" for listen in self.listens)

    @property
    def digest(self) -> str:
        """A short name for exactly these terms: equal digests, equal entries."""
        # The text of tuples of words and numbers: a third of what JSON costs, and as definite.
        text = repr(
            (
                self.id,
                [_LISTEN(listen) for listen in self.listens],
                self.targets,
                self.sources,
                self.accept_until,
                self.grace,
                self.rate_per_source and (self.rate_per_source.count, self.rate_per_source.seconds),
                self.rate_total and (self.rate_total.count, self.rate_total.seconds),
                self.max_connections,
                self.proxy_protocol,
                self.idle,
                self.carrier,
                self.arrivals,
                self.socks and (self.socks.users, self.socks.rules, self.socks.own),
                self.shut,
            )
        )
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


_LISTEN: Final = attrgetter("protocol", "address", "port", "target_port", "dual")


def _fields(value: Rate | Listen | Socks) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _listen(value: dict[str, Any]) -> Listen:
    """Members that a newer daemon may have added are left out."""
    return Listen(
        value["protocol"], value["address"], value["port"], value["target_port"], value.get("dual", False)
    )


def _socks(value: dict[str, Any] | None) -> Socks | None:
    if value is None:
        return None
    users = tuple((name, verifier) for name, verifier in value["users"])
    return Socks(users, tuple(value["rules"]), tuple(value["own"]))


def _rate(value: dict[str, Any] | None) -> Rate | None:
    return None if value is None else Rate(value["count"], value["seconds"])
