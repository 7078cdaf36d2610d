"""The worker's side of its channels to carriers: processes that dial, and bring newcomers, for it.

`host.carrier` has the frames, and the other side. What a dial gives is one end of a flow: for a stream a
socket of AF_UNIX (or the connected TCP socket itself), for datagrams one of SOCK_SEQPACKET.

An end in order is told by shutdown(2) on either side; only then is a socket closed. A side that breaks off
says `aborted` before it closes its socket. A carrier that is killed says nothing, but its channel ends too,
and what came by it is reset (`half.CarriedHalf` has the care for which of both is seen first).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from socket import socket as PythonSocket  # noqa: N812
from typing import TYPE_CHECKING, Final

from sekimori.planes.relay.carried import (
    NOBODY,
    Arrival,
    Breakable,
    Carried,
    CarrierDialler,
    Endpoint,
    Order,
    Pending,
)
from sekimori.planes.relay.channel import Channel

if TYPE_CHECKING:
    from sekimori.planes.relay.shared import Shared

__all__ = [
    "CARRIER_DIAL_TIMEOUT",
    "DIRECT",
    "NOBODY",
    "Arrival",
    "Breakable",
    "Carried",
    "Carrier",
    "CarrierDialler",
    "Carriers",
    "Endpoint",
    "Order",
    "Pending",
]

DIRECT: Final = "@direct"
"""The carrier that connects from this machine to destinations that clients name."""

CARRIER_DIAL_TIMEOUT: Final = 20.0
"""Seconds: through several SSH servers a dial takes longer than from here."""


class Carriers:
    """The carriers of a worker, by name.

    Attributes:
        on_arrival: takes every newcomer, and lets it in or turns it away.
    """

    def __init__(self, shared: Shared) -> None:
        self.on_arrival: Callable[[Arrival], None] = Arrival.turn_away
        self._shared = shared
        self._carriers: dict[str, Carrier] = {}

    def named(self, name: str) -> Carrier:
        """The carrier of this name; it is down while it has no channel."""
        carrier = self._carriers.get(name)
        if carrier is None:
            carrier = self._carriers[name] = Carrier(self, self._shared, name)
        return carrier

    def attach(self, name: str, sock: PythonSocket) -> None:
        """Reach a carrier over a channel from now on; what came by a former one is reset."""
        self.named(name).attach(sock)

    def detach(self, name: str) -> None:
        """Have no carrier of this name; what came by it is reset."""
        carrier = self._carriers.pop(name, None)
        if carrier is not None:
            carrier.detach()

    def state(self) -> dict[str, bool]:
        """Which there are, and whether their channels stand."""
        return {name: carrier.is_up for name, carrier in self._carriers.items()}

    def close(self) -> None:
        """Leave them all."""
        for name in list(self._carriers):
            self.detach(name)


class Carrier:
    """One carrier: the channel to it, where there is one now."""

    def __init__(self, table: Carriers, shared: Shared, name: str) -> None:
        self.name = name
        self._table = table
        self._shared = shared
        self._channel: Channel | None = None
        self._numbers = count(1)

    @property
    def is_up(self) -> bool:
        """Whether it can be asked now."""
        return self._channel is not None and self._channel.open

    def dial(
        self, order: Order, dialler: CarrierDialler, on_bound: Callable[[Endpoint], None] | None = None
    ) -> Pending:
        """Have it reach a place. The dialler is told in a later turn of the loop, by `dialled` or
        `dial_failed`, and of a flow that it took by `aborted`; `on_bound` where a `bind` waits.
        """
        channel = self._channel
        if channel is None or not channel.open or channel.is_stuck:
            pending = Pending(None, 0, order, dialler, None)
            self._shared.loop.soon(lambda: pending.fail("down"))
            return pending
        number = next(self._numbers)
        pending = Pending(channel, number, order, dialler, on_bound)
        channel.ask(number, pending, {"n": number, **order.to_json()})
        return pending

    def attach(self, sock: PythonSocket) -> None:
        """Take over a channel (a connected stream socket of AF_UNIX)."""
        self.detach()
        self._channel = Channel(self._shared, self.name, sock, self._take)

    def detach(self) -> None:
        """End the channel, and reset what came by it."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _take(self, arrival: Arrival) -> None:
        self._table.on_arrival(arrival)
