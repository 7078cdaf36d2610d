"""What happens to datagrams that the kernel does not take, with a scripted kernel."""

from __future__ import annotations

import ctypes
import errno
from collections import Counter
from typing import Any

import pytest

from sekimori.planes.relay.datagrams import Inbox, number_of
from sekimori.planes.relay.libc import HEADER, Calls
from sekimori.planes.relay.loop import Loop
from sekimori.planes.relay.mmsg import BIGGEST, Receiver, Sender, Slots
from sekimori.planes.relay.outbox import BulkOutbox, Outbox


class Kernel:
    """Answers each send with the next of `script` (a count, or minus an errno), then takes all."""

    def __init__(self, *script: int) -> None:
        self.script = list(script)
        self.sends: list[int] = []
        """How many messages each call offered."""

    def send(self, _fd: int, _headers: int, count: int, _flags: int) -> int:
        self.sends.append(count)
        result = self.script.pop(0) if self.script else count
        if result < 0:
            ctypes.set_errno(-result)
            return -1
        return min(result, count)

    def receive(self, _fd: int, headers: int, _count: int, _flags: int, _timeout: None) -> int:
        """Two datagrams of 10 bytes and one of 7: a run that may leave as one."""
        for i, size in enumerate((10, 10, 7)):
            ctypes.c_uint32.from_address(headers + i * HEADER + 56).value = size
            ctypes.c_uint64.from_address(headers + i * HEADER + 40).value = 0
        return 3


class Outlet:
    """A listener, as far as outboxes need one."""

    def __init__(self) -> None:
        self.fd = 9
        self.closed = False
        self.anywhere = False
        self.name_size = 16
        self.loop = Loop()
        self.lost: Counter[int] = Counter()
        self.answers: list[int] = []
        self.answer_error = 0

    def drop(self, error: int, count: int = 1) -> None:
        self.lost[error] += count

    def answer(self, _peer: Any, datagram: memoryview) -> int:
        self.answers.append(len(datagram))
        return self.answer_error


class Peer:
    """A flow, as far as batches need one."""

    def __init__(self, outlet: Outlet) -> None:
        self.listener = outlet
        self.fd = 8
        self.bytes_in = self.bytes_out = self.packets_in = self.packets_out = 0
        self.segment_limit = BIGGEST
        self.name_at, self.name_size, self.control, self.control_at = 1, 16, b"", 0
        self.forwarded: list[int] = []
        self.icmps: list[int] = []
        self.looked = 0

    def forward(self, datagram: memoryview) -> int:
        self.forwarded.append(len(datagram))
        return 0

    def icmp(self, error: int) -> bool:
        if error == errno.ECONNREFUSED:
            self.icmps.append(error)
            return True
        return False

    def recv_into(self, _view: memoryview) -> int:
        return 10

    def look_at_pace(self) -> None:
        self.looked += 1


@pytest.fixture
def outlet() -> Any:
    made = Outlet()
    yield made
    made.loop.close()


def carried(outlet: Outlet, kernel: Kernel, sizes: list[int], segments: list[int] | None = None) -> Any:
    slots = Slots()
    peer: Any = Peer(outlet)
    inbox = Inbox(slots, Sender(slots, Calls(kernel.receive, kernel.send)))
    inbox.carry(peer, None, sizes, segments)
    return peer


DIFFERENT = [10, 20, 30, 40]
"""Sizes that cannot share a message, so that there are four."""


def test_all_taken_at_once(outlet: Outlet) -> None:
    kernel = Kernel()
    peer = carried(outlet, kernel, DIFFERENT)
    assert kernel.sends == [4]
    assert (peer.bytes_in, peer.packets_in, outlet.lost) == (100, 4, {})


def test_a_full_socket_costs_the_rest_of_the_batch_and_one_call(outlet: Outlet) -> None:
    kernel = Kernel(1, -errno.EAGAIN)
    peer = carried(outlet, kernel, DIFFERENT)
    assert kernel.sends == [4, 3]
    assert (peer.bytes_in, peer.packets_in) == (10, 1)
    assert outlet.lost == {errno.EAGAIN: 3}


def test_a_pending_icmp_error_is_noted_and_the_message_sent_again(outlet: Outlet) -> None:
    kernel = Kernel(2, -errno.ECONNREFUSED)
    peer = carried(outlet, kernel, DIFFERENT)
    assert kernel.sends == [4, 2, 2]
    assert (peer.packets_in, peer.icmps, outlet.lost) == (4, [errno.ECONNREFUSED], {})


def test_a_router_that_could_not_pass_an_earlier_datagram_costs_nothing_more(outlet: Outlet) -> None:
    peer = carried(outlet, Kernel(-errno.EMSGSIZE), [1400, 1400])
    assert (peer.packets_in, peer.segment_limit, outlet.lost) == (2, BIGGEST, {})


def test_a_message_is_sent_again_once_only(outlet: Outlet) -> None:
    kernel = Kernel(-errno.ECONNREFUSED, -errno.ECONNREFUSED)
    peer = carried(outlet, kernel, DIFFERENT)
    assert kernel.sends == [4, 4, 3]
    assert (peer.bytes_in, peer.packets_in) == (90, 3)
    assert outlet.lost == {errno.ECONNREFUSED: 1}


def test_a_refused_run_goes_one_by_one_and_lowers_the_limit(outlet: Outlet) -> None:
    kernel = Kernel(-errno.EMSGSIZE, -errno.EMSGSIZE)
    peer = carried(outlet, kernel, [1400, 1400, 300, 9])
    assert kernel.sends == [2, 2, 1]  # the run of three, then the single one after it
    assert peer.forwarded == [1400, 1400, 300]
    assert (peer.segment_limit, peer.packets_in, outlet.lost) == (1399, 4, {})


def test_a_refused_train_is_taken_apart(outlet: Outlet) -> None:
    peer = carried(outlet, Kernel(-errno.EINVAL, -errno.EINVAL), [250], [100])
    assert peer.forwarded == [100, 100, 50]
    assert (peer.segment_limit, peer.packets_in, peer.bytes_in) == (99, 3, 250)


def test_a_train_lost_to_a_full_socket_counts_each_datagram(outlet: Outlet) -> None:
    peer = carried(outlet, Kernel(-errno.ENOBUFS), [250, 0], [100, 0])
    assert outlet.lost == {errno.ENOBUFS: 4}
    assert (peer.packets_in, peer.bytes_in) == (0, 0)


def test_a_single_datagram_too_big_is_dropped(outlet: Outlet) -> None:
    peer = carried(outlet, Kernel(-errno.EMSGSIZE, -errno.EMSGSIZE), [65_520])
    assert outlet.lost == {errno.EMSGSIZE: 1}
    assert (peer.packets_in, peer.forwarded, peer.segment_limit) == (0, [], BIGGEST)


def test_counting_datagrams() -> None:
    assert number_of([0, 1, 2], None) == 3
    assert number_of([250, 0, 7, 200], [100, 0, 0, 100]) == 3 + 1 + 1 + 2


# -- outward ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "sends", "kept", "lost"),
    [
        ((), [3], 3, {}),
        ((1, -errno.EAGAIN), [3, 2], 1, {errno.EAGAIN: 2}),
        ((-errno.EPERM,), [3, 2], 2, {errno.EPERM: 1}),
        ((1, 1, -errno.ENETUNREACH), [3, 2, 1], 2, {errno.ENETUNREACH: 1}),
    ],
)
def test_answers_not_taken_are_dropped_and_counted(
    outlet: Any, script: tuple[int, ...], sends: list[int], kept: int, lost: dict[int, int]
) -> None:
    kernel = Kernel(*script)
    box = Outbox(Slots(), Calls(kernel.receive, kernel.send))
    peer: Any = Peer(outlet)
    assert [box.take(peer) for _ in range(3)] == [1, 1, 1]
    box.flush()
    assert kernel.sends == sends
    assert (peer.packets_out, peer.bytes_out) == (kept, kept * 10)
    assert outlet.lost == lost
    assert box.idle


def test_another_listeners_answers_leave_first(outlet: Any) -> None:
    kernel = Kernel()
    box = Outbox(Slots(), Calls(kernel.receive, kernel.send))
    other: Any = Outlet()
    box.take(Peer(outlet))  # type: ignore[arg-type]
    box.take(Peer(other))  # type: ignore[arg-type]
    assert kernel.sends == [1]
    box.flush()
    assert kernel.sends == [1, 1]
    other.loop.close()


@pytest.mark.parametrize(
    ("script", "answers", "answer_error", "kept", "lost"),
    [
        ((), [], 0, 3, {}),
        ((-errno.EAGAIN,), [], 0, 0, {errno.EAGAIN: 3}),
        ((-errno.EIO,), [10, 10, 7], 0, 3, {}),
        ((-errno.EIO,), [10, 10, 7], errno.EPERM, 0, {errno.EPERM: 3}),
        ((-errno.EPERM,), [], 0, 0, {errno.EPERM: 3}),
    ],
)
def test_runs_of_answers_not_taken(
    outlet: Any,
    script: tuple[int, ...],
    answers: list[int],
    answer_error: int,
    kept: int,
    lost: dict[int, int],
) -> None:
    kernel = Kernel(*script)
    calls = Calls(kernel.receive, kernel.send)
    slots = Slots()
    box = BulkOutbox(Receiver(slots, calls), Sender(slots, calls))
    outlet.answer_error = answer_error
    peer: Any = Peer(outlet)
    assert box.take(peer) == 3
    box.flush()
    assert kernel.sends == [1]
    assert outlet.answers == answers
    assert peer.packets_out == kept
    assert outlet.lost == lost
