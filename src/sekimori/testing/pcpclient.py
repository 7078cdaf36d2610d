"""A client of NAT-PMP and PCP for tests, made of the wire codecs; it blocks."""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Final

from sekimori.model.address import IPAddress, IpProtocol
from sekimori.wire import natpmp, pcp
from sekimori.wire.pcpoptions import Option

__all__ = ["DEADLINE", "PcpClient"]

DEADLINE: Final = 10.0
_FIRST: Final = 0.25
"""Seconds until a request is sent again; twice as long each time (RFC 6886 §3.1)."""


class PcpClient:
    """A socket of one address that asks one server.

    Make it in the network that it is to ask from: `Host.call(lambda: PcpClient(…))`.

    Args:
        server: its address, with `%interface` where that is link-local.
        source: the address to ask from; the kernel chooses unless given.
        port: the server's.

    Attributes:
        address: the address it asks from.
        nonce: that of its mappings.
    """

    def __init__(self, server: str, source: str | None = None, port: int = pcp.PORT) -> None:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        self._sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if source is not None:
                self._sock.bind((source, 0))
            self._sock.connect(socket.getaddrinfo(server, port, family, socket.SOCK_DGRAM)[0][4])
        except BaseException:
            self._sock.close()
            raise
        self.address: IPAddress = ipaddress.ip_address(self._sock.getsockname()[0].partition("%")[0])
        self.nonce = os.urandom(12)

    def __enter__(self) -> PcpClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._sock.close()

    def send(self, data: bytes) -> None:
        """Send a datagram and wait for nothing."""
        self._sock.send(data)

    def receive(self, deadline: float = DEADLINE) -> bytes:
        """The next datagram from the server.

        Raises:
            TimeoutError: none came.
        """
        self._sock.settimeout(deadline)
        return self._sock.recv(2048)

    def ask(self, data: bytes, deadline: float = DEADLINE) -> bytes:
        """Send until an answer comes.

        Raises:
            TimeoutError: none came.
        """
        end, wait = time.monotonic() + deadline, _FIRST
        while (left := end - time.monotonic()) > 0:
            with suppress(ConnectionRefusedError):  # nobody is there yet
                self._sock.send(data)
            self._sock.settimeout(min(wait, left))
            with suppress(TimeoutError, ConnectionRefusedError):
                return self._sock.recv(2048)
            wait *= 2
        raise TimeoutError(f"no answer within {deadline:g} s")

    # -- PCP -----------------------------------------------------------------------------

    def request(self, request: pcp.Request) -> pcp.Response | pcp.ErrorResponse | pcp.OtherVersion:
        """Ask by PCP."""
        return pcp.decode_response_untrusted(self.ask(pcp.encode_request(request)))

    def announce(self) -> pcp.Response | pcp.ErrorResponse | pcp.OtherVersion:
        """Ask whether it is there."""
        return self.request(pcp.Request(0, self.address, pcp.Announce()))

    def map(
        self,
        inside_port: int,
        outside_port: int = 0,
        lifetime: int = 7200,
        *,
        protocol: int = 17,
        options: Iterable[Option] = (),
        outside_address: str | None = None,
        client: str | None = None,
        nonce: bytes | None = None,
    ) -> pcp.Response | pcp.ErrorResponse | pcp.OtherVersion:
        """Ask for a mapping, or with lifetime 0 for its end."""
        body = pcp.Map(nonce or self.nonce, protocol, inside_port, outside_port, self._any(outside_address))
        here = self.address if client is None else ipaddress.ip_address(client)
        return self.request(pcp.Request(lifetime, here, body, tuple(options)))

    def peer(
        self,
        inside_port: int,
        peer: tuple[str, int],
        outside_port: int = 0,
        lifetime: int = 7200,
        *,
        protocol: int = 17,
        nonce: bytes | None = None,
    ) -> pcp.Response | pcp.ErrorResponse | pcp.OtherVersion:
        """Ask for a mapping towards a peer."""
        where, port = ipaddress.ip_address(peer[0]), peer[1]
        body = pcp.Peer(
            nonce or self.nonce, protocol, inside_port, outside_port, self._any(None), port, where
        )
        return self.request(pcp.Request(lifetime, self.address, body))

    # -- NAT-PMP -------------------------------------------------------------------------

    def ask_natpmp(self, request: natpmp.Request) -> natpmp.Response:
        """Ask by NAT-PMP."""
        return natpmp.decode_response_untrusted(self.ask(natpmp.encode_request(request)))

    def natpmp_map(
        self, inside_port: int, outside_port: int = 0, lifetime: int = 7200, *, udp: bool = True
    ) -> natpmp.Response:
        """Ask for a mapping by NAT-PMP, or with lifetime 0 for its end."""
        request = natpmp.MapRequest(
            IpProtocol.UDP if udp else IpProtocol.TCP, inside_port, outside_port, lifetime
        )
        return self.ask_natpmp(request)

    def _any(self, text: str | None) -> IPAddress:
        if text is not None:
            return ipaddress.ip_address(text)
        return ipaddress.ip_address("0.0.0.0" if self.address.version == 4 else "::")
