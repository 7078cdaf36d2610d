"""The relay's datagrams over real sockets: boundaries, peers, addresses, errors."""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Iterator

import pytest

from sekimori.planes.relay import outbox, udpflow
from sekimori.planes.relay.libc import open_calls
from tests.loopback.udplab import Lab, at, only_flow, stats

pytestmark = pytest.mark.loopback

UDP_SEGMENT = 103
SO_NO_CHECK = 11


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.close()


@pytest.fixture(params=["few", "many"])
def pace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether answers are taken singly, or all that are there from the second one on."""
    if request.param == "many":
        take_many(monkeypatch)
    else:
        monkeypatch.setattr(udpflow, "_BULK_WITHIN", -1.0)
    return str(request.param)


def take_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "BULK_EACH", 1)
    monkeypatch.setattr(udpflow, "_BULK_WITHIN", 1e9)


def train(size: int) -> list[tuple[int, int, bytes]]:
    return [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("@H", size))]


# -- payloads -----------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1400, 9000, 65_507])
def test_any_size_passes_both_ways(lab: Lab, pace: str, size: int) -> None:
    target, client = lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    there, back = os.urandom(size), os.urandom(size)
    client.sendto(there, at(listener))
    seen, peer = lab.receive(target)
    assert seen == there
    for _ in range(2):
        target.sendto(back, peer)
        assert lab.receive(client) == (back, at(listener))
    figures = stats(listener)
    assert (figures["bytes_in"], figures["packets_in"]) == (size, 1)
    assert (figures["bytes_out"], figures["packets_out"]) == (2 * size, 2)


def test_bursts_keep_order_and_boundaries_both_ways(lab: Lab, pace: str) -> None:
    target, client = lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    peer = lab.passes(client, at(listener), target)
    dice = random.Random(7)
    for _ in range(6):
        base = dice.choice([64, 700, 1400])
        burst = [os.urandom(dice.choice([base, base, base, base, 0, 17, 9000])) for _ in range(100)]
        for sock, to, far in ((client, at(listener), target), (target, peer, client)):
            for datagram in burst:
                sock.sendto(datagram, to)
            assert [datagram for datagram, _ in lab.collect(far, len(burst))] == burst
    figures = stats(listener)
    assert figures["packets_in"] == figures["packets_out"] == 601
    assert figures["bytes_out"] == figures["bytes_in"] + 3  # the first answer's "re "
    assert not listener.dropped


def test_trains_stay_separate_datagrams_both_ways(lab: Lab, pace: str) -> None:
    target, client = lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    peer = lab.passes(client, at(listener), target)
    whole = os.urandom(1200 * 20 + 77)
    parts = [whole[i : i + 1200] for i in range(0, len(whole), 1200)]
    for sock, to, far in ((client, at(listener), target), (target, peer, client)):
        sock.sendmsg((whole,), train(1200), 0, to)
        sock.sendto(b"alone", to)
        assert [datagram for datagram, _ in lab.collect(far, 22)] == [*parts, b"alone"]
    assert stats(listener)["packets_in"] == stats(listener)["packets_out"] == 23


@pytest.mark.parametrize("as_train", [False, True], ids=["run", "train"])
def test_a_path_without_segmentation_gets_single_datagrams(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, as_train: bool
) -> None:
    take_many(monkeypatch)
    target, client = lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    peer = lab.passes(client, at(listener), target)
    flow = only_flow(listener)
    for sock in (flow._sock, listener._sock):  # the kernel refuses segments without checksums
        sock.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    whole = os.urandom(500 * 30)
    parts = [whole[i : i + 500] for i in range(0, len(whole), 500)]
    for sock, to, far in ((client, at(listener), target), (target, peer, client)):
        flow.segment_limit = 65_507
        if as_train:
            sock.sendmsg((whole,), train(500), 0, to)
        else:
            for part in parts:
                sock.sendto(part, to)
        assert [datagram for datagram, _ in lab.collect(far, 30)] == parts
        assert flow.segment_limit == 499
    assert stats(listener)["packets_in"] == stats(listener)["packets_out"] == 31
    assert not listener.dropped


# -- peers --------------------------------------------------------------------


def test_two_thousand_peers_each_get_their_own_answers(lab: Lab, pace: str) -> None:
    target = lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    clients = [lab.endpoint() for _ in range(2000)]
    for lot in range(0, 2000, 200):
        for number in range(lot, lot + 200):
            for turn in range(2):
                clients[number].sendto(b"%d %d" % (number, turn), at(listener))
        for datagram, peer in lab.collect(target, 400):
            target.sendto(b"for " + datagram, peer)
        for number in range(lot, lot + 200):
            answers = {datagram for datagram, _ in lab.collect(clients[number], 2)}
            assert answers == {b"for %d %d" % (number, turn) for turn in range(2)}
    figures = stats(listener)
    assert figures["flows_active"] == figures["flows_total"] == 2000
    assert figures["packets_in"] == figures["packets_out"] == 4000
    assert not listener.dropped


def test_interleaved_bursts_reach_the_target_in_each_peers_order(lab: Lab) -> None:
    target = lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    clients = [lab.endpoint() for _ in range(5)]
    for turn in range(40):
        for number, client in enumerate(clients):
            client.sendto(bytes([number, turn]) * 50, at(listener))
    seen: dict[int, list[int]] = {number: [] for number in range(5)}
    for datagram, _ in lab.collect(target, 200):
        assert len(datagram) == 100
        seen[datagram[0]].append(datagram[1])
    assert all(turns == list(range(40)) for turns in seen.values())


def test_one_peers_icmp_error_ends_no_other_flow(lab: Lab) -> None:
    target, lucky, unlucky = lab.endpoint(), lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    peer = lab.passes(lucky, at(listener), target)
    target.connect(peer)  # from now on the kernel answers every other peer: port unreachable
    unlucky.sendto(b"lost", at(listener))
    lab.until(lambda: listener.dropped["unreachable"] == 1)
    assert stats(listener)["failed"]["refused"] == 1
    for _ in range(3):
        lucky.sendto(b"well", at(listener))
        assert lab.receive(target)[0] == b"well"
        target.send(b"and well")
        assert lab.receive(lucky)[0] == b"and well"
    assert stats(listener)["flows_active"] == 2


def test_flows_go_on_when_a_target_comes_back(lab: Lab) -> None:
    target, client = lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    port = target.getsockname()[1]
    peer = lab.passes(client, at(listener), target)
    target.close()
    for lost in range(1, 4):
        client.sendto(b"lost", at(listener))
        lab.until(lambda lost=lost: listener.dropped["unreachable"] >= lost)  # type: ignore[misc]
    again = lab.endpoint(port=port)
    assert lab.passes(client, at(listener), again) == peer
    assert stats(listener)["flows_total"] == 1


def test_a_burst_after_an_error_is_not_lost_to_it(lab: Lab) -> None:
    target, client = lab.endpoint(), lab.endpoint()
    port = target.getsockname()[1]
    listener = lab.serve(port)
    lab.passes(client, at(listener), target)
    flow = only_flow(listener)
    target.close()
    flow.send(b"bounces")  # behind the loop's back: the error is still waiting on the socket
    again = lab.endpoint(port=port)
    burst = [os.urandom(64 + i % 3) for i in range(20)]
    for datagram in burst:
        client.sendto(datagram, at(listener))
    assert [datagram for datagram, _ in lab.collect(again, 20)] == burst
    assert listener.dropped == {"unreachable": 1}


def test_unanswered_flows_move_on_to_the_next_target(lab: Lab) -> None:
    target, client = lab.endpoint("127.0.0.3"), lab.endpoint()
    port = target.getsockname()[1]
    listener = lab.serve(port, targets=("127.0.0.2", "::1", "127.0.0.3"))
    client.sendto(b"lost", at(listener))
    lab.until(lambda: only_flow(listener).target == "::1")
    client.sendto(b"lost", at(listener))
    lab.until(lambda: only_flow(listener).target == "127.0.0.3")
    lab.passes(client, at(listener), target)
    target.close()  # an answered flow stays where its conversation is
    client.sendto(b"lost", at(listener))
    lab.until(lambda: listener.dropped["unreachable"] == 3)
    assert only_flow(listener).target == "127.0.0.3"
    assert stats(listener)["failed"]["refused"] == 2


def test_a_peer_with_many_answers_is_served_in_bulk_and_in_order(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udpflow, "_BULK_WITHIN", 5.0)
    target, client, slow = lab.endpoint(), lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    lab.passes(slow, at(listener), target)
    peer = lab.passes(client, at(listener), target)
    answers = [os.urandom(200 + i % 2) for i in range(120)]
    for answer in answers:
        target.sendto(answer, peer)
    assert [datagram for datagram, _ in lab.collect(client, 120)] == answers
    by_port = {flow.source_port: flow for flow in listener.flows()}
    assert by_port[client.getsockname()[1]].take == listener.gear.bulk.take
    assert by_port[slow.getsockname()[1]].take == listener.gear.outbox.take
    assert stats(listener)["packets_out"] == 122


# -- addresses ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "dual", "spoken_to"),
    [
        ("0.0.0.0", False, ("127.0.0.1", "127.0.0.2", "127.1.2.3")),
        ("::", True, ("127.0.0.2", "127.0.0.1", "::1")),
        ("::", False, ("::1",)),
    ],
)
def test_answers_leave_from_the_address_spoken_to(
    lab: Lab, pace: str, address: str, dual: bool, spoken_to: tuple[str, ...]
) -> None:
    target = lab.endpoint()
    listener = lab.serve(target.getsockname()[1], address, dual=dual)
    clients = {"127": lab.endpoint(), "::1": lab.endpoint("::1")}
    for host in spoken_to:
        client = clients[host[:3]]
        burst = [os.urandom(100) for _ in range(10)]
        for datagram in burst:
            client.sendto(datagram, at(listener, host))
        for datagram, peer in lab.collect(target, 10):
            target.sendto(datagram, peer)
        answers = lab.collect(client, 10)
        assert [datagram for datagram, _ in answers] == burst
        assert {source[:2] for _, source in answers} == {at(listener, host)}
    assert stats(listener)["flows_total"] == len(spoken_to)  # another address, another flow
    sources = {flow.source for flow in listener.flows()}
    assert sources == {"127.0.0.1" if host.startswith("127") else "::1" for host in spoken_to}


@pytest.mark.parametrize(("outside", "inside"), [("::1", "127.0.0.1"), ("127.0.0.1", "::1"), ("::1", "::1")])
def test_either_family_on_either_side(lab: Lab, outside: str, inside: str) -> None:
    target, client = lab.endpoint(inside), lab.endpoint(outside)
    listener = lab.serve(target.getsockname()[1], outside, targets=(inside,))
    lab.passes(client, at(listener, outside), target)
    assert only_flow(listener).source == outside


# -- closing ------------------------------------------------------------------


def test_answers_taken_before_a_close_are_dropped_without_harm(lab: Lab, pace: str) -> None:
    target, client = lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1])
    peer = lab.passes(client, at(listener), target)
    target.sendto(b"answer", peer)
    box = listener.gear.outbox if pace == "few" else listener.gear.bulk
    assert only_flow(listener).take(only_flow(listener)) == 1  # loopback delivers within `sendto`
    assert not box.idle
    listener.close()
    lab.until(lambda: box.idle)
    with pytest.raises(BlockingIOError):
        client.recv(10)


# -- other platforms ----------------------------------------------------------


def test_a_c_library_without_the_batch_calls_relays_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "open_calls", lambda: open_calls(many=False))
    take_many(monkeypatch)
    target, client = lab.endpoint(), lab.endpoint()
    listener = lab.serve(target.getsockname()[1], "0.0.0.0")
    peer = lab.passes(client, at(listener), target)
    burst = [os.urandom(size) for size in [100, 100, 100, 0, 7, 9000] * 20]
    for sock, to, far in ((client, at(listener), target), (target, peer, client)):
        for datagram in burst:
            sock.sendto(datagram, to)
        assert [datagram for datagram, _ in lab.collect(far, len(burst))] == burst
