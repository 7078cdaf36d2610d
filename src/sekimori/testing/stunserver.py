"""A STUN server with two addresses and two ports (RFC 5780 §3), which can also be one of the bad ones."""

from __future__ import annotations

import ipaddress
import select
import socket
import threading
from enum import StrEnum
from types import TracebackType
from typing import Any

from sekimori.model.behaviour import Endpoint
from sekimori.wire.errors import BadPacket
from sekimori.wire.stun import (
    LONGEST,
    UNKNOWN_ATTRIBUTE,
    Answer,
    Refusal,
    Request,
    decode_request_untrusted,
    encode_answer,
    encode_refusal,
)

__all__ = ["Manner", "StunServer"]


class Manner(StrEnum):
    """What it does wrong, if anything."""

    HONEST = "honest"
    LIES = "lies"
    """Answers a request for changes from where it was asked, and says that it was the other address."""
    DEAF = "deaf"
    """Never answers a request for changes."""
    SINGLE = "single"
    """Tells of no other address, and refuses requests for changes (420), as RFC 8489 alone has it."""
    REFUSES = "refuses"
    """Refuses everything (401)."""
    SILENT = "silent"
    GARBAGE = "garbage"
    """Sends junk before every answer: noise, another transaction's answer, a cut one."""


class StunServer:
    """Serves in a thread of its own, in the network of the thread that starts it.

    Args:
        first: the address that it is known by.
        second: its other address, which this machine must have too; None only for `SINGLE`.
        manner: what it does wrong.

    Attributes:
        endpoint: where to ask it.
        other: its other address and port, where it has one.
        asked: how many requests came in.
    """

    def __init__(self, first: str, second: str | None, manner: Manner = Manner.HONEST) -> None:
        self._manner = manner
        self._sockets: list[list[socket.socket]] = []
        ports: list[int] = [0, 0]
        for place, address in enumerate((first,) if second is None else (first, second)):
            self._sockets.append([])
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            for which in (0, 1):
                sock = socket.socket(family, socket.SOCK_DGRAM)
                self._sockets[place].append(sock)
                sock.bind((address, ports[which]))
                ports[which] = sock.getsockname()[1]
        self.endpoint = Endpoint(ipaddress.ip_address(first), ports[0])
        self.other = None if second is None else Endpoint(ipaddress.ip_address(second), ports[1])
        self.asked = 0
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="stun", daemon=True)
        self._thread.start()

    def __enter__(self) -> StunServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._stop.close()
        self._thread.join()
        self._stopped.close()
        for sock in (each for pair in self._sockets for each in pair):
            sock.close()

    def _serve(self) -> None:
        places = {sock: (a, p) for a, pair in enumerate(self._sockets) for p, sock in enumerate(pair)}
        while True:
            ready, _, _ = select.select([self._stopped, *places], [], [])
            if self._stopped in ready:
                return
            for sock in ready:
                data, peer = sock.recvfrom(LONGEST + 1)
                try:
                    request = decode_request_untrusted(data)
                except BadPacket:
                    continue
                self.asked += 1
                self._answer(request, places[sock], peer)

    def _answer(self, request: Request, place: tuple[int, int], peer: tuple[Any, ...]) -> None:
        manner, changes = self._manner, request.change_address or request.change_port
        asked = self._sockets[place[0]][place[1]]
        if manner is Manner.SILENT or (manner is Manner.DEAF and changes):
            return
        if manner is Manner.REFUSES:
            asked.sendto(encode_refusal(Refusal(request.transaction, 401, "Unauthorized")), peer)
            return
        if manner is Manner.SINGLE and changes:
            refusal = Refusal(request.transaction, UNKNOWN_ATTRIBUTE, "Unknown Attribute", (3,))
            asked.sendto(encode_refusal(refusal, fingerprint=True), peer)
            return
        by = self._sockets[place[0] ^ request.change_address][place[1] ^ request.change_port]
        host, port, *_ = by.getsockname()
        answer = Answer(
            request.transaction,
            Endpoint(ipaddress.ip_address(peer[0]), peer[1]),
            other=None if manner is Manner.SINGLE else self.other,
            origin=Endpoint(ipaddress.ip_address(host), port),
            software="sekimori-testing",
        )
        data = encode_answer(answer, fingerprint=True)
        if manner is Manner.GARBAGE:
            for junk in (b"\xff" * 40, encode_answer(Answer(bytes(12), answer.mapped)), data[:30]):
                by.sendto(junk, peer)
        (asked if manner is Manner.LIES else by).sendto(data, peer)
