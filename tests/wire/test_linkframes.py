"""Records and what is said in them on a channel of the subsystem."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.errors import BadPacket
from sekimori.wire.linkframes import (
    LONGEST,
    Announced,
    Answer,
    DialUdp,
    ListenUdp,
    Opening,
    Records,
    TakePeer,
    pack_record,
    read_announced_untrusted,
    read_answer_untrusted,
    read_opening_untrusted,
)

ports = st.integers(1, 65535)
names = st.text(min_size=1, max_size=60)
endpoints = st.tuples(names, ports)
openings: st.SearchStrategy[Opening] = st.one_of(
    st.builds(DialUdp, names, ports, st.none() | endpoints, st.text(max_size=20)),
    st.builds(ListenUdp, names, st.integers(0, 65535), st.text(max_size=20)),
    st.builds(TakePeer, st.integers(0, 1 << 53)),
)


@given(openings)
def test_openings_come_back_as_they_were(opening: Opening) -> None:
    assert read_opening_untrusted(opening.to_bytes()) == opening


@given(st.sampled_from([Answer(), Answer(failed="refused"), Answer(port=53)]))
def test_answers_come_back_as_they_were(answer: Answer) -> None:
    assert read_answer_untrusted(answer.to_bytes()) == answer


@given(st.integers(0, 1 << 53), endpoints)
def test_announcements_come_back_as_they_were(peer: int, source: tuple[str, int]) -> None:
    announced = Announced(peer, source)
    assert read_announced_untrusted(announced.to_bytes()) == announced


@given(st.lists(st.binary(max_size=300), max_size=20), st.lists(st.integers(1, 50)))
def test_records_are_the_same_however_the_stream_is_cut(contents: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(pack_record, contents))
    records = Records()
    got: list[bytes] = []
    for cut in cuts:
        part, stream = stream[:cut], stream[cut:]
        got += records.feed_untrusted(part)
    got += records.feed_untrusted(stream)
    assert got == contents
    assert records.rest() == b""


def test_the_rest_goes_to_another_reader() -> None:
    first, second = Records(), Records()
    stream = pack_record(b"opening") + pack_record(b"datagram")
    assert list(first.feed_untrusted(stream[:-3])) == [b"opening"]
    assert list(second.feed_untrusted(first.rest() + stream[-3:])) == [b"datagram"]


def test_the_rest_may_be_taken_between_two_records() -> None:
    records = Records()
    taking = records.feed_untrusted(pack_record(b"opening") + pack_record(b"datagram"))
    assert next(taking) == b"opening"
    assert records.rest() == pack_record(b"datagram")
    assert list(taking) == []


def test_the_longest_record() -> None:
    assert list(Records().feed_untrusted(pack_record(bytes(LONGEST)))) == [bytes(LONGEST)]
    with pytest.raises(ValueError, match="65536"):
        pack_record(bytes(LONGEST + 1))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[]",
        b"nonsense",
        b"\xff",
        b"[" * 5000,
        {"v": 2, "peer": 1},
        {"v": 1},
        {"v": 1, "udp": {"host": "", "port": 1}},
        {"v": 1, "udp": {"host": "x", "port": 0}},
        {"v": 1, "udp": {"host": "x", "port": True}},
        {"v": 1, "udp": {"host": 5, "port": 5}},
        {"v": 1, "udp": {"host": "x" * 2000, "port": 5}},
        {"v": 1, "udp": {"host": "x", "port": 5, "source": ["a"]}},
        {"v": 1, "udp": {"host": "x", "port": 5, "source": ["a", 70000]}},
        {"v": 1, "listen-udp": {"host": "x", "port": 65536}},
        {"v": 1, "peer": -1},
        {"v": 1, "peer": "7"},
    ],
)
def test_what_is_no_opening(said: object) -> None:
    content = said if isinstance(said, bytes) else json.dumps(said).encode()
    with pytest.raises(BadPacket):
        read_opening_untrusted(content)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for read in (read_opening_untrusted, read_answer_untrusted, read_announced_untrusted):
        try:
            read(content)
        except BadPacket:
            continue
