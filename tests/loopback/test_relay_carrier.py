"""Streams that a real worker dials through a carrier."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sekimori.planes.relay.entry import Entry, Listen
from sekimori.planes.relay.flows import FAILURES
from sekimori.wire import proxyproto
from tests.loopback.carrier_rig import FakeCarrier, carrying, descriptors
from tests.loopback.relay_rig import (
    DEADLINE,
    Peer,
    Relay,
    dial,
    ended,
    eventually,
    port_of,
    running,
    turned_away,
)

pytestmark = pytest.mark.loopback


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    async with running(tmp_path / "worker.sock") as one:
        yield one


@pytest.fixture
async def carrier(relay: Relay) -> AsyncIterator[FakeCarrier]:
    async with carrying(relay) as one:
        yield one


Call = Callable[[Entry], Awaitable[Peer]]


@pytest.fixture
async def call() -> AsyncIterator[Call]:
    """Connects to an entry's port, and hangs up at the end."""
    peers: list[Peer] = []

    async def one(entry: Entry) -> Peer:
        peers.append(await dial(port_of(entry)))
        return peers[-1]

    yield one
    for peer in peers:
        peer.close()


async def through(
    relay: Relay, carrier: FakeCarrier, call: Call, **terms: Any
) -> tuple[Entry, Peer, Peer, int]:
    """A flow through the carrier: its client, the far side, and the number of its dial."""
    entry = await relay.serve(5432, targets=("db.example",), carrier="vps", **terms)
    client = await call(entry)
    order = await carrier.heard("dial")
    return entry, client, await carrier.dialled(order), order["n"]


async def next_dial(carrier: FakeCarrier) -> dict[str, Any]:
    """The next dial, whatever is said of others before it."""
    while (order := await carrier.heard())["op"] != "dial":
        pass
    return order


async def test_a_dial_says_who_goes_where(relay: Relay, carrier: FakeCarrier, call: Call) -> None:
    entry = await relay.serve(5432, targets=("db.example",), carrier="vps")
    client = await call(entry)
    order = await carrier.heard("dial")
    assert (order["id"], order["protocol"]) == (entry.id, "tcp")
    assert (order["host"], order["port"]) == ("db.example", 5432)
    assert order["source"] == list(client.sock.getsockname())
    assert order["listen"] == ["127.0.0.1", port_of(entry)]
    [flow] = await relay.control.flows(entry.id)
    assert (flow["target"], flow["target_port"], flow["state"]) == ("db.example", 5432, "dialling")
    client.close()


@pytest.mark.parametrize("size", [1, 65_537, 5_000_000])
async def test_bytes_are_equal_both_ways_at_once(
    relay: Relay, carrier: FakeCarrier, size: int, call: Call
) -> None:
    entry, client, far, number = await through(relay, carrier, call)
    up, down = os.urandom(size), os.urandom(size)

    async def say(peer: Peer, data: bytes) -> None:
        await peer.send(data)
        peer.end()

    _, _, seen, got = await asyncio.gather(say(client, up), say(far, down), far.rest(), client.rest())
    assert (hashlib.sha256(seen).digest(), hashlib.sha256(got).digest()) == (
        hashlib.sha256(up).digest(),
        hashlib.sha256(down).digest(),
    )
    stats = await eventually(lambda: ended(relay, entry))
    assert (stats["bytes_in"], stats["bytes_out"], stats["flows_total"]) == (size, size, 1)
    # In order: the carrier is told nothing of this flow any more, and hears of the next dial.
    again = await call(entry)
    assert (await carrier.heard("dial"))["n"] != number
    again.close()


async def test_what_the_client_said_while_it_was_dialled_for_is_there_first(
    relay: Relay, carrier: FakeCarrier, call: Call
) -> None:
    entry = await relay.serve(5432, targets=("db.example",), carrier="vps", proxy_protocol=2)
    client = await call(entry)
    await client.send(b"hello")
    order = await carrier.heard("dial")
    far = await carrier.dialled(order)
    header = proxyproto.encode(2, "tcp", client.sock.getsockname(), ("127.0.0.1", port_of(entry)))
    assert await far.exactly(len(header) + 5) == header + b"hello"
    client.close()


@pytest.mark.parametrize("first", ["client", "far"])
async def test_a_half_close_leaves_the_other_direction_open(
    relay: Relay, carrier: FakeCarrier, first: str, call: Call
) -> None:
    _entry, client, far, _ = await through(relay, carrier, call)
    ending, other = (client, far) if first == "client" else (far, client)
    await ending.send(b"last")
    ending.end()
    assert await other.rest() == b"last"
    for _ in range(3):
        await other.send(b"still here")
        assert await ending.exactly(10) == b"still here"
    other.end()
    assert await ending.rest() == b""


async def test_a_client_that_resets_has_the_carrier_told_before_its_end_is_seen(
    relay: Relay, carrier: FakeCarrier, call: Call
) -> None:
    _entry, client, far, number = await through(relay, carrier, call)
    await client.send(b"x")
    assert await far.exactly(1) == b"x"
    client.reset()
    assert await far.rest() == b""  # its socket is closed by now, and the word was sent before
    said = await carrier.heard()
    assert said == {"op": "aborted", "n": number}


async def test_a_client_that_is_cut_has_the_carrier_told(
    relay: Relay, carrier: FakeCarrier, call: Call
) -> None:
    entry, client, _far, number = await through(relay, carrier, call)
    assert await relay.control.cut(entry.id) == 1
    assert await carrier.heard("aborted") == {"op": "aborted", "n": number}
    assert await client.was_reset()


async def test_a_far_side_that_breaks_off_resets_the_client(
    relay: Relay, carrier: FakeCarrier, call: Call
) -> None:
    entry, client, far, number = await through(relay, carrier, call)
    await far.send(b"half of an answ")
    assert await client.exactly(15) == b"half of an answ"
    await carrier.tell({"op": "aborted", "n": number})
    assert await client.was_reset()
    await eventually(lambda: ended(relay, entry))


async def test_a_killed_carrier_does_not_look_like_an_orderly_end(
    relay: Relay, carrier: FakeCarrier, call: Call
) -> None:
    _entry, client, far, _ = await through(relay, carrier, call)
    await far.send(b"half of an answ")
    assert await client.exactly(15) == b"half of an answ"
    far.close()  # the kernel closes the ends of a dead process in its own order
    await relay.control.stats()  # the worker has had a turn since
    carrier.close()
    assert await client.was_reset()


async def test_an_end_that_is_closed_while_its_carrier_lives_is_passed_on(
    relay: Relay, carrier: FakeCarrier, call: Call
) -> None:
    _entry, client, far, _ = await through(relay, carrier, call)
    await far.send(b"all there is")
    far.end()
    far.close()
    assert await client.rest() == b"all there is"
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await keep_sending(client)


async def keep_sending(peer: Peer) -> None:
    """Send until it fails, which what nobody takes must."""
    async with asyncio.timeout(DEADLINE):
        while True:
            await peer.send(b"more")


async def test_an_end_that_follows_the_clients_is_orderly(
    relay: Relay, carrier: FakeCarrier, call: Call
) -> None:
    _entry, client, far, _ = await through(relay, carrier, call)
    client.end()
    assert await far.rest() == b""
    await far.send(b"bye")
    far.close()
    assert await client.rest() == b"bye"


async def test_a_lost_channel_resets_its_flows_and_fails_dials_until_there_is_another(
    relay: Relay, call: Call
) -> None:
    async with carrying(relay) as carrier:
        entry, client, _far, _ = await through(relay, carrier, call)
        waiting = await call(entry)
        await carrier.heard("dial")
    assert await client.was_reset()
    assert await waiting.was_reset()
    assert await turned_away(port_of(entry))
    stats = await relay.stats(entry)
    assert (stats["failed"]["down"], stats["flows_active"]) == (2, 0)
    async with carrying(relay) as carrier:
        client = await call(entry)
        far = await carrier.dialled(await carrier.heard("dial"))
        await far.send(b"again")
        assert await client.exactly(5) == b"again"


async def test_another_channel_takes_the_place_of_the_first(
    relay: Relay, carrier: FakeCarrier, call: Call
) -> None:
    entry, client, _far, _ = await through(relay, carrier, call)
    async with carrying(relay) as second:
        assert await client.was_reset()
        client = await call(entry)
        far = await second.dialled(await second.heard("dial"))
        await client.send(b"x")
        assert await far.exactly(1) == b"x"
        await carrier.hung_up()


async def test_a_carrier_that_is_detached_is_down(relay: Relay, carrier: FakeCarrier, call: Call) -> None:
    entry, client, _far, _ = await through(relay, carrier, call)
    await relay.control.carrier("vps", None)
    assert await client.was_reset()
    assert await turned_away(port_of(entry))
    assert (await relay.stats(entry))["failed"]["down"] == 1


@pytest.mark.parametrize("cause", [*FAILURES, "from-the-future"])
async def test_a_failed_dial_is_counted_by_its_cause(
    relay: Relay, carrier: FakeCarrier, cause: str, call: Call
) -> None:
    entry = await relay.serve(5432, targets=("db.example",), carrier="vps")
    client = await call(entry)
    order = await carrier.heard("dial")
    await carrier.tell({"op": "failed", "n": order["n"], "cause": cause})
    assert await client.was_reset()
    stats = await eventually(lambda: ended(relay, entry))
    assert stats["failed"] == {
        each: int(each == (cause if cause in FAILURES else "other")) for each in FAILURES
    }


async def test_a_dial_is_cancelled_when_its_flow_is_cut_and_a_late_answer_is_closed(
    relay: Relay, carrier: FakeCarrier, call: Call
) -> None:
    entry = await relay.serve(5432, targets=("db.example",), carrier="vps")
    client = await call(entry)
    order = await carrier.heard("dial")
    assert await relay.control.cut(entry.id) == 1
    assert await client.was_reset()
    assert await carrier.heard("cancel") == {"op": "cancel", "n": order["n"]}
    far = await carrier.dialled(order)  # it had not heard yet
    assert await far.rest() == b""


async def test_a_frame_that_makes_no_sense_ends_the_channel(
    relay: Relay, carrier: FakeCarrier, call: Call
) -> None:
    _entry, client, _far, _ = await through(relay, carrier, call)
    await carrier.tell({"op": "dialled", "n": "seventeen"})
    assert await client.was_reset()
    await carrier.hung_up()


async def test_a_descriptor_that_is_no_socket_ends_the_channel(
    relay: Relay, carrier: FakeCarrier, call: Call
) -> None:
    entry = await relay.serve(5432, targets=("db.example",), carrier="vps")
    client = await call(entry)
    order = await carrier.heard("dial")
    reading, writing = os.pipe()
    os.close(writing)
    carrier._outbox.put({"op": "dialled", "n": order["n"]}, [reading])
    await eventually(carrier._outbox.send)
    assert await client.was_reset()
    assert (await relay.stats(entry))["failed"]["down"] == 1


async def test_a_carrier_that_does_not_read_costs_a_bounded_buffer(
    relay: Relay, carrier: FakeCarrier, call: Call
) -> None:
    entry, client, far, _ = await through(relay, carrier, call)
    before = 0
    while True:
        with suppress(BlockingIOError):
            while True:
                client.sock.send(bytes(1 << 16))
        [flow] = await relay.control.flows(entry.id)
        if flow["bytes_in"] == before > 0:
            break
        before = flow["bytes_in"]
        await asyncio.sleep(0.05)
    # The worker holds one pipe or buffer, and the pair's own queue holds some.
    assert before < 4 << 20
    client.end()
    assert len(await far.rest()) > before  # it was only waiting


async def test_flows_of_a_frozen_carrier_leave_the_others_alone(
    relay: Relay, carrier: FakeCarrier, call: Call
) -> None:
    entry, _client, _far, _ = await through(relay, carrier, call)
    async with carrying(relay, "other") as other:
        lively = await relay.serve(80, targets=("web.example",), carrier="other")
        waiting = [await call(entry) for _ in range(50)]  # nobody answers these
        client = await call(lively)
        far = await other.dialled(await other.heard("dial"))
        await client.send(b"x")
        assert await far.exactly(1) == b"x"
        for peer in waiting:
            peer.close()


async def test_terms_with_another_carrier_end_the_flows_of_the_former(
    relay: Relay, carrier: FakeCarrier, call: Call
) -> None:
    entry, client, _far, number = await through(relay, carrier, call)
    await relay.control.set([replace(entry, carrier="other", grace=0.0)])
    assert await client.was_reset()
    assert await carrier.heard("aborted") == {"op": "aborted", "n": number}


async def test_nothing_of_a_flow_is_left_open(relay: Relay, carrier: FakeCarrier, call: Call) -> None:
    entry, client, far, _ = await through(relay, carrier, call)
    client.reset()
    await eventually(lambda: ended(relay, entry))
    await carrier.heard("aborted")
    before = descriptors(relay.control.pid)
    for round_ in range(20):
        client = await call(entry)
        order = await next_dial(carrier)
        if round_ % 4 == 0:
            await carrier.tell({"op": "failed", "n": order["n"], "cause": "refused"})
        else:
            far = await carrier.dialled(order)
        if round_ % 4 == 1:
            await carrier.tell({"op": "aborted", "n": order["n"]})
        elif round_ % 4 == 2:
            client.reset()
            continue
        elif round_ % 4 == 3:
            client.end()
            far.end()
        assert await client.was_reset() == (round_ % 4 < 2)
        client.close()
    await eventually(lambda: ended(relay, entry))
    assert await eventually(lambda: descriptors(relay.control.pid) <= before)


async def test_a_channel_waits_for_a_descriptor_rather_than_losing_one(tmp_path: Path, call: Call) -> None:
    async with running(tmp_path / "worker.sock", "--descriptors", "24") as relay, carrying(relay) as carrier:
        entry, client, far, _ = await through(relay, carrier, call)
        crowd = [await call(entry) for _ in range(30)]
        await carrier.dialled(await carrier.heard("dial"))
        await carrier.dialled(await carrier.heard("dial"))  # no descriptor is left to take this one by
        await far.send(b"the same channel")
        assert await client.exactly(16) == b"the same channel"
        for peer in crowd:
            peer.reset()
        last = await call(entry)
        await last.send(b"last")
        while True:  # the dials of those who hung up come before its own
            late = await carrier.dialled(await next_dial(carrier))
            if await late.receive(4) == b"last":
                break
        await late.send(b"and now")
        assert await last.exactly(7) == b"and now"
        await far.send(b"still the same")
        assert await client.exactly(14) == b"still the same"


async def test_a_worker_that_dies_closes_its_ends(relay: Relay, carrier: FakeCarrier, call: Call) -> None:
    _entry, client, far, _ = await through(relay, carrier, call)
    os.kill(relay.control.pid, signal.SIGKILL)
    assert await far.rest() == b""
    await client.rest()  # in order: a kernel that closes for a dead process tells no more
    await carrier.hung_up()


async def test_an_entry_tells_a_carrier_its_listens_are_its_own(relay: Relay) -> None:
    entry = Entry("far", (Listen("tcp", "", 8080, 80),), ("127.0.0.1",), arrivals="vps")
    answer = await relay.control.set([entry])
    assert (answer.missing, answer.bad) == ((), {})
