"""The relay's datagrams: one socket to the target per peer, boundaries kept.

A peer is a client address and port on one listener and, where that listens on all
addresses, the local address that the client chose: the answers leave from there.
The batches themselves are moved by `datagrams`; here is who they belong to.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from _socket import socket as Socket  # noqa: N812 - the C type: half the cost of its Python subclass
from collections.abc import Hashable, Iterable, Sequence
from typing import Final, Literal

from sekimori.planes.relay.admission import Refusal, plain
from sekimori.planes.relay.carriers import Carriers
from sekimori.planes.relay.dial import failure_of
from sekimori.planes.relay.entry import Listen
from sekimori.planes.relay.flows import Failure, SourceRow
from sekimori.planes.relay.loop import Loop
from sekimori.planes.relay.mmsg import SLOTS
from sekimori.planes.relay.outbox import gear_of
from sekimori.planes.relay.service import Service
from sekimori.planes.relay.udpcarried import CarriedUdpFlow
from sekimori.planes.relay.udpflow import (
    IDLE,
    UdpFlow,
    accept_trains,
    client_of,
    count_lost,
    prepare,
)

__all__ = ["IDLE", "PEERS", "UdpFlow", "UdpListener"]

PEERS: Final = 10_000
"""Most peers of one mapping, unless the entry's `max_connections` says otherwise."""

_TURNS: Final = 4
"""Batches taken from a listener per event: 256 datagrams, then the others have their turn."""
_REFUSED_KEPT: Final = 4_096
_LISTENER_BUFFER: Final = 4 << 20
_IP_PKTINFO: Final = 8
_LASTING: Final[frozenset[Refusal]] = frozenset(("source", "expired"))
"""Refusals that stand until the terms change, so that they may be remembered."""

Drop = Literal["full", "too_big", "unreachable", "other"]
"""Why a datagram was lost here: socket full, EMSGSIZE, an ICMP error, anything else."""


class UdpListener:
    """One listening socket and its peers. Takes over `sock`, and closes it in `close`."""

    def __init__(
        self, loop: Loop, sock: Socket, listen: Listen, service: Service, carriers: Carriers | None = None
    ) -> None:
        """Raises OSError when the socket cannot be watched or lacks packet info.

        `carriers` are where an entry's carrier is found; without them every peer is dialled for from here.
        """
        self.loop = loop
        self.carriers = carriers
        self.listen = listen
        self.service = service
        self.gear = gear_of(loop)
        self.peers: dict[Hashable, UdpFlow] = {}
        self.dropped = service.counters.dropped
        self.closed = False
        self._sock = sock
        self.fd = sock.fileno()
        self._bound: tuple[str, int] = sock.getsockname()[:2]
        self._refused: dict[bytes, Refusal] = {}
        family: Literal[4, 6] = 6 if sock.family == socket.AF_INET6 else 4
        self.name_size = 28 if family == 6 else 16
        self.anywhere = self._bound[0] in ("0.0.0.0", "::")
        sock.setblocking(False)
        prepare(sock, _LISTENER_BUFFER)
        if UdpFlow.trains:
            accept_trains(sock)
        if self.anywhere and family == 4:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        elif self.anywhere:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self._receiver = self.gear.receiver(family, self.anywhere)
        loop.register(self.fd, select.EPOLLIN, self)

    def on_event(self, _events: int) -> None:
        """Take what clients sent, at most `_TURNS` batches: epoll tells of the rest again."""
        for _ in range(_TURNS):
            count = self._receiver.receive(self.fd)
            if count < 0:
                if count != -errno.EAGAIN:
                    self.drop(-count)
                return
            self._distribute(count)
            if count < SLOTS:
                return

    def _distribute(self, count: int) -> None:
        receiver = self._receiver
        segments = receiver.segments(0, count)
        sizes = receiver.lengths[:count].tolist()
        keys = receiver.keys(count)
        if keys.count(keys[0]) == count:
            flow = self.peers.get(keys[0]) or self._arrive(keys[0], 0, count)
            if flow is not None:
                flow.carry(None, sizes, segments)
            return
        # Two samples tell whether many peers speak by turns; sharing out would gain nothing then.
        if segments is None and keys.count(keys[0]) == 1 == keys.count(keys[count // 2]):
            self._hand_out_singles(keys, sizes)
        else:
            self._hand_out_shares(keys, sizes, segments)

    def _hand_out_singles(self, keys: Sequence[Hashable], sizes: list[int]) -> None:
        """Send each datagram by itself, in order. The hot path with many peers, hence unrolled."""
        now, known = self.loop.now, self.peers.get
        for key, size, datagram in zip(keys, sizes, self.gear.inbox.cut(sizes), strict=True):
            flow = known(key)
            if flow is None:
                flow = self._arrive(key, keys.index(key), 1)
                if flow is None:
                    continue
            flow.last = now
            if flow.header:
                flow.carry_one(datagram)
                continue
            try:
                flow.send(datagram)
            except OSError as error:
                flow.carry_again(datagram, error.errno or errno.EIO)
            else:
                flow.bytes_in += size
                flow.packets_in += 1

    def _hand_out_shares(
        self, keys: Sequence[Hashable], sizes: list[int], segments: list[int] | None
    ) -> None:
        shares: dict[Hashable, list[int]] = {}
        for slot, key in enumerate(keys):
            share = shares.get(key)
            if share is None:
                shares[key] = [slot]
            else:
                share.append(slot)
        views = self.gear.inbox.slots.views
        for key, slots in shares.items():
            flow = self.peers.get(key) or self._arrive(key, slots[0], len(slots))
            if flow is None:
                continue
            if len(slots) == 1 and segments is None:
                flow.last = self.loop.now
                flow.carry_one(views[slots[0]][: sizes[slots[0]]])
            else:
                steps = None if segments is None else [segments[slot] for slot in slots]
                flow.carry(slots, [sizes[slot] for slot in slots], steps)

    def _arrive(self, key: Hashable, slot: int, count: int) -> UdpFlow | None:
        """A new peer's flow, or None: refused (or no socket for it), and its datagrams counted."""
        name = self._receiver.name(slot)
        address = name[4:8] if len(name) == 16 else name[8:24]
        cause = self._refused.get(address)
        if cause is None:
            row = self._admit(address, plain(client_of(name)[0]), count)
            return None if row is None else self._open(key, name, self._receiver.reply_control(slot), row)
        # Nothing is made for a source that is known to be refused: a flood costs a look-up.
        self._count_refused(cause, count)
        return None

    def _count_refused(self, cause: Refusal, count: int) -> None:
        refused = self.service.counters.refused
        refused[cause] = refused.get(cause, 0) + count

    def _admit(self, address: bytes, source: str, count: int) -> SourceRow | None:
        service, wall = self.service, time.time()
        if self._crowded():
            cause: Refusal | None = "limit"
        else:
            cause = service.refusal(source, wall)
        if cause is None:
            return service.counters.opened(source, wall)
        service.counters.refuse(source, cause, wall)
        self._count_refused(cause, count - 1)
        if cause in _LASTING:
            if len(self._refused) >= _REFUSED_KEPT:
                self._refused.clear()
            self._refused[address] = cause
        return None

    def _crowded(self) -> bool:
        """Whether the mapping has all the peers that are allowed unless its entry says otherwise."""
        service = self.service
        if service.entry.max_connections is not None or len(service.flows) < PEERS:
            return False
        listeners = service.listeners.values()
        return sum(len(one.peers) for one in listeners if isinstance(one, UdpListener)) >= PEERS

    def _open(self, key: Hashable, name: bytes, control: bytes, row: SourceRow) -> UdpFlow | None:
        cause: Failure = "other"
        kind = UdpFlow if self.carriers is None or self.service.entry.carrier is None else CarriedUdpFlow
        for target in self.service.entry.targets:
            try:
                flow = kind(self, key, name, control, row, target)
            except OSError as error:
                cause = failure_of(error.errno or 0)
                continue
            self.peers[key] = flow
            self.service.opened(flow)
            return flow
        self.service.abandon(row, cause)
        return None

    def answer(self, peer: UdpFlow, datagram: memoryview) -> int:
        """Send one datagram to a peer; 0 or the errno."""
        ancillary = []
        if peer.control:
            size, level, kind = struct.unpack_from("@Qii", peer.control)
            ancillary = [(level, kind, peer.control[16:size])]
        try:
            self._sock.sendmsg((datagram,), ancillary, 0, peer.client)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def local_address(self, control: bytes) -> tuple[str, int]:
        """The address and port that a client spoke to, given its `reply_control`."""
        if len(control) == 32:
            return socket.inet_ntop(socket.AF_INET, control[20:24]), self._bound[1]
        if control:
            return socket.inet_ntop(socket.AF_INET6, control[16:32]), self._bound[1]
        return self._bound

    def drop(self, error: int, count: int = 1) -> None:
        """Count datagrams lost to an errno, in the mapping's counters."""
        count_lost(self.dropped, error, count)

    def flows(self) -> Iterable[UdpFlow]:
        """The live peers' flows."""
        return self.peers.values()

    def update(self) -> None:
        """Go by the service's new terms: those refused may ask again, silence is measured anew."""
        self._refused.clear()
        idle = self.service.entry.idle or IDLE
        for flow in self.peers.values():
            if flow.idle_after != idle:
                flow.idle_after = idle
                self.service.wheel.add(flow)

    def stop(self) -> None:
        """Let no new peer in (the service's `accepting` says so); answers still leave here."""
        self._refused.clear()

    def close(self, grace: float = 0.0) -> None:
        """End all peers and close the socket, `grace` seconds from now."""
        if grace > 0 and self.peers:
            self.loop.call_later(grace, self.close)
        elif not self.closed:
            for flow in list(self.peers.values()):
                flow.cut()
            self.closed = True
            self.loop.unregister(self.fd)
            self._sock.close()
