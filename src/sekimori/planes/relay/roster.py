"""All mappings that this worker serves, by id, and their ends by the wall clock."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable
from functools import partial
from socket import socket as Socket  # noqa: N812
from typing import Any, Final

from sekimori.planes.relay.arrivals import FarListen, listen_of
from sekimori.planes.relay.bans import Ban
from sekimori.planes.relay.carried import Arrival
from sekimori.planes.relay.carriers import Carriers
from sekimori.planes.relay.entry import Entry, Listen
from sekimori.planes.relay.flows import Counters
from sekimori.planes.relay.service import Listener, ListenKey, Service, key_of
from sekimori.planes.relay.shared import Shared
from sekimori.planes.relay.tcp import TcpListener
from sekimori.planes.relay.udp import UdpListener

__all__ = ["Roster"]

_LOOK_AGAIN: Final = 1.0
"""Most seconds between looks at the wall clock while an entry has an end: the clock may be set."""


_REMEMBERED: Final = 1024
"""Removed entries whose figures are kept, the latest ones, in case they come back."""


class Roster:
    """Takes entries and sockets, gives state and figures."""

    def __init__(self, shared: Shared) -> None:
        self.services: dict[str, Service] = {}
        self._shared = shared
        self._ends: list[tuple[float, str]] = []
        self._looking = False
        self._ended: dict[str, Counters] = {}
        shared.carriers.on_arrival = self._arrive

    @property
    def carriers(self) -> Carriers:
        """The carriers that this worker can ask."""
        return self._shared.carriers

    @property
    def busy(self) -> bool:
        """Whether anything is accepted or flowing."""
        return any(service.accepting or service.flows for service in self.services.values())

    def set(self, entry: Entry, sockets: dict[ListenKey, Socket]) -> list[Listen]:
        """Serve `entry` from now on, in place of what its id stood for.

        Sockets already held for the same Listen stay as they are. Of `sockets` those that are
        needed are taken out; what is left in it is the caller's to close.

        Returns:
            The listens of the entry that have no socket.

        Raises:
            ValueError: an address or prefix in it is none; nothing has changed then.
        """
        service = self.services.get(entry.id)
        if service is None:
            service = self.services[entry.id] = Service(
                self._shared.loop, self._shared.wheel, entry, self._shared.bans
            )
            if entry.id in self._ended:  # paused, or closed and brought back: it counts on
                service.counters = self._ended.pop(entry.id)
        else:
            service.update(entry)
        self._listen(service, sockets)
        if entry.accept_until is not None:
            self._end_at(entry.accept_until, entry.id)
        return service.missing() if service.accepting else []

    def remove(self, name: str, grace: float | None) -> bool:
        """Stop accepting; end flows after `grace` (None: the entry's own). False: no such entry."""
        service = self.services.get(name)
        if service is None:
            return False
        service.stop(service.entry.grace if grace is None else grace, partial(self._forget, name))
        return True

    def ban(self, bans: Iterable[Ban]) -> int:
        """Let nobody in whom these hold, and nobody else be kept out; end their flows, and tell how many.

        Raises:
            ValueError: one of them is of no prefix; nothing has changed then.
        """
        banned, wall = self._shared.bans, time.time()
        banned.set(bans)
        if not banned.any:
            return 0
        services = self.services.values()
        return sum(service.cut(lambda flow: banned.hold(flow.source, wall)) for service in services)

    def cut_source(self, prefix: str) -> int:
        """End the flows from `prefix`, whatever mapping they are of; how many they were.

        Raises:
            ValueError: not a prefix.
        """
        return sum(service.cut_source(prefix) for service in self.services.values())

    def close(self) -> None:
        """End everything now."""
        for service in list(self.services.values()):
            service.stop(0.0)
        self.services.clear()

    def state(self) -> list[dict[str, Any]]:
        """What is served, for a daemon that takes this worker over."""
        return [
            {
                "id": name,
                "digest": service.entry.digest,
                "accepting": service.accepting,
                "listens": [list(key) for key in service.listeners],
                "flows": len(service.flows),
            }
            for name, service in self.services.items()
        ]

    def counters(self, names: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Figures by id (None: of all), those of the latest to have been removed included."""
        chosen = [*self.services, *self._ended] if names is None else names
        found = {}
        for name in chosen:
            service = self.services.get(name)
            if service is not None:
                found[name] = service.counters.snapshot(service.flows)
            elif name in self._ended:
                found[name] = self._ended[name].snapshot(())
        return found

    def _arrive(self, arrival: Arrival) -> None:
        service = self.services.get(arrival.id)
        listen = None if service is None else listen_of(service.entry, arrival)
        if service is None or listen is None:
            arrival.turn_away()
        else:
            FarListen(self._shared, service, listen).admit(arrival)

    def _forget(self, name: str) -> None:
        service = self.services.pop(name, None)
        if service is not None:
            self._ended[name] = service.counters
            while len(self._ended) > _REMEMBERED:
                del self._ended[next(iter(self._ended))]

    def _listen(self, service: Service, sockets: dict[ListenKey, Socket]) -> None:
        entry = service.entry
        wanted = {key_of(listen): listen for listen in entry.sockets}
        for key in [key for key in service.listeners if key not in wanted]:
            service.drop(key)
        for key, listen in wanted.items():
            if key not in service.listeners and key in sockets:
                service.listeners[key] = self._listener(sockets.pop(key), listen, service)

    def _listener(self, sock: Socket, listen: Listen, service: Service) -> Listener:
        if listen.protocol == "udp":
            return UdpListener(self._shared.loop, sock, listen, service, self._shared.carriers)
        return TcpListener(self._shared, sock, listen, service)

    def _end_at(self, when: float, name: str) -> None:
        if len(self._ends) > 2 * len(self.services) + 64:
            self._ends = [(end, key) for end, key in set(self._ends) if self._is_end(end, key)]
            heapq.heapify(self._ends)
        heapq.heappush(self._ends, (when, name))
        self._look()

    def _is_end(self, when: float, name: str) -> bool:
        service = self.services.get(name)
        return service is not None and service.accepting and service.entry.accept_until == when

    def _look(self) -> None:
        """End what is due, and look again in time for the next."""
        wall = time.time()
        while self._ends and self._ends[0][0] <= wall:
            when, name = heapq.heappop(self._ends)
            if self._is_end(when, name):
                service = self.services[name]
                service.stop(service.entry.grace)
        if self._ends and not self._looking:
            self._looking = True
            self._shared.loop.call_later(min(_LOOK_AGAIN, self._ends[0][0] - wall), self._look_again)

    def _look_again(self) -> None:
        self._looking = False
        self._look()
