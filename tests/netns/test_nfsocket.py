"""Elements and transactions against the real kernel, with nft as the second opinion."""

from __future__ import annotations

import errno
import itertools
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sekimori.host.nfsocket import NetfilterError, NfSocket, read_elements
from sekimori.testing.peers import eventually
from sekimori.wire.nfnetlink import NFTABLES, read_messages_untrusted
from sekimori.wire.nftelements import (
    Element,
    add_elements,
    address_port_data,
    delete_elements,
    dump_elements,
    flush_elements,
    get_element,
    join_intervals,
    key_at,
    parse_elements_untrusted,
    port_key,
)

from .nfbox import KINDS, SERVER, TABLE, TIMED, Box, Kind, a_box

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def loaded() -> Iterator[Box]:
    with a_box() as made:
        yield made


@pytest.fixture
def box(loaded: Box) -> Iterator[Box]:
    yield loaded
    loaded.empty()


kinds = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
timed_kinds = pytest.mark.parametrize("kind", TIMED, ids=[kind.name for kind in TIMED])


def bare(element: Any) -> Any:
    """An element of nft's JSON without what changes: its counter and times."""
    if isinstance(element, list):
        return [bare(each) for each in element]
    return element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element


@kinds
def test_what_we_add_means_what_nft_would_have_added(box: Box, kind: Kind) -> None:
    box.nft("-f", "-", text=f"add element inet {TABLE} {kind.name} {{ {kind.text} }}")
    wanted = [bare(each) for each in box.listed(kind.name)]
    box.empty()
    assert not box.listed(kind.name)
    box.add(kind.name, kind.element, one_dimension=kind.one_dimension)
    assert [bare(each) for each in box.listed(kind.name)] == wanted
    assert len(wanted) == 1


@kinds
def test_what_nft_adds_is_read(box: Box, kind: Kind) -> None:
    box.nft("-f", "-", text=f"add element inet {TABLE} {kind.name} {{ {kind.text} }}")
    seen = box.seen(kind.name)
    (one,) = join_intervals(seen) if kind.one_dimension else seen
    element = kind.element
    assert (one.key, one.key_end, one.data, one.chain) == element[:4]
    assert (one.timeout_ms, one.expires_ms) == (None, None)
    counted = kind.name not in ("sym4", "bans4", "bans6")
    assert (one.packets, one.bytes) == ((0, 0) if counted else (None, None))


@kinds
def test_what_we_delete_is_gone_and_nothing_else(box: Box, kind: Kind) -> None:
    other = kind.element._replace(key=_other(kind.element.key), key_end=_other(kind.element.key_end))
    box.add(kind.name, kind.element, other, one_dimension=kind.one_dimension)
    box.sock.batch([*delete_elements(TABLE, kind.name, [kind.element], one_dimension=kind.one_dimension)])
    seen = box.seen(kind.name)
    assert [each.key for each in (join_intervals(seen) if kind.one_dimension else seen)] == [other.key]


def _other(key: Any) -> Any:
    """A key like another, of another protocol or network."""
    return None if key is None else bytes([key[0] ^ 0x40]) + key[1:]


@timed_kinds
def test_timeouts(box: Box, kind: Kind) -> None:
    box.add(kind.name, kind.element._replace(timeout=90_000), one_dimension=kind.one_dimension)
    (one,) = [each for each in box.seen(kind.name) if not each.interval_end]
    assert one.timeout_ms == 90_000
    assert one.expires_ms is not None
    assert 80_000 < one.expires_ms <= 90_000
    assert '"timeout": 90' in json.dumps(box.listed(kind.name))


def test_an_element_ends_by_itself(box: Box) -> None:
    box.add("fwd4", KINDS[0].element._replace(timeout=200))
    box.add("own", KINDS[12].element._replace(timeout=200))
    assert len(box.seen("fwd4")) == 1
    eventually(lambda: not box.seen("fwd4") and not box.seen("own"))


def test_one_element_is_asked_for(box: Box) -> None:
    box.add(
        "fwd4", *(Element(port_key(6, port), None, address_port_data(SERVER, port)) for port in range(1, 500))
    )
    box.add("fwdr4", KINDS[2].element)
    (one,) = [
        each
        for data in box.sock.ask(get_element(TABLE, "fwd4", port_key(6, 77)))
        for each in parse_elements_untrusted(data)
    ]
    assert one.data == address_port_data(SERVER, 77)
    range_of = KINDS[2].element
    (data, _) = box.sock.ask(get_element(TABLE, "fwdr4", range_of.key, range_of.key_end))
    assert parse_elements_untrusted(data)[0].data == SERVER
    with pytest.raises(NetfilterError) as refused:
        box.sock.ask(get_element(TABLE, "fwd4", port_key(6, 777)))
    assert refused.value.errno == errno.ENOENT


def test_adding_twice_and_exclusively(box: Box) -> None:
    element = KINDS[0].element
    box.add("fwd4", element)
    box.add("fwd4", element)
    with pytest.raises(NetfilterError) as refused:
        box.add("fwd4", element, exclusive=True)
    assert refused.value.errno == errno.EEXIST
    with pytest.raises(NetfilterError) as refused:
        box.add("fwd4", element._replace(data=address_port_data(SERVER, 81)))
    assert refused.value.errno == errno.EEXIST
    assert [each.data for each in box.seen("fwd4")] == [element.data]


def test_one_bad_element_and_nothing_is_done(box: Box) -> None:
    good = [Element(port_key(6, port), None, address_port_data(SERVER, port)) for port in range(1, 3001)]
    bad = [Element(port_key(6, 1)), Element(b"\6")]
    messages = [*add_elements(TABLE, "fwd4", good), *add_elements(TABLE, "in", bad)]
    before = box.sock.generation()
    with pytest.raises(NetfilterError) as refused:
        box.sock.batch(messages)
    error = refused.value
    assert (error.errno, error.index) == (errno.EINVAL, len(messages) - 1)
    assert error.offset is not None
    assert key_at(messages[-1], error.offset) == b"\6"
    assert (box.seen("fwd4"), box.seen("in"), box.sock.generation()) == ([], [], before)
    box.sock.batch(messages[:-1])
    assert len(box.seen("fwd4")) == 3000


def test_deleting_what_is_not_there(box: Box) -> None:
    there, missing = Element(port_key(6, 1)), Element(port_key(6, 2))
    box.add("in", there)
    messages = [*delete_elements(TABLE, "in", [there, missing])]
    with pytest.raises(NetfilterError) as refused:
        box.sock.batch(messages)
    assert (refused.value.errno, refused.value.index) == (errno.ENOENT, 0)
    assert refused.value.offset is not None
    assert key_at(messages[0], refused.value.offset) == missing.key
    assert len(box.seen("in")) == 1
    if _kernel() >= (6, 3):
        box.sock.batch([*delete_elements(TABLE, "in", [there, missing], missing_ok=True)])
        assert not box.seen("in")


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


def test_a_batch_for_one_generation(box: Box) -> None:
    known = box.sock.generation()
    box.nft("add", "element", "inet", TABLE, "in", "{ tcp . 5 }")
    with pytest.raises(NetfilterError) as refused:
        box.sock.batch([flush_elements(TABLE, "in")], generation=known)
    assert refused.value.errno == errno.ERESTART
    assert len(box.seen("in")) == 1
    box.sock.batch([flush_elements(TABLE, "in")], generation=known + 1)
    assert not box.seen("in")


def test_refusals_in_the_kernels_words(box: Box) -> None:
    with pytest.raises(NetfilterError, match="No such file") as refused:
        box.sock.ask(dump_elements(TABLE, "nowhere"))
    assert refused.value.errno == errno.ENOENT
    box.sock.batch([])
    with pytest.raises(NetfilterError) as refused:
        box.sock.batch([flush_elements(TABLE, "in"), flush_elements("nowhere", "in")])
    assert (refused.value.errno, refused.value.index) == (errno.ENOENT, 1)
    assert str(refused.value).endswith("(message 1)")


def test_the_socket_goes_on_after_a_refusal(box: Box) -> None:
    for _ in range(3):
        with pytest.raises(NetfilterError):
            box.sock.batch([flush_elements("nowhere", "x")] * 50)
        with pytest.raises(NetfilterError):
            box.sock.ask(dump_elements("nowhere", "x"))
        box.add("in", Element(port_key(6, 1)))
        assert len(box.seen("in")) == 1


class Doubling(NfSocket):
    """Its first few dumps are as those of a hash that is being moved: elements twice, and as many missing."""

    times = 0

    def ask(self, request: bytes) -> list[bytes]:
        answer = super().ask(request)
        if self.times:
            self.times -= 1
            answer[-2] = answer[0]
        return answer


def test_a_dump_with_elements_twice_is_asked_for_again(box: Box) -> None:
    box.add("in", *(Element(port_key(6, port)) for port in range(1, 3001)))
    sock = box.host.call(Doubling)
    with sock:
        sock.times = 3
        assert len({each.key for each in read_elements(sock, TABLE, "in")}) == 3000
        assert sock.times == 0
        sock.times = 100
        with pytest.raises(NetfilterError, match="no dump of the set was whole"):
            read_elements(sock, TABLE, "in")


def test_a_hash_that_grows_is_read_whole(box: Box) -> None:
    """Right behind a large change the kernel still moves elements, and tells some twice and others not."""
    for start in range(1, 40000, 4000):
        ports = range(start, start + 4000)
        box.add("in", *(Element(port_key(6, port)) for port in ports))
        assert len({each.key for each in read_elements(box.sock, TABLE, "in")}) == ports.stop - 1


class Disturbed(NfSocket):
    """Another program changes the set behind the first part of the first few dumps."""

    times = 0
    swap: Callable[[], None]

    def _receive(self, flags: int = 0) -> bytes:
        data = super()._receive(flags)
        if self.times and next(read_messages_untrusted(data)).kind == NFTABLES << 8 | 12:
            self.times -= 1
            self.swap()
        return data


def test_a_dump_is_of_one_moment(box: Box) -> None:
    """All values change together, in one transaction, while they are read."""
    rounds = itertools.count()

    def swap() -> None:
        data = address_port_data(SERVER, next(rounds))
        elements = [Element(port_key(6, port), None, data) for port in range(1, 1001)]
        box.sock.batch([flush_elements(TABLE, "fwd4"), *add_elements(TABLE, "fwd4", elements)])

    swap()
    sock = box.host.call(Disturbed)
    with sock:
        sock.swap = swap
        for times in (0, 1, 3):
            sock.times = times
            found = read_elements(sock, TABLE, "fwd4")
            assert len(found) == 1000
            assert len({each.data for each in found}) == 1
        assert next(rounds) == 1 + 1 + 3
        sock.times = 100
        with pytest.raises(NetfilterError, match="changed during every dump") as refused:
            sock.ask(dump_elements(TABLE, "fwd4"))
        assert refused.value.errno == errno.EINTR
        sock.times = 0
        assert len(read_elements(sock, TABLE, "fwd4")) == 1000  # what was given up is not in the way
