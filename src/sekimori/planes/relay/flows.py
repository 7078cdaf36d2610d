"""What a relay counts for one mapping, apart from sockets and clocks.

Every moment is an argument: `now` in seconds of the monotonic clock, `wall` in
unix seconds. The TCP and the UDP path share all of this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, Literal

from sekimori.planes.relay.admission import REFUSALS, Refusal
from sekimori.planes.relay.entry import Listen, Socks

__all__ = ["FAILURES", "SOURCES_KEPT", "Counters", "Failure", "Flow", "SourceRow", "Sources"]

Failure = Literal["refused", "timed_out", "unreachable", "prohibited", "down", "descriptors", "other"]
"""Why an admitted newcomer did not reach its target: `prohibited` where whoever dials may not go there,
`down` where the carrier that was to dial is not there."""

FAILURES: Final[tuple[Failure, ...]] = (
    "refused",
    "timed_out",
    "unreachable",
    "prohibited",
    "down",
    "descriptors",
    "other",
)

SOURCES_KEPT: Final = 4096
"""Rows kept per mapping, so that strangers cannot fill the memory."""


class SourceRow:
    """What one source address did. Bytes and packets are those of ended flows; `stats` adds the live."""

    __slots__ = (
        "active",
        "address",
        "bytes_in",
        "bytes_out",
        "first_seen",
        "last_seen",
        "packets_in",
        "packets_out",
        "refused",
        "total",
    )

    def __init__(self, address: str, wall: float) -> None:
        self.address = address
        self.active = 0
        self.total = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.packets_in = 0
        self.packets_out = 0
        self.refused = 0
        self.first_seen = wall
        self.last_seen = wall

    def absorb(self, other: SourceRow | Flow) -> None:
        """Add what a flow (or a row about to be dropped) carried."""
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.packets_in += other.packets_in
        self.packets_out += other.packets_out

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


class Sources:
    """A bounded table of rows: the source idle for longest makes room, its figures go to `others`."""

    __slots__ = ("_busy", "_idle", "_kept", "others")

    def __init__(self, kept: int = SOURCES_KEPT) -> None:
        self._kept = kept
        self._busy: dict[str, SourceRow] = {}
        self._idle: dict[str, SourceRow] = {}  # in the order in which they fell idle
        self.others: SourceRow | None = None

    def row(self, address: str, wall: float) -> SourceRow:
        """The row of `address`, made if need be; `others` when every kept row has a live flow."""
        row = self._busy.get(address) or self._idle.get(address)
        if row is None:
            row = self._new(address, wall)
        row.last_seen = wall
        return row

    def enter(self, row: SourceRow) -> None:
        """A flow of this row begins."""
        row.active += 1
        row.total += 1
        if row.active == 1 and row is not self.others:
            self._idle.pop(row.address, None)
            self._busy[row.address] = row

    def leave(self, row: SourceRow) -> None:
        """A flow of this row ends."""
        row.active -= 1
        if row.active == 0 and row is not self.others:
            self._busy.pop(row.address, None)
            self._idle[row.address] = row

    def rows(self) -> list[SourceRow]:
        """All rows, `others` last."""
        last = [] if self.others is None else [self.others]
        return [*self._busy.values(), *self._idle.values(), *last]

    def _new(self, address: str, wall: float) -> SourceRow:
        if len(self._busy) + len(self._idle) >= self._kept:
            if not self._idle:
                return self._rest(wall)
            dropped = self._idle.pop(next(iter(self._idle)))
            rest = self._rest(wall)
            rest.absorb(dropped)
            rest.total += dropped.total
            rest.refused += dropped.refused
            rest.first_seen = min(rest.first_seen, dropped.first_seen)
        row = self._idle[address] = SourceRow(address, wall)
        return row

    def _rest(self, wall: float) -> SourceRow:
        if self.others is None:
            self.others = SourceRow("others", wall)
        return self.others


class Flow:
    """One TCP connection or UDP peer: the base of both, and all that control needs to know.

    The hot path only adds to `bytes_*`/`packets_*` and stores `last`; everything else is derived.
    """

    __slots__ = (
        "bucket",
        "bytes_in",
        "bytes_out",
        "carrier",
        "idle_after",
        "last",
        "listen",
        "packets_in",
        "packets_out",
        "row",
        "source",
        "source_port",
        "started",
        "target",
    )

    def __init__(
        self,
        row: SourceRow,
        source: tuple[str, int],
        listen: Listen,
        target: str,
        now: float,
        idle_after: float,
    ) -> None:
        """`source` is the plain address and port; `idle_after` the seconds of silence that end the flow."""
        self.row = row
        self.source, self.source_port = source
        self.listen = listen
        self.target = target
        self.carrier: str | None = None  # what it was dialled through
        self.bytes_in = 0
        self.bytes_out = 0
        self.packets_in = 0
        self.packets_out = 0
        self.started = now
        self.last = now
        self.idle_after = idle_after
        self.bucket: set[Flow] | None = None  # where the idle wheel keeps it

    @property
    def state(self) -> str:
        """dialling, open, half-closed; UDP peers are always open."""
        return "open"

    @property
    def target_port(self) -> int:
        """The port of `target`."""
        return self.listen.target_port

    def cut(self) -> None:
        """End the flow at once (TCP: both sides are reset) and tell the service that it ended."""
        raise NotImplementedError

    def on_idle(self) -> None:
        """The flow was silent for `idle_after`: end it, or store new `last`/`idle_after` to go on."""
        self.cut()

    def strays(self, socks: Socks) -> bool:
        """Whether its client named itself or a destination, and these terms do not allow that."""
        return False

    def to_json(self, now: float) -> dict[str, Any]:
        """The flow as shown to people; `age` and `idle` in seconds."""
        return {
            "protocol": self.listen.protocol,
            "source": self.source,
            "source_port": self.source_port,
            "listen_port": self.listen.port,
            "target": self.target,
            "target_port": self.target_port,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "packets_in": self.packets_in,
            "packets_out": self.packets_out,
            "age": now - self.started,
            "idle": now - self.last,
            "state": self.state,
        }


class Counters:
    """The figures of one mapping: ended flows here, live flows added by `snapshot`."""

    __slots__ = ("dropped", "failed", "flows_total", "last_flow_at", "refused", "sources", "sums")

    def __init__(self) -> None:
        self.flows_total = 0
        self.last_flow_at: float | None = None
        self.refused: dict[Refusal, int] = {}
        self.failed: dict[Failure, int] = {}
        self.dropped: Counter[str] = Counter()
        """Datagrams lost here, by cause (`udp.Drop`)."""
        self.sources = Sources()
        self.sums = SourceRow("", 0.0)

    def refuse(self, source: str, cause: Refusal, wall: float) -> None:
        """A newcomer was turned away."""
        self.refused[cause] = self.refused.get(cause, 0) + 1
        self.sources.row(source, wall).refused += 1

    def fail(self, cause: Failure) -> None:
        """An admitted newcomer did not reach its target."""
        self.failed[cause] = self.failed.get(cause, 0) + 1

    def opened(self, source: str, wall: float) -> SourceRow:
        """A flow begins; its row, to be given back to `ended`."""
        self.flows_total += 1
        self.last_flow_at = wall
        row = self.sources.row(source, wall)
        self.sources.enter(row)
        return row

    def ended(self, flow: Flow, wall: float) -> None:
        """A flow is over: its figures join the sums."""
        self.sums.absorb(flow)
        row = flow.row
        row.absorb(flow)
        row.last_seen = wall
        self.sources.leave(row)

    def snapshot(self, live: Iterable[Flow]) -> dict[str, Any]:
        """All figures as of now, live flows included, as plain JSON values."""
        sums = SourceRow("", 0.0)
        sums.absorb(self.sums)
        count = 0
        for flow in live:
            sums.absorb(flow)
            count += 1
        return {
            "flows_total": self.flows_total,
            "flows_active": count,
            "bytes_in": sums.bytes_in,
            "bytes_out": sums.bytes_out,
            "packets_in": sums.packets_in,
            "packets_out": sums.packets_out,
            "refused": {cause: self.refused.get(cause, 0) for cause in REFUSALS},
            "failed": {cause: self.failed.get(cause, 0) for cause in FAILURES},
            "dropped": dict(self.dropped),
            "last_flow_at": self.last_flow_at,
        }

    def by_source(self, live: Iterable[Flow]) -> list[dict[str, Any]]:
        """The figures of each source, live flows included."""
        rows = {id(row): row.to_json() for row in self.sources.rows()}
        for flow in live:
            row = rows[id(flow.row)]
            for name in ("bytes_in", "bytes_out", "packets_in", "packets_out"):
                row[name] += getattr(flow, name)
        return list(rows.values())
