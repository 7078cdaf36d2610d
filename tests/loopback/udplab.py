"""A datagram relay on loopback, driven from the test's own thread.

Nothing runs unless the test waits: `until` turns the loop until a condition holds.
"""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sekimori.planes.relay.bans import Bans
from sekimori.planes.relay.entry import Entry, Listen
from sekimori.planes.relay.idle import IdleWheel
from sekimori.planes.relay.loop import Loop
from sekimori.planes.relay.service import Service, key_of
from sekimori.planes.relay.udp import UdpFlow, UdpListener

LONGEST = 10.0
"""Seconds after which a condition that does not hold fails the test."""


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Lab:
    def __init__(self) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.loop = Loop()
        self.wheel = IdleWheel(self.loop)
        self.sockets: list[socket.socket] = []
        self.services: list[Service] = []

    def close(self) -> None:
        for service in self.services:
            service.stop(0)
        self.loop.close()
        for sock in self.sockets:
            sock.close()

    def endpoint(self, address: str = "127.0.0.1", port: int = 0) -> socket.socket:
        sock = socket.socket(family(address), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self.sockets.append(sock)
        sock.bind((address, port))
        return sock

    def serve(
        self,
        target_port: int,
        address: str = "127.0.0.1",
        targets: Sequence[str] = ("127.0.0.1",),
        dual: bool = False,
        **terms: Any,
    ) -> UdpListener:
        sock = socket.socket(family(address), socket.SOCK_DGRAM)
        if address == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not dual))
        sock.bind((address, 0))
        listen = Listen("udp", address, sock.getsockname()[1], target_port, dual)
        service = Service(self.loop, self.wheel, Entry("udp", (listen,), tuple(targets), **terms), Bans())
        self.services.append(service)
        listener = UdpListener(self.loop, sock, listen, service)
        service.listeners[key_of(listen)] = listener
        return listener

    def until(self, condition: Callable[[], Any], seconds: float = LONGEST) -> None:
        """Turn the loop until `condition()` is true; fails after `seconds`."""
        deadline = time.monotonic() + seconds
        held = False

        def look() -> None:
            nonlocal held
            held = bool(condition())
            if held or time.monotonic() > deadline:
                self.loop.stop()
            else:
                self.loop.call_at(time.monotonic() + 0.001, look)

        self.loop.soon(look)
        self.loop.run()
        assert held, "the condition did not come true in time"

    def collect(self, sock: socket.socket, count: int) -> list[tuple[bytes, Any]]:
        """The next `count` datagrams, with where they came from."""
        found: list[tuple[bytes, Any]] = []

        def more() -> bool:
            while len(found) < count:
                try:
                    found.append(sock.recvfrom(70_000))
                except BlockingIOError:
                    return False
            return True

        self.until(more)
        return found

    def receive(self, sock: socket.socket) -> tuple[bytes, Any]:
        return self.collect(sock, 1)[0]

    def passes(self, client: socket.socket, to: Any, target: socket.socket) -> Any:
        """One datagram in and one back; where the target saw it come from."""
        token = str(time.monotonic_ns()).encode()
        client.sendto(token, to)
        seen, peer = self.receive(target)
        assert seen == token
        target.sendto(b"re " + token, peer)
        assert self.receive(client)[0] == b"re " + token
        return peer


def stats(listener: UdpListener) -> dict[str, Any]:
    return listener.service.counters.snapshot(listener.service.flows)


def only_flow(listener: UdpListener) -> UdpFlow:
    (flow,) = listener.flows()
    return flow


def at(listener: UdpListener, host: str = "127.0.0.1") -> tuple[str, int]:
    return host, listener.listen.port


def change(listener: UdpListener, **terms: Any) -> None:
    """Give the mapping new terms."""
    listener.service.update(replace(listener.service.entry, **terms))
