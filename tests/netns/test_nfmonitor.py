"""Who changed the ruleset, told by the kernel; and large transactions, which nobody should hear."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from sekimori.host.nfmonitor import Event, Monitor, Overrun, batch_unheard
from sekimori.host.nfsocket import NetfilterError, NfSocket
from sekimori.testing.peers import eventually
from sekimori.wire.nftelements import (
    Element,
    add_elements,
    address_port_data,
    delete_elements,
    flush_elements,
    port_key,
)
from sekimori.wire.nftevents import Generation, TableGone, TableMade, parse_events_untrusted

from .nfbox import SERVER, STRUCTURE, TABLE, Box, a_box

pytestmark = pytest.mark.netns
PORTS = range(1, 60001)


@pytest.fixture
def box() -> Iterator[Box]:
    with a_box() as made:
        yield made


@pytest.fixture
def monitor(box: Box) -> Iterator[Monitor]:
    with box.host.call(Monitor) as made:
        yield made


def mappings(ports: range = PORTS) -> list[bytes]:
    inward = [Element(port_key(6, port), None, address_port_data(SERVER, port)) for port in ports]
    return [
        *add_elements(TABLE, "fwd4", inward),
        *add_elements(TABLE, "in", [Element(each.key) for each in inward]),
    ]


def churn(sock: NfSocket, changes: int) -> None:
    """Make that many transactions, each of which changes something."""
    element = [Element(b"\x2f")]
    add, delete = [*add_elements(TABLE, "inp", element)], [*delete_elements(TABLE, "inp", element)]
    for number in range(changes):
        sock.batch(delete if number % 2 else add)


def heard(monitor: Monitor) -> list[Event]:
    """Everything there is to hear now: events are queued before the change that they tell of returns."""
    events: list[Event] = []
    while select.select([monitor], [], [], 0)[0]:
        events += monitor.read()
    return events


def test_ours_is_told_from_anothers(box: Box, monitor: Monitor) -> None:
    before = box.sock.generation()
    box.add("in", Element(port_key(6, 80)))
    box.nft("add", "element", "inet", TABLE, "in", "{ tcp . 81 }")
    ours, theirs = heard(monitor)
    assert isinstance(ours, Generation)
    assert isinstance(theirs, Generation)
    assert (ours.id, theirs.id) == (before + 1, before + 2)
    assert ours.port == box.sock.port
    assert ours.pid == threading.get_native_id()
    assert theirs.port != box.sock.port
    assert theirs.name == "nft"
    assert not monitor.read()


def test_a_foreign_flush_is_heard(box: Box, monitor: Monitor) -> None:
    box.nft("flush", "ruleset")
    gone, generation = heard(monitor)
    assert gone == TableGone(1, TABLE, getattr(generation, "port", 0))
    assert isinstance(generation, Generation)
    box.nft("-f", "-", text=STRUCTURE)
    made, _ = heard(monitor)
    assert isinstance(made, TableMade)
    assert (made.family, made.name) == (1, TABLE)


def test_a_flush_and_reload_in_one_transaction_is_heard_in_order(box: Box, monitor: Monitor) -> None:
    box.sock.batch(mappings(range(1, 1000)))
    heard(monitor)
    box.nft("-f", "-", text=f"flush ruleset\n{STRUCTURE}\nadd element inet {TABLE} in {{ tcp . 5 }}\n")
    assert [type(event) for event in heard(monitor)] == [TableGone, TableMade, Generation]


def test_it_does_not_block_and_wakes_whoever_waits(box: Box, monitor: Monitor) -> None:
    assert monitor.read() == []
    poll = select.epoll()
    try:
        poll.register(monitor, select.EPOLLIN)
        assert poll.poll(0) == []
        box.nft("add", "table", "ip", "theirs")
        assert poll.poll(5) == [(monitor.fileno(), select.EPOLLIN)]
    finally:
        poll.close()


def test_elements_of_a_transaction_never_arrive(box: Box, monitor: Monitor) -> None:
    box.sock.batch(mappings(range(1, 5001)))
    with socket.socket(fileno=os.dup(monitor.fileno())) as raw:
        (event,) = parse_events_untrusted(raw.recv(1 << 16))
        assert isinstance(event, Generation)
        with pytest.raises(BlockingIOError):
            raw.recv(1 << 16)


def test_lost_events_are_told(box: Box, monitor: Monitor) -> None:
    churn(box.sock, 20000)  # each leaves a datagram, and 4 MiB (8 in the kernel's count) is soon full
    events = heard(monitor)
    assert any(isinstance(event, Overrun) for event in events)
    box.add("in", Element(port_key(6, 80)))
    (event,) = heard(monitor)
    assert isinstance(event, Generation)


def test_a_large_transaction_unheard(box: Box, monitor: Monitor) -> None:
    before = box.sock.generation()
    assert batch_unheard(box.sock, monitor, mappings())
    assert heard(monitor) == []
    assert box.sock.generation() == before + 1
    assert len(box.seen("fwd4")) == len(box.seen("in")) == len(PORTS)
    box.nft("add", "table", "ip", "theirs")
    assert [type(event) for event in heard(monitor)] == [TableMade, Generation]


def test_a_change_by_another_during_it_is_told(box: Box, monitor: Monitor) -> None:
    class Slow(NfSocket):
        """Another program is quicker than the large transaction."""

        def batch(self, messages, generation=None) -> None:
            box.nft("add", "table", "ip", "theirs")
            super().batch(messages, generation)

    with box.host.call(Slow) as slow:
        assert not batch_unheard(slow, monitor, mappings(range(1, 9)))
    assert heard(monitor) == []


def test_after_a_refused_transaction_it_listens_again(box: Box, monitor: Monitor) -> None:
    with pytest.raises(NetfilterError):
        batch_unheard(box.sock, monitor, [flush_elements("nowhere", "x")])
    box.nft("add", "table", "ip", "theirs")
    assert len(heard(monitor)) == 2


def test_closing_twice(box: Box) -> None:
    monitor, sock = box.host.call(Monitor), box.host.call(NfSocket)
    descriptors = [monitor.fileno()]
    for each in (monitor, sock, monitor, sock):
        each.close()
    for descriptor in descriptors:
        with pytest.raises(OSError):
            os.fstat(descriptor)


def test_a_thread_reads_while_another_changes(box: Box, monitor: Monitor) -> None:
    """Every transaction is heard once and in order."""
    first = box.sock.generation()
    found: list[int] = []

    def listen() -> bool:
        found.extend(event.id for event in monitor.read() if isinstance(event, Generation))
        return len(found) == 300

    changing = threading.Thread(target=churn, args=(box.sock, 300))
    changing.start()
    eventually(listen, every=0.001)
    changing.join()
    assert found == list(range(first + 1, first + 301))
