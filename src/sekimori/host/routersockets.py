"""Sockets to the router above: UDP questions that are asked again until they are answered, and HTTP.

Every socket leaves by one interface from one of its addresses, so that with several lines each router is
asked by its own. What comes from anywhere else than the router is not heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final, Generic, TypeVar

import h11

from sekimori.wire.errors import BadPacket
from sekimori.wire.httpmessage import HttpUrl

__all__ = ["FIRST_PAUSE", "Place", "Reply", "RouterSocket", "fetch", "open_router_socket", "search"]

T = TypeVar("T")

FIRST_PAUSE: Final = 0.25
"""Seconds until a question is asked again; then twice as long each time (RFC 6886 §3.1).

RFC 6887 §8.1.1 would have 3 s first, which is longer than people wait; other clients of PCP hurry as well."""

_LONGEST_USUAL: Final = 0.5
_LONGEST_DATAGRAM: Final = 4096
_AT_ONCE: Final = 64
"""Datagrams that are read before others of the loop get their turn."""
_LONGEST_HEAD: Final = 16 * 1024
_PIECE: Final = 16 * 1024
_IP_MULTICAST_IF: Final = struct.Struct("=4s4si")  # struct ip_mreqn
_HOPS: Final = 2  # UPnP Device Architecture 1.1 §1.1.2


@dataclass(frozen=True, slots=True)
class Place:
    """Where the router is asked from and where it is.

    Attributes:
        interface: leaves by it, where the kernel lets us say so.
        local: our address there.
        gateway: the router's.
    """

    interface: str
    local: IPv4Address
    gateway: IPv4Address


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer over HTTP."""

    status: int
    body: bytes


class _Question(Generic[T]):
    """One question that waits for its answer."""

    def __init__(self, fits: Callable[[bytes], T | None]) -> None:
        self.fits = fits
        self.answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def offer(self, data: bytes) -> bool:
        """Take a datagram if it is the answer."""
        if self.answer.done():
            return False
        found = self.fits(data)
        if found is not None:
            self.answer.set_result(found)
        return found is not None


class RouterSocket:
    """A UDP socket that is connected to one port of the router: the kernel keeps all others' datagrams out.

    Made by `open_router_socket`, in a running loop.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._questions: list[_Question[object]] = []
        self._usual = 0.0
        """Seconds that answers take: a slow router is not asked the same thing again before it can answer."""
        self._loop.add_reader(sock.fileno(), self._read)

    async def ask(self, data: bytes, fits: Callable[[bytes], T | None], within: float) -> T:
        """Send until an answer comes.

        Args:
            data: the question.
            fits: what a datagram says if it is the answer, or None.
            within: seconds.

        Raises:
            TimeoutError: no answer came.
            ConnectionRefusedError: the router says that nobody is there (ICMP).
            OSError: nothing can be sent.
        """
        question: _Question[T] = _Question(fits)
        self._questions.append(question)  # type: ignore[arg-type]  # offered bytes only
        try:
            async with asyncio.timeout(within):
                begun, pause = self._loop.time(), max(FIRST_PAUSE, 2 * self._usual)
                while True:
                    with contextlib.suppress(BlockingIOError):  # as good as lost on the way
                        self._sock.send(data)
                    with contextlib.suppress(TimeoutError):  # asked again
                        async with asyncio.timeout(pause):
                            answer = await asyncio.shield(question.answer)
                            took = min(self._loop.time() - begun, _LONGEST_USUAL)
                            self._usual += (took - self._usual) / 4
                            return answer
                    pause *= 2
        finally:
            self._questions.remove(question)  # type: ignore[arg-type]
            if question.answer.done() and not question.answer.cancelled():
                question.answer.exception()  # taken: a refusal may come when nobody waits any more

    def close(self) -> None:
        """Close it; whoever waits gets no answer."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def _read(self) -> None:
        try:
            for _ in range(_AT_ONCE):
                data = self._sock.recv(_LONGEST_DATAGRAM)
                # Two questions may be fit by one answer, asked twice: the older one gets it.
                any(question.offer(data) for question in self._questions)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            for question in self._questions:
                if not question.answer.done():
                    question.answer.set_exception(error)
            # libuv stops watching a socket that reported an error.
            self._loop.remove_reader(self._sock.fileno())
            self._loop.add_reader(self._sock.fileno(), self._read)


def open_router_socket(place: Place, port: int) -> RouterSocket:
    """A socket from our address to a port of the router.

    Raises:
        OSError: the address is not ours (any more), or there is no way to the router.
    """
    sock = _udp(place)
    try:
        sock.connect((str(place.gateway), port))
        return RouterSocket(sock)
    except BaseException:
        sock.close()
        raise


async def search(
    place: Place,
    datagrams: Sequence[tuple[bytes, str, int]],
    take: Callable[[bytes], bool],
    within: float,
) -> None:
    """Send datagrams, to the router and to groups on its link, again and again until an answer is taken.

    Args:
        place: answers count only from its gateway, from whatever port.
        datagrams: what, to which address and port.
        take: told every answer; True ends the search.
        within: seconds; then the search is over all the same.

    Raises:
        OSError: nothing can be sent.
    """
    ended = asyncio.Event()
    with (
        _udp(place, multicast=True) as sock,
        _heard(sock, str(place.gateway), take, ended),
        contextlib.suppress(TimeoutError),  # nobody answered
    ):
        async with asyncio.timeout(within):
            pause = FIRST_PAUSE
            while not ended.is_set():
                _send_all(sock, datagrams)
                with contextlib.suppress(TimeoutError):  # sent again
                    async with asyncio.timeout(pause):
                        await ended.wait()
                pause *= 2


@contextlib.contextmanager
def _heard(
    sock: socket.socket, gateway: str, take: Callable[[bytes], bool], ended: asyncio.Event
) -> Iterator[None]:
    """Have `take` be told what the router answers, for the length of the block."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            for _ in range(_AT_ONCE):
                data, sender = sock.recvfrom(_LONGEST_DATAGRAM)
                if sender[0] == gateway and not ended.is_set() and take(data):
                    ended.set()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # ICMP: the router does not listen there, and may still answer to the group
            loop.remove_reader(sock.fileno())  # libuv stops watching a socket that reported an error
            loop.add_reader(sock.fileno(), read)

    loop.add_reader(sock.fileno(), read)
    try:
        yield
    finally:
        loop.remove_reader(sock.fileno())


async def fetch(
    place: Place,
    url: HttpUrl,
    *,
    method: str = "GET",
    fields: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    most: int,
    within: float,
) -> Reply:
    """One request over a connection of its own. No redirect is followed.

    Args:
        place: where it is asked from.
        url: at the router; anything else is a mistake of the caller's.
        method: GET or POST.
        fields: header fields beside Host, Content-Length and Connection.
        body: what is sent.
        most: bytes of the answer's body; a longer one is not read to its end.
        within: seconds for all of it.

    Raises:
        TimeoutError: it took longer.
        OSError: no connection, or it broke.
        BadPacket: the answer is not HTTP, or too long.
    """
    head = [("Host", url.host), ("Connection", "close"), ("User-Agent", "sekimori UPnP/1.1"), *fields]
    if body or method == "POST":
        head.append(("Content-Length", str(len(body))))
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
    request = connection.send(h11.Request(method=method, target=url.path, headers=head))
    sent = [
        request,
        connection.send(h11.Data(data=body)) if body else b"",
        connection.send(h11.EndOfMessage()),
    ]
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(within):
        with _socket(place, socket.SOCK_STREAM) as sock:
            await loop.sock_connect(sock, (str(url.address), url.port))
            await loop.sock_sendall(sock, b"".join(each or b"" for each in sent))
            try:
                return await _read_reply(sock, connection, most)
            except h11.RemoteProtocolError as error:
                raise BadPacket(f"not an HTTP answer: {error}") from None


async def _read_reply(sock: socket.socket, connection: h11.Connection, most: int) -> Reply:
    loop = asyncio.get_running_loop()
    status, body = 0, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await loop.sock_recv(sock, _PIECE))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > most:
                raise BadPacket(f"an answer of more than {most} bytes")
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            return Reply(status, bytes(body))


def _send_all(sock: socket.socket, datagrams: Iterable[tuple[bytes, str, int]]) -> None:
    """Send them; an error counts only where nothing could be sent: some links have no multicast."""
    failure: OSError | None = None
    sent = False
    for data, address, port in datagrams:
        try:
            sock.sendto(data, (address, port))
            sent = True
        except BlockingIOError:  # as good as lost on the way
            sent = True
        except OSError as error:
            failure = error
    if not sent and failure is not None:
        raise failure


def _udp(place: Place, *, multicast: bool = False) -> socket.socket:
    sock = _socket(place, socket.SOCK_DGRAM)
    if multicast:
        try:
            index = socket.if_nametoindex(place.interface)
            request = _IP_MULTICAST_IF.pack(bytes(4), place.local.packed, index)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _HOPS)
        except BaseException:
            sock.close()
            raise
    return sock


def _socket(place: Place, kind: socket.SocketKind) -> socket.socket:
    """A socket at our address, which leaves by the interface."""
    sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        with contextlib.suppress(PermissionError):  # before Linux 5.7 only root may; the routes decide then
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, place.interface.encode())
        sock.bind((str(place.local), 0))
    except BaseException:
        sock.close()
        raise
    return sock
