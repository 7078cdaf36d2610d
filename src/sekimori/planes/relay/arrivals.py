"""Newcomers that carriers bring: each finds its mapping here, and is let in or turned away."""

from __future__ import annotations

from sekimori.planes.relay.admission import LOCAL
from sekimori.planes.relay.carried import Arrival
from sekimori.planes.relay.dial import failure_of
from sekimori.planes.relay.entry import Entry, Listen
from sekimori.planes.relay.service import Service
from sekimori.planes.relay.shared import Shared
from sekimori.planes.relay.tcp import new_flow
from sekimori.planes.relay.udparrival import UdpArrival

__all__ = ["FarListen", "listen_of"]


class FarListen:
    """A port that a carrier listens on for us, as one newcomer came to it."""

    __slots__ = ("listen", "service", "shared")

    def __init__(self, shared: Shared, service: Service, listen: Listen) -> None:
        self.shared = shared
        self.service = service
        self.listen = listen

    def admit(self, arrival: Arrival) -> None:
        """Let a newcomer in, or turn it away."""
        service = self.service
        source, port = arrival.source if self.listen.protocol != "unix" else (LOCAL, 0)
        row = service.admit(source)
        if row is None:
            arrival.turn_away()
            return
        if arrival.protocol == "udp":
            UdpArrival.start(self, arrival, row)
            return
        flow = new_flow(self, arrival.sock, row, source, port, arrival)
        arrival.hold(flow)
        service.opened(flow)
        entry = service.entry
        try:
            flow.dial([(target, self.listen.target_port) for target in entry.targets])
        except OSError as error:
            flow.dial_failed(failure_of(error.errno or 0))


def listen_of(entry: Entry, arrival: Arrival) -> Listen | None:
    """The listen of an entry that a newcomer came to; None where its carrier has no business with it.

    A listen of port 0 is one whose port the far end chose.
    """
    if entry.arrivals != arrival.carrier:
        return None
    where, port = arrival.listen
    for listen in entry.listens:
        if listen.protocol == "unix":
            if arrival.protocol != "udp" and listen.address == where:
                return listen
        elif listen.protocol == arrival.protocol and listen.port in (port, 0):
            return listen
    return None
