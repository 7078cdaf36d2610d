"""A worker's channels to carriers, one turn of the loop at a time."""

from __future__ import annotations

import errno
import socket
from _socket import socket as Socket  # noqa: N812
from collections.abc import Iterator
from typing import Any

import pytest

from sekimori.host.frames import FrameReader, Outbox
from sekimori.planes.relay.carried import Arrival, Order, Pending, read_endpoint
from sekimori.planes.relay.flows import Failure
from sekimori.planes.relay.loop import Loop
from sekimori.planes.relay.shared import Shared

ORDER = Order("m1", "tcp", "db.example", 5432, ("192.0.2.1", 5), ("0.0.0.0", 80))
BIND = Order("m1", "tcp", "peer.example", 0, op="bind", extra={"rules": ["*"]})


class Told:
    """Writes down what it is told of its dial."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.sock: Socket | None = None

    def dialled(self, sock: Socket, target: str, events: int) -> None:
        self.sock = sock
        self.said.append((target, events))

    def dial_failed(self, cause: Failure) -> None:
        self.said.append(cause)

    def aborted(self) -> None:
        self.said.append("aborted")


class Lab:
    """A worker's carriers, and the far end of the channel to one."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.shared = Shared(self.loop)
        self.carriers = self.shared.carriers
        self.far: socket.socket | None = None
        self.socks: list[Socket | socket.socket] = []

    def attach(self) -> None:
        ours, far = socket.socketpair()
        far.setblocking(False)
        self.socks.append(far)
        self.far = far
        self.carriers.attach("vps", ours)
        self._reader, self._outbox = FrameReader(far), Outbox(far)

    def turn(self, times: int = 3) -> None:
        for _ in range(times):
            self.loop.soon(self.loop.stop)
            self.loop.run()

    def frames(self) -> list[dict[str, Any]]:
        self.turn()
        try:
            self._reader.read()
        except BlockingIOError:
            return []
        found = []
        while (frame := self._reader.next()) is not None:
            found.append(frame[0])
        return found

    def tell(self, message: dict[str, Any], *fds: int) -> None:
        self._outbox.put(message, list(fds))
        assert self._outbox.send()
        self.turn()

    def end(self) -> tuple[socket.socket, int]:
        """The carrier's end of a flow, and the descriptor to pass."""
        ours, theirs = socket.socketpair()
        self.socks.append(ours)
        return ours, theirs.detach()

    def close(self) -> None:
        self.shared.close()
        self.loop.close()
        for sock in self.socks:
            sock.close()


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    made.attach()
    yield made
    made.close()


def dial(lab: Lab, order: Order = ORDER, **given: Any) -> tuple[Told, Pending]:
    told = Told()
    return told, lab.carriers.named("vps").dial(order, told, **given)


def settle(lab: Lab, told: Told) -> None:
    assert told.sock is not None
    lab.loop.unregister(told.sock.fileno())
    lab.socks.append(told.sock)


def test_a_dial_and_its_answer(lab: Lab) -> None:
    told, pending = dial(lab)
    [frame] = lab.frames()
    assert frame == {"n": 1, **ORDER.to_json(), "source": ["192.0.2.1", 5], "listen": ["0.0.0.0", 80]}
    assert told.said == []
    end, fd = lab.end()
    lab.tell({"op": "dialled", "n": 1, "local": ["198.51.100.1", 40000], "later": True}, fd)
    assert told.said == [("db.example", 0)]
    assert (pending.local, pending.peer) == (("198.51.100.1", 40000), None)
    settle(lab, told)
    end.send(b"x")
    assert told.sock is not None
    assert told.sock.recv(9) == b"x"
    lab.tell({"op": "aborted", "n": 1})
    assert told.said[1:] == ["aborted"]
    pending.abort()
    assert lab.frames() == []  # the carrier said so itself


def test_a_flow_that_cannot_be_watched_is_reset_and_the_channel_goes_on(lab: Lab) -> None:
    class Unlucky(Told):
        def dialled(self, sock: Socket, target: str, events: int) -> None:
            super().dialled(sock, target, events)
            raise OSError(errno.ENOSPC, "fs.epoll.max_user_watches")

    unlucky, other = Unlucky(), Told()
    lab.carriers.named("vps").dial(ORDER, unlucky)
    lab.carriers.named("vps").dial(ORDER, other)
    lab.frames()
    for number, told in ((1, unlucky), (2, other)):
        lab.tell({"op": "dialled", "n": number}, lab.end()[1])
        settle(lab, told)
    assert unlucky.said == [("db.example", 0), "aborted"]
    assert other.said == [("db.example", 0)]
    assert lab.carriers.state() == {"vps": True}


def test_a_bind_is_told_where_it_waits_and_who_came(lab: Lab) -> None:
    bound: list[Any] = []
    told, pending = dial(lab, BIND, on_bound=bound.append)
    [frame] = lab.frames()
    assert (frame["op"], frame["rules"]) == ("bind", ["*"])
    lab.tell({"op": "bound", "n": 1, "local": ["198.51.100.1", 40000]})
    lab.tell({"op": "bound", "n": 1, "local": "nowhere"})
    assert bound == [("198.51.100.1", 40000)]
    _, fd = lab.end()
    lab.tell({"op": "dialled", "n": 1, "peer": ["192.0.2.9", 20]}, fd)
    assert pending.peer == ("192.0.2.9", 20)
    settle(lab, told)


def test_an_end_in_order_is_not_told_and_a_reset_is(lab: Lab) -> None:
    for number, ending in ((1, Pending.end), (2, Pending.abort)):
        told, pending = dial(lab)
        lab.frames()
        _, fd = lab.end()
        lab.tell({"op": "dialled", "n": number}, fd)
        settle(lab, told)
        ending(pending)
        ending(pending)
        assert lab.frames() == ([] if number == 1 else [{"op": "aborted", "n": 2}])
        lab.tell({"op": "aborted", "n": number})
        assert told.said == [("db.example", 0)]


def test_what_is_cancelled_says_nothing_more(lab: Lab) -> None:
    told, pending = dial(lab)
    lab.frames()
    pending.cancel()
    pending.cancel()
    assert lab.frames() == [{"op": "cancel", "n": 1}]
    end, fd = lab.end()
    lab.tell({"op": "dialled", "n": 1}, fd)
    lab.tell({"op": "failed", "n": 1, "cause": "refused"})
    assert told.said == []
    assert end.recv(1) == b""


def test_without_a_channel_a_dial_fails_in_a_later_turn() -> None:
    lab = Lab()
    told, _ = dial(lab)
    assert told.said == []
    lab.turn()
    assert told.said == ["down"]
    cancelled, pending = dial(lab)
    pending.cancel()
    lab.turn()
    assert cancelled.said == []
    lab.close()


def test_the_end_of_the_channel_is_the_end_of_all_that_came_by_it(lab: Lab) -> None:
    flowing, _ = dial(lab)
    waiting, _ = dial(lab)
    lab.frames()
    _, fd = lab.end()
    lab.tell({"op": "dialled", "n": 1}, fd)
    settle(lab, flowing)
    assert lab.carriers.state() == {"vps": True}
    assert lab.far is not None
    lab.far.close()
    lab.turn()
    assert (flowing.said[1:], waiting.said) == (["aborted"], ["down"])
    assert lab.carriers.state() == {"vps": False}
    lab.attach()
    told, _ = dial(lab)
    assert lab.frames()[0]["n"] > 2  # numbers are not used again
    lab.carriers.detach("vps")
    assert (told.said, lab.carriers.state()) == (["down"], {})


def test_a_carrier_that_does_not_read_is_down_for_new_dials(lab: Lab) -> None:
    told = [dial(lab)[0] for _ in range(10_000)]
    lab.turn()
    failed = [each for each in told if each.said == ["down"]]
    assert 0 < len(failed) < 6_000
    while lab.frames():  # it reads again
        pass
    fresh, _ = dial(lab)
    assert [frame["op"] for frame in lab.frames()] == ["dial"]
    assert fresh.said == []


@pytest.mark.parametrize(
    "message",
    [
        {"op": "dialled", "n": 1},
        {"op": "dialled"},
        {"op": "aborted", "n": [1]},
        {"op": "failed", "n": None},
        {"op": "arrived", "k": 1, "listen": ["::", 80]},
        {"op": "arrived", "k": 1, "fd": 1},
    ],
)
def test_a_frame_that_makes_no_sense_ends_the_channel(lab: Lab, message: dict[str, Any]) -> None:
    told, _ = dial(lab)
    lab.tell(message, *([lab.end()[1]] if "fd" in message else []))
    assert told.said == ["down"]


def test_what_a_newer_carrier_says_is_passed_over(lab: Lab) -> None:
    told, _ = dial(lab)
    lab.frames()
    lab.tell({"op": "weather", "rain": True})
    lab.tell({"op": "aborted", "n": 77})
    lab.tell({"op": "failed", "n": 1, "cause": "rain"})
    assert told.said == ["other"]


def test_arrivals_are_let_in_or_turned_away(lab: Lab) -> None:
    came: list[Arrival] = []
    lab.carriers.on_arrival = came.append
    for key, source in ((4, ["::ffff:192.0.2.1", 5]), (5, ["UNKNOWN", 65535]), (6, None)):
        _, fd = lab.end()
        message = {"op": "arrived", "k": key, "id": "m1", "protocol": "tcp"}
        lab.tell({**message, "source": source, "listen": ["", 80]}, fd)
    assert [each.source for each in came] == [("192.0.2.1", 5), ("unknown", 0), ("unknown", 0)]
    assert {(each.carrier, each.id, each.listen) for each in came} == {("vps", "m1", ("", 80))}
    flow = Told()
    came[0].hold(flow)
    came[1].turn_away()
    assert lab.frames() == [{"op": "turned_away", "k": 5}]
    lab.tell({"op": "aborted", "k": 4})
    assert flow.said == ["aborted"]
    came[2].hold(flow)
    came[2].abort()
    assert lab.frames() == [{"op": "aborted", "k": 6}]
    lab.socks += [each.sock for each in came]


def test_nobody_listens_for_arrivals_at_first(lab: Lab) -> None:
    _, fd = lab.end()
    lab.tell({"op": "arrived", "k": 9, "id": "m1", "protocol": "tcp", "listen": ["", 80]}, fd)
    assert lab.frames() == [{"op": "turned_away", "k": 9}]


def test_as_many_descriptors_are_left_as_dials_are_under_way(lab: Lab) -> None:
    before = lab.shared.brink
    told, pending = dial(lab)
    dial(lab)
    _, third = dial(lab)
    assert lab.shared.brink == before - 3
    lab.frames()
    lab.tell({"op": "dialled", "n": 1}, lab.end()[1])
    settle(lab, told)
    lab.tell({"op": "failed", "n": 2, "cause": "refused"})
    third.cancel()
    assert lab.shared.brink == before
    pending.end()
    dial(lab)
    lab.carriers.detach("vps")
    assert lab.shared.brink == before


@pytest.mark.parametrize(
    ("value", "endpoint"),
    [
        (["192.0.2.1", 80], ("192.0.2.1", 80)),
        (["::ffff:192.0.2.1", 80], ("192.0.2.1", 80)),
        (["fe80::1%eth0", 80], ("fe80::1", 80)),
        (["2001:db8::1", 0], ("2001:db8::1", 0)),
        (["2001:db8::1", 65536], None),
        (["2001:db8::1", -1], None),
        (["2001:db8::1", 2**40], None),
        (["db.example", 80], None),
        (["", 80], None),
        (["192.0.2.1"], None),
        (["192.0.2.1", None], None),
        ("192.0.2.1", None),
        ({"0": 1}, None),
        (None, None),
    ],
)
def test_addresses_from_strangers(value: Any, endpoint: tuple[str, int] | None) -> None:
    assert read_endpoint(value) == endpoint
