"""A client that names its destination has so long to do it, however it spends that time."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sekimori.host.frames import FrameReader, Outbox
from sekimori.model.socks import make_verifier
from sekimori.planes.relay.dynamic import ASK_WITHIN, DynamicFlow
from sekimori.planes.relay.entry import Entry, Listen, Socks
from sekimori.planes.relay.half import reset
from sekimori.planes.relay.loop import Loop
from sekimori.planes.relay.service import Service
from sekimori.planes.relay.shared import Shared
from sekimori.planes.relay.tcp import TcpListener


class Port:
    """A SOCKS port in this process, and one client of it."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.shared = Shared(self.loop)
        server = socket.create_server(("127.0.0.1", 0))
        address, number = server.getsockname()
        listen = Listen("tcp", address, number, 0)
        entry = Entry("e", (listen,), (), carrier="@direct", socks=Socks((), ("*",)))
        self.service = Service(self.loop, self.shared.wheel, entry, self.shared.bans)
        listener = TcpListener(self.shared, server, listen, self.service)
        self.service.listeners["tcp", listen.address, listen.port, False] = listener
        self.client = socket.create_connection(server.getsockname(), timeout=5)
        self.turn_until(lambda: bool(self.service.flows))
        [flow] = self.service.flows
        assert isinstance(flow, DynamicFlow)
        self.flow = flow

    def turn_until(self, condition) -> None:
        """Run the loop until the condition holds; the test's own limit ends one that never does."""

        def look() -> None:
            if condition():
                self.loop.stop()
            else:
                self.loop.call_later(0.001, look)

        self.loop.soon(look)
        self.loop.run()

    def say(self, data: bytes) -> None:
        """Send, and let the worker hear it."""
        self.client.sendall(data)
        taken: list[int] = []
        hear = self.flow.on_event

        def note(events: int) -> None:
            hear(events)
            taken.append(events)

        self.loop.replace(self.flow._client.fileno(), type("Ear", (), {"on_event": staticmethod(note)})())
        self.turn_until(lambda: bool(taken))

    def close(self) -> None:
        self.client.close()
        self.service.stop(0.0)
        self.shared.close()
        self.loop.close()


@pytest.fixture
def port() -> Iterator[Port]:
    port = Port()
    yield port
    port.close()


def test_talking_slowly_does_not_buy_time(port: Port) -> None:
    for byte in b"\x05\x01\x00\x05":
        port.say(bytes((byte,)))
        assert port.flow.state == "asking"
        assert port.flow.last + port.flow.idle_after == port.flow.started + ASK_WITHIN
    port.flow.on_idle()
    assert port.service.counters.failed == {"timed_out": 1}
    assert port.client.recv(2) == b"\x05\x00"
    with pytest.raises(ConnectionResetError):
        port.client.recv(1)
    assert not port.service.flows


def test_a_dial_that_takes_too_long_is_answered_and_given_up(port: Port) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.settimeout(5)
        port.shared.carriers.attach("@direct", ours)
        port.say(b"\x05\x01\x00\x05\x01\x00\x01\xc6\x33\x64\x01\x00\x50")
        assert port.flow.state == "dialling"
        reader = FrameReader(theirs)
        assert next_frame(reader)["op"] == "dial"
        port.flow.on_idle()
        assert next_frame(reader) == {"op": "cancel", "n": 1}
        assert port.client.recv(20) == b"\x05\x00\x05\x06\x00\x01" + bytes(6)
        assert port.flow.state == "leaving"
        port.client.close()
        port.turn_until(lambda: not port.service.flows)


def next_frame(reader: FrameReader) -> dict[str, Any]:
    while (frame := reader.next()) is None:
        assert reader.read()
    return frame[0]


def test_who_was_greeted_without_a_password_does_not_get_past_one_that_is_asked_for_since(port: Port) -> None:
    port.say(b"\x05\x01\x00")
    user = make_verifier("user:correct horse", b"salt")
    port.service.update(replace(port.service.entry, socks=Socks(((user.name, user.text),), ("*",))))
    port.say(b"\x05\x01\x00\x01\xc6\x33\x64\x01\x00\x50")
    assert port.client.recv(20) == b"\x05\x00\x05\x02\x00\x01" + bytes(6)
    assert port.service.counters.failed == {"prohibited": 1}


def test_who_was_refused_and_does_not_hang_up_is_cut(port: Port) -> None:
    port.say(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50")
    assert port.flow.state == "leaving"
    assert port.client.recv(20) == b"\x05\x00\x05\x02\x00\x01" + bytes(6)
    assert port.client.recv(1) == b""  # its turn to hang up
    port.say(b"but")
    assert port.flow.state == "leaving"
    port.flow.on_idle()
    assert not port.service.flows
    assert port.service.counters.failed == {"prohibited": 1}


def test_a_flow_that_is_cut_while_it_asks_leaves_nothing(port: Port) -> None:
    descriptor = port.flow._client.fileno()
    assert port.service.cut(lambda _flow: True) == 1
    with pytest.raises(OSError):
        socket.socket(fileno=descriptor)
    with pytest.raises(ConnectionResetError):
        port.client.recv(1)
    port.flow.cut()  # a second time does nothing
    assert port.service.admission.active == 0


def test_an_associated_client_is_silent_as_long_as_a_connection_may_be(port: Port) -> None:
    port.say(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
    assert port.flow.state == "associated"
    answer = port.client.recv(20)
    assert answer[:6] == b"\x05\x00\x05\x00\x00\x01"
    assert port.flow.idle_after > 7200
    port.flow.on_idle()
    assert not port.service.flows
    assert port.service.counters.failed == {}
    with pytest.raises(ConnectionResetError):
        port.client.recv(1)


def test_a_client_that_went_while_it_was_dialled_for_leaves_nothing(port: Port) -> None:
    ours, theirs = socket.socketpair()
    near, far = socket.socketpair()
    with theirs, far:
        theirs.settimeout(5)
        far.settimeout(5)
        port.shared.carriers.attach("@direct", ours)
        port.say(b"\x05\x01\x00\x05\x01\x00\x01\xc6\x33\x64\x01\x00\x50")
        assert next_frame(FrameReader(theirs))["op"] == "dial"
        # Both are there at once: the answer, and the client's reset.
        reset(port.client)
        outbox = Outbox(theirs)
        outbox.put({"op": "dialled", "n": 1}, [near.detach()])
        assert outbox.send()
        port.turn_until(lambda: not port.service.flows)
        assert far.recv(1) == b""
        assert port.service.admission.active == 0
