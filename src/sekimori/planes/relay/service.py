"""One mapping as served by this worker: what its TCP and UDP listeners share.

A listener asks `admit` for a newcomer, makes a `Flow`, tells `opened`, and `ended`
once it is over. Everything that can happen to a mapping while flows are live
(new terms, narrowing, expiry, a cut) is decided here and reaches flows by `Flow.cut`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import ip_network
from typing import Protocol

from sekimori.planes.relay.admission import Admission, PrefixSet, Refusal
from sekimori.planes.relay.bans import Bans
from sekimori.planes.relay.entry import Entry, Listen, ListenKey, key_of
from sekimori.planes.relay.flows import Counters, Failure, Flow, SourceRow
from sekimori.planes.relay.idle import IdleWheel
from sekimori.planes.relay.loop import Loop, Timer

__all__ = ["ListenKey", "Listener", "Service", "key_of"]


class Listener(Protocol):
    """What a service holds for each of its sockets (TcpListener, UdpListener)."""

    listen: Listen
    """Replaced by the service when only the target port changed; then `update` is called."""

    def update(self) -> None:
        """The service's entry (or `listen`) has changed; live flows are the service's business."""

    def stop(self) -> None:
        """No newcomers from now on, `admit` refuses them. TCP closes its socket at once.

        UDP keeps it, as replies leave through it.
        """

    def close(self, grace: float = 0.0) -> None:
        """Close the socket. The service calls it with 0, after it has cut the flows."""

    @property
    def closed(self) -> bool:
        """Whether the socket is gone, so that serving again needs a new one."""


class Service:
    """The live state of one entry."""

    __slots__ = (
        "_end",
        "_then",
        "accepting",
        "admission",
        "bans",
        "counters",
        "entry",
        "flows",
        "listeners",
        "loop",
        "wheel",
    )

    def __init__(self, loop: Loop, wheel: IdleWheel, entry: Entry, bans: Bans) -> None:
        """Raises ValueError for a source that is no prefix."""
        self.loop = loop
        self.wheel = wheel
        self.entry = entry
        self.bans = bans
        self.admission = Admission(entry)
        self.counters = Counters()
        self.flows: set[Flow] = set()
        self.listeners: dict[ListenKey, Listener] = {}
        self.accepting = True
        self._end: Timer | None = None
        self._then: Callable[[], None] | None = None

    # -- what listeners call -------------------------------------------------

    def admit(self, source: str) -> SourceRow | None:
        """Let a newcomer from a `plain` address in, or count its refusal and return None.

        The row must end up in a Flow told to `opened`, or be given to `abandon`.
        """
        wall = time.time()
        cause = self.refusal(source, wall)
        if cause is not None:
            self.counters.refuse(source, cause, wall)
            return None
        return self.counters.opened(source, wall)

    def refusal(self, source: str, wall: float) -> Refusal | None:
        """Why a newcomer from a `plain` address may not come in; None lets one flow in, and counts it."""
        if not self.accepting:
            return "expired"
        if self.bans.any and self.bans.hold(source, wall):
            return "banned"
        return self.admission.admit(source, self.loop.now, wall)

    def abandon(self, row: SourceRow, cause: Failure) -> None:
        """An admitted newcomer could not become a flow."""
        self.counters.fail(cause)
        self.counters.sources.leave(row)
        self.admission.release()

    def opened(self, flow: Flow) -> None:
        """A flow lives from now on, watched for silence by its `last` and `idle_after`."""
        self.flows.add(flow)
        self.wheel.add(flow)

    def ended(self, flow: Flow) -> None:
        """A flow is over; its `row` must still be set. Must be called exactly once."""
        self.flows.discard(flow)
        if flow.bucket is not None:
            flow.bucket.discard(flow)
        self.admission.release()
        self.counters.ended(flow, time.time())

    def fail(self, cause: Failure) -> None:
        """Count why a flow did not reach its target (it is told to `ended` too)."""
        self.counters.fail(cause)

    # -- what the roster calls -----------------------------------------------

    def update(self, entry: Entry) -> None:
        """Go by new terms: flows no longer admitted end now, flows to old targets after the grace.

        Raises:
            ValueError: a source is no prefix; nothing has changed then.
        """
        narrowed = entry.sources != self.entry.sources
        self.admission.update(entry)
        self.entry = entry
        self._stay()
        self.accepting = True
        for listen in entry.listens:
            listener = self.listeners.get(key_of(listen))
            if listener is not None:
                listener.listen = listen
        for listener in self.listeners.values():
            listener.update()
        if narrowed:
            self.cut(lambda flow: not self.admission.allows(flow.source))
        self._cut_stale_later()

    def stop(self, grace: float, then: Callable[[], None] | None = None) -> None:
        """Stop accepting now; end what still flows after `grace` seconds (0: now), and call `then`.

        An `update` in the meantime takes all of it back.
        """
        self._stay()
        self.accepting = False
        self._then = then
        for key, listener in list(self.listeners.items()):
            listener.stop()
            if listener.closed:
                del self.listeners[key]
        if grace > 0 and self.flows:
            self._end = self.loop.call_later(grace, self.finish)
        else:
            self.finish()

    def finish(self) -> None:
        """Cut every flow and close every socket."""
        self.cut(lambda _flow: True)
        for listener in self.listeners.values():
            listener.close(0.0)
        self.listeners.clear()
        then = self._then
        self._stay()
        if then is not None:
            then()

    def drop(self, key: ListenKey) -> None:
        """A Listen is no longer wanted: its socket closes now.

        TCP flows end as stale ones do; datagram flows end now, as they answer through that socket.
        """
        listener = self.listeners.pop(key)
        listener.stop()
        listener.close(0.0)

    def cut(self, which: Callable[[Flow], bool]) -> int:
        """End the flows that `which` picks, at once; how many they were."""
        chosen = [flow for flow in self.flows if which(flow)]
        for flow in chosen:
            flow.cut()
        return len(chosen)

    def cut_source(self, prefix: str | None) -> int:
        """End the flows from `prefix` (None: all of them).

        Raises:
            ValueError: not a prefix.
        """
        if prefix is None:
            return self.cut(lambda _flow: True)
        sources = PrefixSet((str(ip_network(prefix, strict=False)),))
        return self.cut(lambda flow: flow.source in sources)

    def missing(self) -> list[Listen]:
        """Listens of the entry that lack a socket here."""
        return [listen for listen in self.entry.sockets if key_of(listen) not in self.listeners]

    @property
    def ending(self) -> bool:
        """Whether flows are living out their grace."""
        return self._end is not None

    def _stay(self) -> None:
        if self._end is not None:
            self._end.cancel()
        self._end = self._then = None

    def _stale(self, flow: Flow) -> bool:
        entry = self.entry
        if flow.listen not in entry.listens or flow.carrier != entry.carrier:
            return True
        if entry.socks is not None:
            return flow.strays(entry.socks)
        return flow.target not in entry.targets

    def _cut_stale_later(self) -> None:
        stale = {flow for flow in self.flows if self._stale(flow)}
        if not stale:
            return

        # Asked again then: a flow may have ended, or an update may have brought its target back.
        def cut() -> None:
            self.cut(lambda flow: flow in stale and self._stale(flow))

        if self.entry.grace > 0:
            self.loop.call_later(self.entry.grace, cut)
        else:
            cut()
