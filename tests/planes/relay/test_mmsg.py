"""Header arrays, trains and runs: what the batch calls must keep."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.planes.relay.libc import open_calls
from sekimori.planes.relay.mmsg import (
    BIGGEST,
    SEGMENTS,
    SLOTS,
    Receiver,
    Sender,
    Slots,
    trains,
)

UDP_SEGMENT, UDP_GRO = 103, 104
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """(a sender connected to a receiver, the receiver)."""
    host = "127.0.0.1" if request.param == socket.AF_INET else "::1"
    with (
        socket.socket(request.param, socket.SOCK_DGRAM) as a,
        socket.socket(request.param, socket.SOCK_DGRAM) as b,
    ):
        b.bind((host, 0))
        a.connect(b.getsockname())
        a.settimeout(5)
        b.settimeout(5)
        yield a, b


def family_of(sock: socket.socket) -> int:
    return 4 if sock.family == socket.AF_INET else 6


def payloads(receiver: Receiver, count: int) -> list[bytes]:
    return [bytes(receiver.slots.views[i][: receiver.lengths[i]]) for i in range(count)]


# -- runs ---------------------------------------------------------------------

SIZES = st.lists(st.sampled_from([0, 1, 64, 64, 64, 1400, 1400, 9000, BIGGEST]), max_size=SLOTS)


@pytest.mark.parametrize(
    ("sizes", "limit", "expected"),
    [
        ([], BIGGEST, []),
        ([64], BIGGEST, [(0, 1, 64)]),
        ([64, 64, 64], BIGGEST, [(0, 3, 192)]),
        ([64, 64, 10], BIGGEST, [(0, 3, 138)]),
        ([64, 10, 64], BIGGEST, [(0, 2, 74), (2, 1, 64)]),
        ([10, 64, 64], BIGGEST, [(0, 1, 10), (1, 2, 128)]),
        ([64, 0, 64], BIGGEST, [(0, 1, 64), (1, 1, 0), (2, 1, 64)]),
        ([64, 64], 63, [(0, 1, 64), (1, 1, 64)]),
        ([40_000, 40_000], BIGGEST, [(0, 1, 40_000), (1, 1, 40_000)]),
    ],
)
def test_runs_of_equal_datagrams(sizes: list[int], limit: int, expected: list[tuple[int, int, int]]) -> None:
    assert list(trains(sizes, limit)) == expected


@given(sizes=SIZES, limit=st.integers(0, BIGGEST))
def test_runs_cover_every_datagram_once_and_stay_lawful(sizes: list[int], limit: int) -> None:
    at = 0
    for first, count, total in trains(sizes, limit):
        run = sizes[first : first + count]
        assert first == at
        assert total == sum(run)
        if count > 1:
            assert count <= SEGMENTS
            assert total <= BIGGEST
            assert run[0] <= limit
            assert set(run[:-1]) == {run[0]}
            assert 0 < run[-1] <= run[0]
        at += count
    assert at == len(sizes)


@given(size=st.integers(0, 65_536), segment=st.integers(0, 2_000).filter(lambda n: n == 0 or n > 600))
def test_a_train_taken_apart_is_the_whole(size: int, segment: int) -> None:
    parts = SHARED.datagrams(3, size, segment)
    assert b"".join(parts) == bytes(SHARED.views[3][:size])
    if segment:
        assert all(len(part) == segment for part in parts[:-1])
    else:
        assert len(parts) == 1


SHARED = Slots()


# -- the calls ----------------------------------------------------------------


@pytest.mark.parametrize("many", [True, False], ids=["many", "one-by-one"])
def test_boundaries_are_kept_through_a_batch(pair: Pair, many: bool) -> None:
    a, b = pair
    sent = [bytes([i]) * size for i, size in enumerate([0, 1, 64, 64, 1400, 0, 9000, BIGGEST])]
    for datagram in sent:
        a.send(datagram)
    calls = open_calls(many)
    receiver = Receiver(Slots(), calls, family_of(b))  # type: ignore[arg-type]
    count = receiver.receive(b.fileno())
    assert receiver.segments(0, count) is None
    assert payloads(receiver, count) == sent

    sender = Sender(receiver.slots, calls)
    sender.lengths[:count] = receiver.lengths[:count]
    for i in range(count):
        sender.add(i, 1, 0)
    assert sender.send(a.fileno()) == count
    assert [b.recv(70_000) for _ in sent] == sent


@pytest.mark.parametrize("many", [True, False], ids=["many", "one-by-one"])
def test_errors_come_as_negative_numbers(pair: Pair, many: bool) -> None:
    a, b = pair
    calls = open_calls(many)
    receiver = Receiver(Slots(), calls)
    assert receiver.receive(b.fileno()) == -errno.EAGAIN
    sender = Sender(receiver.slots, calls)
    sender.lengths[0] = 65_530 if a.family == socket.AF_INET6 else BIGGEST + 1
    sender.add(0, 1, 0)
    assert sender.send(a.fileno()) == -errno.EMSGSIZE
    b.close()
    a.send(b"to nobody")
    assert receiver.receive(a.fileno()) == -errno.ECONNREFUSED


def test_a_second_receive_fills_the_slots_after_the_first(pair: Pair) -> None:
    a, b = pair
    receiver = Receiver(Slots(), open_calls())
    a.send(b"one")
    assert receiver.receive(b.fileno()) == 1
    assert receiver.segments(0, 1) is None
    a.send(b"two")
    a.send(b"three")
    assert receiver.receive(b.fileno(), 1) == 2
    assert receiver.segments(1, 2) is None
    assert payloads(receiver, 3) == [b"one", b"two", b"three"]


def test_positions_may_stand_for_any_slots(pair: Pair) -> None:
    a, b = pair
    for text in (b"zero", b"one", b"two", b"three"):
        a.send(text)
    receiver = Receiver(Slots(), open_calls())
    assert receiver.receive(b.fileno()) == 4
    sender = Sender(receiver.slots, open_calls())
    for order, expected in (([3, 1], [b"three", b"one"]), (None, [b"zero", b"one"])):
        sender.place(order)
        for position, text in enumerate(expected):
            sender.lengths[position] = len(text)
            sender.add(position, 1, 0)
        assert sender.send(a.fileno()) == 2
        sender.clear()
        assert [b.recv(100), b.recv(100)] == expected


def test_a_segmented_send_arrives_as_single_datagrams(pair: Pair) -> None:
    a, b = pair
    slots = Slots()
    sizes = [700] * 5 + [33]
    sender = Sender(slots, open_calls())
    for i, size in enumerate(sizes):
        slots.views[i][:size] = bytes([i]) * size
        sender.lengths[i] = size
    sender.add(0, len(sizes), 700)
    assert sender.send(a.fileno()) == 1
    assert [b.recv(2000) for _ in sizes] == [bytes([i]) * size for i, size in enumerate(sizes)]


@pytest.mark.parametrize("local", [False, True], ids=["plain", "with-local-address"])
def test_trains_are_told_from_datagrams(pair: Pair, local: bool) -> None:
    a, b = pair
    b.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    if local and b.family == socket.AF_INET:
        b.setsockopt(socket.IPPROTO_IP, 8, 1)
    elif local:
        b.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    receiver = Receiver(Slots(), open_calls(), family_of(b), local)  # type: ignore[arg-type]
    for _ in range(2):  # the second time over headers that the first has used
        a.send(b"alone")
        a.sendmsg((b"t" * 250,), [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("@H", 100))])
        a.send(b"")
        count = receiver.receive(b.fileno())
        segments = receiver.segments(0, count)
        controls = {receiver.reply_control(i) for i in range(count)}
        keys = set(receiver.keys(count))
        assert receiver.lengths[:count].tolist() == [5, 250, 0]
        assert segments == [0, 100, 0]
        assert len(controls) == len(keys) == 1


# -- who and where ------------------------------------------------------------


def test_keys_tell_senders_apart_and_names_lead_back(pair: Pair) -> None:
    a, b = pair
    with socket.socket(a.family, socket.SOCK_DGRAM) as other:
        other.bind((b.getsockname()[0], 0))
        other.settimeout(5)
        other.connect(b.getsockname())
        for sock in (a, other, a):
            sock.send(b"x")
        receiver = Receiver(Slots(), open_calls(), family_of(b))  # type: ignore[arg-type]
        assert receiver.receive(b.fileno()) == 3
        first, second, third = receiver.keys(3)
        assert first == third != second
        assert struct.unpack_from("!H", receiver.name(1), 2)[0] == other.getsockname()[1]

        sender = Sender(receiver.slots, open_calls())
        sender.lengths[1] = 1
        sender.add(1, 1, 0, receiver.name_address(1), len(receiver.name(1)))
        assert sender.send(b.fileno()) == 1
        assert other.recv(10) == b"x"


def test_an_answer_leaves_from_the_address_that_was_spoken_to() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a,
    ):
        b.bind(("0.0.0.0", 0))
        b.setsockopt(socket.IPPROTO_IP, 8, 1)
        a.settimeout(5)
        a.bind(("127.0.0.1", 0))
        receiver = Receiver(Slots(), open_calls(), 4, local=True)
        sender = Sender(receiver.slots, open_calls())
        seen = []
        for host in ("127.0.0.2", "127.0.0.3"):
            a.sendto(b"x", (host, b.getsockname()[1]))
            assert receiver.receive(b.fileno()) == 1
            assert receiver.segments(0, 1) is None
            seen.append(receiver.keys(1)[0])
            name = receiver.name(0)
            sender.lengths[0] = 1
            sender.add(0, 1, 0, receiver.name_address(0), len(name), receiver.reply_control(0))
            assert sender.send(b.fileno()) == 1
            sender.clear()
            assert a.recvfrom(10) == (b"x", (host, b.getsockname()[1]))
        assert seen[0] != seen[1]


def test_nothing_is_kept_for_a_listener_with_one_address(pair: Pair) -> None:
    a, b = pair
    a.send(b"x")
    receiver = Receiver(Slots(), open_calls(), family_of(b))  # type: ignore[arg-type]
    assert receiver.receive(b.fileno()) == 1
    assert receiver.reply_control(0) == b""
