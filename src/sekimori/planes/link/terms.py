"""What a mapping means to a link: where its far end listens, and what it may not be asked for. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sekimori.model.address import Interface, IpProtocol, UnixPath
from sekimori.model.causes import Text, cause
from sekimori.model.mapping import Mapping

__all__ = ["MOST_PORTS", "FarListen", "carries_datagrams", "listens_of", "terms_of", "why_unable"]

MOST_PORTS: Final = 256
"""Ports of one mapping that a far end is asked for: each is a request of its own."""

_STREAMS: Final = frozenset({IpProtocol.TCP, IpProtocol.UDP})


@dataclass(frozen=True, slots=True)
class FarListen:
    """Where the far end is to listen for a mapping.

    Attributes:
        id: the mapping's.
        key: what the port is called in answers.
        protocol: tcp, udp or unix.
        host: the far machine's address, "" for all it has; of `unix` a path.
        port: 0 for a unix socket.
        worker: the index of the worker that newcomers are handed to.
    """

    id: str
    key: str
    protocol: str
    host: str
    port: int
    worker: int

    def frame(self) -> dict[str, Any]:
        """What the process is told."""
        return {
            "op": "listen",
            "id": self.id,
            "port_key": self.key,
            "protocol": self.protocol,
            "host": self.host,
            "port": self.port,
            "worker": self.worker,
        }


def listens_of(mapping: Mapping, worker: int) -> Iterator[FarListen]:
    """What the far end is asked for; nothing where it does not listen.

    Without an address it is asked for all it has (RFC 4254 §7.1), which it may narrow.
    """
    if mapping.at is None:
        return
    if isinstance(mapping.on, UnixPath):
        yield FarListen(mapping.id, "unix", "unix", mapping.on.path, 0, worker)
        return
    host = "" if mapping.on is None else str(mapping.on)
    for pair in mapping.ports:
        for port in pair.outside if pair.protocol in _STREAMS else ():
            yield FarListen(mapping.id, f"{pair.protocol}/{port}", str(pair.protocol), host, port, worker)


def carries_datagrams(mapping: Mapping) -> bool:
    """Whether UDP goes through its link, which only a far end that is Sekimori takes."""
    return any(pair.protocol is IpProtocol.UDP for pair in mapping.ports)


def terms_of(mapping: Mapping, worker: int) -> str:
    """A short name for exactly what is wanted of a link.

    Who may come in, where it leads and until when are the relay's matter, and change nothing. Of a client's
    port its door is asked anew after every change: it may have passed on to another session.
    """
    if mapping.link is not None and mapping.link.startswith("@"):
        return f"{mapping.link} {mapping.revision}"
    listens = [(each.key, each.host, each.worker) for each in listens_of(mapping, worker)]
    terms = (mapping.link, mapping.at, carries_datagrams(mapping), listens)
    return hashlib.blake2b(repr(terms).encode(), digest_size=12).hexdigest()


def why_unable(mapping: Mapping) -> Text | None:
    """Why no far end can be asked to listen so; None where it can, or is not asked."""
    if mapping.at is None:
        return None
    if isinstance(mapping.on, Interface):
        return cause("link-interface", name=str(mapping.on))
    count = sum(pair.outside.size for pair in mapping.ports if pair.protocol in _STREAMS)
    if count > MOST_PORTS:
        return cause("link-too-many", count=count, most=MOST_PORTS)
    return None
