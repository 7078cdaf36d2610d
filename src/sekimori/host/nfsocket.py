"""Sockets to the kernel's netfilter: transactions, questions, and flows to forget.

Everything blocks, for as long as the kernel works: call it from worker threads.
A socket belongs to the network namespace of the thread that makes it, and may be used by any.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import Final

from sekimori.wire import conntrack
from sekimori.wire.nfnetlink import (
    ACK,
    DUMP_INTERRUPTED,
    Reply,
    asks_for_dump,
    batch,
    generation_mark,
    numbered,
    read_messages_untrusted,
    read_reply_untrusted,
)
from sekimori.wire.nftelements import Seen, dump_elements, parse_elements_untrusted
from sekimori.wire.nftevents import Generation, get_generation, parse_events_untrusted

__all__ = [
    "NETLINK_NETFILTER",
    "OPENING",
    "SOL_NETLINK",
    "NetfilterError",
    "NfSocket",
    "delete_flows",
    "dump_flows",
    "enlarge",
    "open_netfilter",
    "read_elements",
]

# Constants of linux/netlink.h and asm-generic/socket.h that Python's socket module lacks.
NETLINK_NETFILTER: Final = 12
SOL_NETLINK: Final = 270
_CAP_ACK: Final = 10
_EXT_ACK: Final = 11
SO_SNDBUFFORCE: Final = 32
SO_RCVBUFFORCE: Final = 33

RECEIVE: Final = 1 << 16
"""Bytes asked for at once; the kernel fills 32 KiB of a dump at most, and 8 KiB of events."""
RECEIVE_BUFFER: Final = 4 << 20
_OVERHEAD: Final = 4096
"""What the kernel wants of the send buffer beyond the datagram (32 bytes), and room."""
_TIMEOUT: Final = struct.pack("@ll", 10, 0)
"""SO_RCVTIMEO, in seconds. Netfilter answers while it takes the request: this is for a kernel that fails."""
_DUMP_ATTEMPTS: Final = 16
_AT_ONCE: Final = 512
"""Requests of one datagram in `each`: their errors fit into the receive buffer many times over."""


OPENING: Final = threading.Lock()
"""Held while a netfilter socket is opened, so that whoever opens one can tell which it is."""


class NetfilterError(Exception):
    """The kernel refused.

    Attributes:
        errno: why, as a number of `errno`.
        text: why, in the kernel's own words if it has any, else those of that number.
        index: which message of a batch it refused; None when it was the batch as a whole.
        offset: where in that message the attribute (an element, say) stands; None if not told.
    """

    def __init__(
        self, code: int, text: str = "", index: int | None = None, offset: int | None = None
    ) -> None:
        self.errno = code
        self.text = text or os.strerror(code)
        self.index = index
        self.offset = offset
        where = "" if index is None else f" (message {index})"
        super().__init__(f"{self.text}{where}")


def open_netfilter() -> socket.socket:
    """A netlink socket to netfilter, with a port of its own.

    Raises:
        OSError: this kernel has no netfilter sockets, or the process may have no netlink at all.
    """
    with OPENING:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    try:
        sock.bind((0, 0))
    except OSError:
        sock.close()
        raise
    return sock


class NfSocket:
    """Transactions and questions, one at a time.

    Attributes:
        port: its netlink port, as `Generation.port` tells it of what this socket changed.

    Raises:
        OSError: no such socket can be had.
    """

    def __init__(self) -> None:
        self._sock = open_netfilter()
        self._sock.setsockopt(SOL_NETLINK, _EXT_ACK, 1)
        self._sock.setsockopt(SOL_NETLINK, _CAP_ACK, 1)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
        enlarge(self._sock, SO_RCVBUFFORCE, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.port: int = self._sock.getsockname()[0]
        self._room = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        self._lock = threading.Lock()
        self._sequence = 1

    def __enter__(self) -> NfSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it. It may be closed already."""
        self._sock.close()

    def batch(self, messages: Sequence[bytes], generation: int | None = None) -> None:
        """Do everything in one transaction of nf_tables, or nothing. For very large ones see `batch_unheard`.

        Args:
            messages: of nf_tables, in order.
            generation: do it only if this is still the ruleset's generation.

        Raises:
            NetfilterError: it was refused, and nothing was done; ERESTART for another generation.
                After ENOBUFS (the answer was lost) it is not known which.
        """
        if not messages:
            return
        with self._lock:
            first = self._take_numbers(len(messages) + 2)
            self._send(batch(messages, first, generation))
            replies = self._replies(first, len(messages) + 2)
        for reply in replies:
            if reply.errno:
                index = _distance(first, reply.sequence) - 1
                told = index if 0 <= index < len(messages) else None
                raise NetfilterError(reply.errno, reply.text, told, reply.offset)
        if not replies:
            raise NetfilterError(errno.EPROTO, "the kernel did not answer")

    def ask(self, request: bytes) -> list[bytes]:
        """The answer to a question, as datagrams for a `parse_..._untrusted`.

        A dump during which the ruleset changed is asked for again.

        Raises:
            NetfilterError: it was refused; EINTR when the ruleset kept changing.
        """
        with self._lock:
            for _ in range(_DUMP_ATTEMPTS):
                answer = self._ask_once(request)
                if answer is not None:
                    return answer
        raise NetfilterError(errno.EINTR, "the ruleset changed during every dump of it")

    def generation(self) -> int:
        """The ruleset's generation: another number after every transaction, by whomever.

        Raises:
            NetfilterError: the kernel refused.
        """
        for data in self.ask(get_generation()):
            for answer in parse_events_untrusted(data):
                if isinstance(answer, Generation):
                    return answer.id
        raise NetfilterError(errno.EPROTO, "the kernel told no generation")

    def each(self, requests: Iterable[bytes]) -> Iterator[tuple[int, Reply]]:
        """Send requests that are no transaction: each is done or refused for itself.

        Yields:
            Which was refused, and how.

        Raises:
            NetfilterError: answers were lost.
        """
        left = iter(requests)
        done = 0
        while some := list(islice(left, _AT_ONCE)):
            with self._lock:
                first = self._take_numbers(len(some))
                self._send(b"".join(numbered(each, first + at) for at, each in enumerate(some)))
                replies = self._replies(first, len(some))
            for reply in replies:
                if reply.errno:
                    yield done + _distance(first, reply.sequence), reply
            done += len(some)

    def _take_numbers(self, count: int) -> int:
        first = self._sequence
        self._sequence = (first + count) & 0xFFFFFFFF
        return first

    def _send(self, data: bytes) -> None:
        wanted = len(data) + _OVERHEAD
        try:
            if wanted > self._room:
                enlarge(self._sock, SO_SNDBUFFORCE, socket.SO_SNDBUF, wanted)
                self._room = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            self._sock.send(data)
        except OSError as error:
            raise NetfilterError(error.errno or errno.EIO) from error

    def _replies(self, first: int, count: int) -> list[Reply]:
        """What stands in the receive queue: the kernel has answered when sending returns."""
        replies: list[Reply] = []
        while data := self._receive(socket.MSG_DONTWAIT):
            for message in read_messages_untrusted(data):
                reply = read_reply_untrusted(message)
                if reply is not None and _distance(first, reply.sequence) < count:
                    replies.append(reply)
        return replies

    def _ask_once(self, request: bytes) -> list[bytes] | None:
        """The answer; None when it is not of one moment."""
        number = self._take_numbers(1)
        self._send(numbered(request, number, 0 if asks_for_dump(request) else ACK))
        answer: list[bytes] = []
        marks: set[bytes] = set()
        interrupted = False
        while True:
            data = self._receive()
            if not data:
                raise NetfilterError(errno.ETIMEDOUT, "the kernel did not answer")
            # What has another number is the rest of an answer that was given up.
            ours = [message for message in read_messages_untrusted(data) if message.sequence == number]
            if ours:
                answer.append(data)
            for message in ours:
                if mark := generation_mark(message):
                    marks.add(mark)
                interrupted = interrupted or message.flags & DUMP_INTERRUPTED != 0
                reply = read_reply_untrusted(message)
                if reply is not None and reply.errno:
                    raise NetfilterError(reply.errno, reply.text, None, reply.offset)
                if reply is not None:
                    return None if interrupted or len(marks) > 1 else answer

    def _receive(self, flags: int = 0) -> bytes:
        """The next datagram; nothing when there is none."""
        try:
            return self._sock.recv(RECEIVE, flags)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise NetfilterError(error.errno or errno.EIO) from error


def read_elements(sock: NfSocket, table: str, set_name: str) -> list[Seen]:
    """All elements of a set or map of an inet table.

    The kernel dumps a hash in parts and counts how far it got; while the hash grows or shrinks,
    as it does for a while behind a large change, the rest has another order, and the dump has
    elements twice and misses as many. Such a dump is asked for again.

    Raises:
        NetfilterError: it was refused (ENOENT: no such set); EINTR when no dump was whole.
    """
    for _ in range(_DUMP_ATTEMPTS):
        answer = sock.ask(dump_elements(table, set_name))
        found = [element for data in answer for element in parse_elements_untrusted(data)]
        if len({(element.key, element.interval_end) for element in found}) == len(found):
            return found
    raise NetfilterError(errno.EINTR, "no dump of the set was whole")


def dump_flows(sock: NfSocket, family: int, only: conntrack.Filter | None = None) -> list[conntrack.Entry]:
    """The tracked flows of a family (0 for both, without a filter) that a filter lets through.

    Raises:
        NetfilterError: the kernel refused.
        ValueError: see `conntrack.dump_request`.
    """
    entries: list[conntrack.Entry] = []
    for data in sock.ask(conntrack.dump_request(family, only)):
        entries += conntrack.parse_untrusted(data)
    return entries if only is None else [entry for entry in entries if only.matches(entry)]


def delete_flows(sock: NfSocket, requests: Iterable[bytes]) -> int:
    """Send requests of `conntrack.delete_request`: how many flows were deleted. Ended ones are passed over.

    Raises:
        NetfilterError: one was refused for another reason; those before and behind it may be done.
    """
    sent = 0

    def counted() -> Iterator[bytes]:
        nonlocal sent
        for request in requests:
            sent += 1
            yield request

    missing = 0
    for index, reply in sock.each(counted()):
        if reply.errno != errno.ENOENT:
            raise NetfilterError(reply.errno, reply.text, index, reply.offset)
        missing += 1
    return sent - missing


def _distance(first: int, number: int) -> int:
    return (number - first) & 0xFFFFFFFF


def enlarge(sock: socket.socket, forced: int, plain: int, size: int) -> None:
    """Enlarge a buffer beyond the system's limit, or up to it without CAP_NET_ADMIN."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, forced, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, plain, size)
