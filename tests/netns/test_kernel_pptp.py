"""PPTP through the gateway's kernel: its calls are GRE that only the control connection tells apart."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import pytest

from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import Talker

from .home import Home
from .raw import GRE, Raw, pptp_gre

pytestmark = pytest.mark.netns

GATEWAY, SERVER, VISITOR = HomeNetwork.GATEWAY[0], HomeNetwork.SERVER[0], HomeNetwork.VISITOR[0]
STRANGER = HomeNetwork.STRANGER[0]
PORT: Final = 1723
_HEADER: Final = struct.Struct("!HHLHH")
START_REQUEST, START_REPLY, CALL_REQUEST, CALL_REPLY = 1, 2, 7, 8


def message(kind: int, body: bytes) -> bytes:
    """A control message (RFC 2637 §2)."""
    return _HEADER.pack(_HEADER.size + len(body), 1, 0x1A2B3C4D, kind, 0) + body


def start_body(result: int) -> bytes:
    """Of a start request (0) or its reply (1: successful); the names are empty."""
    return struct.pack("!HBBLLHH64s64s", 0x0100, result, 0, 1, 1, 0, 0, b"", b"")


def read(talker: Talker, kind: int) -> bytes:
    """The body of the next control message, which is of this kind."""
    length, _, magic, found, _ = _HEADER.unpack(talker.exactly(_HEADER.size))
    assert (magic, found) == (0x1A2B3C4D, kind)
    return talker.exactly(length - _HEADER.size)


@dataclass(frozen=True)
class Call:
    """One call: both ends' sockets for GRE, and the number that each end was told of the other."""

    visitor: Raw
    server: Raw
    at_visitor: int
    at_server: int
    """As the server was told it: the gateway gives the call another number, for another may have the same."""


@pytest.fixture
def call(kernel_home: Home) -> Iterator[Call]:
    """A visitor's call to a PPTP server behind the gateway, over a control connection that stands."""
    home = kernel_home
    home.daemon.client.enable_gateway(firewall=True)
    home.open({"ports": ["tcp/1723", "gre"], "to": SERVER, "from": VISITOR})
    with ExitStack() as stack:
        listener = stack.enter_context(home.net.server.call(lambda: socket.create_server((SERVER, PORT))))
        client = home.visitor.dial(PORT, GATEWAY)
        server = Talker(stack.enter_context(listener.accept()[0]))
        client.send(message(START_REQUEST, start_body(0)))
        read(server, START_REQUEST)
        server.send(message(START_REPLY, start_body(1)))
        read(client, START_REPLY)
        ask = struct.pack("!HHLLLLHHHH64s64s", 77, 1, 300, 10**8, 3, 3, 64, 0, 0, 0, b"", b"")
        client.send(message(CALL_REQUEST, ask))
        (told,) = struct.unpack_from("!H", read(server, CALL_REQUEST))
        server.send(message(CALL_REPLY, struct.pack("!HHBBHLHHL", 99, told, 1, 0, 0, 10**8, 64, 0, 0)))
        number, mine = struct.unpack_from("!HH", read(client, CALL_REPLY))
        assert mine == 77, "the reply names the call as the client did"
        yield Call(
            stack.enter_context(Raw(home.net.visitor, VISITOR, GRE)),
            stack.enter_context(Raw(home.net.server, SERVER, GRE)),
            at_visitor=number,
            at_server=told,
        )


def test_a_call_is_carried_both_ways(kernel_home: Home, call: Call) -> None:
    call.visitor.send(GATEWAY, pptp_gre(call.at_visitor, b"to the server"))
    assert call.server.receive() == (VISITOR, pptp_gre(99, b"to the server"))
    call.server.send(VISITOR, pptp_gre(call.at_server, b"to the client"))
    assert call.visitor.receive() == (GATEWAY, pptp_gre(77, b"to the client"))


def test_the_helper_is_there_while_a_mapping_carries_gre(kernel_home: Home) -> None:
    home = kernel_home
    home.server.tcp_echo(SERVER, PORT)
    listed = ["conntrack", "-L", "-p", "tcp", "--dport", str(PORT)]
    fields = {"to": SERVER, "from": VISITOR}

    def helped() -> int:
        """How many control connections are followed, with one more."""
        assert home.visitor.dial(PORT, GATEWAY).says_back(bytes(8))
        return home.net.gateway.run(listed).stdout.count("helper=pptp")

    home.open({"ports": "tcp/1723", **fields})
    before = helped()
    view = home.open({"ports": "gre", **fields})
    assert helped() == before + 1
    home.daemon.client.close(view["id"], now=True)
    assert helped() == before + 1, "the one from before is"
