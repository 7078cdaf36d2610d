"""What comes by a carrier: orders, dials under way, newcomers, and the tie of a flow to its carrier."""

from __future__ import annotations

from _socket import socket as Socket  # noqa: N812 - the C type: half the cost of its Python subclass
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from sekimori.host.frames import BadFrameError
from sekimori.planes.relay.admission import plain
from sekimori.planes.relay.dial import EVENTS, Dialler
from sekimori.planes.relay.flows import Failure

if TYPE_CHECKING:
    from sekimori.planes.relay.channel import Channel
    from sekimori.planes.relay.shared import Shared

__all__ = [
    "NOBODY",
    "Arrival",
    "Breakable",
    "Carried",
    "CarrierDialler",
    "Endpoint",
    "Order",
    "Pending",
    "key_of",
    "read_endpoint",
]

NOBODY: Final = "unknown"
"""Stands for the address of a newcomer of whom a carrier tells none. No prefix holds it."""

Endpoint = tuple[str, int]

_STREAM: Final = ("tcp", "unix")


@dataclass(frozen=True, slots=True)
class Order:
    """What a carrier is to reach.

    Attributes:
        id: the mapping's.
        host: an address or a name as it is to be resolved there; of `unix` a path.
        source: who came in.
        listen: where.
        op: `bind` waits for one connection from `host` instead (SOCKS's BIND).
        extra: further members of the frame, which only some carriers know.
    """

    id: str
    protocol: Literal["tcp", "udp", "unix"]
    host: str
    port: int
    source: Endpoint | None = None
    listen: Endpoint | None = None
    op: Literal["dial", "bind"] = "dial"
    extra: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The members of its frame, but for the number."""
        return {
            "op": self.op,
            "id": self.id,
            "protocol": self.protocol,
            "host": self.host,
            "port": self.port,
            "source": self.source,
            "listen": self.listen,
            **(self.extra or {}),
        }


class Breakable(Protocol):
    """What came by a carrier."""

    def aborted(self) -> None:
        """The far side broke it off, or the carrier is gone: reset. The carrier need not be told."""


class CarrierDialler(Dialler, Breakable, Protocol):
    """Who wants a connection through a carrier.

    `dialled` gets a stream registered for `dial.EVENTS` (replace its handler), or datagrams that are not
    registered yet. It blocks on neither.
    """


class Carried:
    """A flow's tie to the carrier that one of its sides came by. As it ends it calls `end` or `abort`."""

    __slots__ = ("_channel", "_key")

    def __init__(self, channel: Channel | None, key: tuple[str, int]) -> None:
        self._channel = channel
        self._key = key

    @property
    def key(self) -> tuple[str, int]:
        """`("n", 17)` of what was dialled, `("k", 5)` of an arrival: unique in its carrier."""
        return self._key

    def end(self) -> None:
        """The flow ended in order, by shutdown(2) both ways. Called before its socket is closed."""
        self._leave()

    def abort(self) -> None:
        """The flow is being reset: tell the carrier to do the same. Called before its socket is closed."""
        channel = self._leave()
        if channel is not None:
            channel.put({"op": "aborted", self._key[0]: self._key[1]})

    def _leave(self) -> Channel | None:
        """The channel, where the carrier has not said itself that it is over."""
        channel, self._channel = self._channel, None
        return channel if channel is not None and channel.forget(self._key) else None


class Pending(Carried):
    """A dial under way, and once it is done the flow's tie to its carrier.

    Attributes:
        local: where the carrier dialled from, once it is done; None where it does not tell.
        peer: who a `bind` led to.
    """

    __slots__ = ("_dialler", "_on_bound", "_order", "local", "peer")

    def __init__(
        self,
        channel: Channel | None,
        number: int,
        order: Order,
        dialler: CarrierDialler,
        on_bound: Callable[[Endpoint], None] | None,
    ) -> None:
        super().__init__(channel, ("n", number))
        self.local: Endpoint | None = None
        self.peer: Endpoint | None = None
        self._order = order
        self._dialler: CarrierDialler | None = dialler
        self._on_bound = on_bound

    def cancel(self) -> None:
        """Give the dial up without a word to the dialler."""
        self._dialler = None
        channel = self._leave()
        if channel is not None:
            channel.put({"op": "cancel", "n": self._key[1]})

    def fail(self, cause: Failure) -> None:
        """It came to nothing."""
        self._leave()
        dialler, self._dialler = self._dialler, None
        if dialler is not None:  # not cancelled meanwhile
            dialler.dial_failed(cause)

    def bound(self, message: dict[str, Any]) -> None:
        """A `bind` waits at an address now."""
        local = read_endpoint(message.get("local"))
        if self._on_bound is not None and local is not None:
            self._on_bound(local)

    def settle(self, shared: Shared, sock: Socket, message: dict[str, Any]) -> CarrierDialler | None:
        """It is done; who has the flow from now on, None when there is no room to watch it."""
        channel, dialler = self._channel, self._dialler
        assert channel is not None
        assert dialler is not None
        self.local = read_endpoint(message.get("local"))
        self.peer = read_endpoint(message.get("peer"))
        if self._order.protocol in _STREAM:
            try:
                shared.loop.register(sock.fileno(), EVENTS, _Deaf())
            except OSError:  # ENOSPC: fs.epoll.max_user_watches
                channel.put({"op": "aborted", "n": self._key[1]})
                sock.close()
                self.fail("descriptors")
                return None
        self._dialler = None
        return dialler

    @property
    def host(self) -> str:
        """Where it leads."""
        return self._order.host


class Arrival(Carried):
    """A newcomer that a carrier brought.

    Attributes:
        carrier: the name of who brought it.
        id: the mapping it is for.
        source, listen: who came and where, as the carrier says; the address of `source` is `NOBODY` where it
            tells none.
        sock: to be taken over by who lets it in.
    """

    __slots__ = ("carrier", "id", "listen", "protocol", "sock", "source")

    def __init__(self, channel: Channel, carrier: str, message: dict[str, Any], sock: Socket) -> None:
        """Raises BadFrameError for a frame that is no arrival."""
        super().__init__(channel, key_of(message))
        self.carrier = carrier
        self.id = str(message.get("id"))
        self.protocol = str(message.get("protocol"))
        self.source = read_endpoint(message.get("source")) or (NOBODY, 0)
        self.listen = _listen_of(message)
        self.sock = sock

    def hold(self, flow: Breakable) -> None:
        """It is let in: `flow` is told when the far side breaks off."""
        if self._channel is not None:
            self._channel.flows[self._key] = flow

    def turn_away(self) -> None:
        """It is not let in."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.put({"op": "turned_away", "k": self._key[1]})
        self.sock.close()


class _Deaf:
    """Stands in until the flow has put its own handler in the place."""

    def on_event(self, _events: int) -> None:
        """Nothing: `dialled` replaces it in the same turn."""


def read_endpoint(value: Any) -> Endpoint | None:
    """An address and port as a carrier tells them, who may have it from strangers; None where it is none."""
    try:
        address, port = plain(str(value[0])), int(value[1])
        ip_address(address)
    except (TypeError, ValueError, IndexError, KeyError):  # a name, a path, or nothing at all
        return None
    return (address, port) if 0 <= port <= 0xFFFF else None


def _listen_of(message: dict[str, Any]) -> Endpoint:
    """Where a newcomer came in: an address, or whatever name the far end has for it, and the port."""
    try:
        return str(message["listen"][0]), int(message["listen"][1])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BadFrameError("an arrival at no port") from error


def key_of(message: dict[str, Any]) -> tuple[str, int]:
    """The number of what a frame is about (see `Carried.key`). Raises BadFrameError where it has none."""
    kind = "n" if "n" in message else "k"
    number = message.get(kind)
    if not isinstance(number, int):
        raise BadFrameError("a frame without its number")
    return kind, number
