"""Every kind of NAT, firewall and server there is to meet, played in memory: what is told is never wrong."""

from __future__ import annotations

import ipaddress
import itertools
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.behaviour import Behaviour, Endpoint, FilteringBehaviour, MappingBehaviour
from sekimori.wire.errors import BadPacket
from sekimori.wire.natbehaviour import Exam, Send, Timing
from sekimori.wire.stun import (
    Answer,
    Refusal,
    Request,
    decode_request_untrusted,
    encode_answer,
    encode_refusal,
    encode_request,
)

M, F = MappingBehaviour, FilteringBehaviour
HERE = ipaddress.ip_address("192.168.1.2")
LOCALS = Endpoint(HERE, 5000), Endpoint(HERE, 5001)
LOCAL = LOCALS[0]
ONE, TWO, THIRD = map(ipaddress.ip_address, ("198.51.100.1", "198.51.100.2", "198.51.100.9"))
PRIMARY, OTHER = Endpoint(ONE, 3478), Endpoint(TWO, 3479)
PLAIN = Endpoint(THIRD, 3478)
"""A server without another address."""
MAPPINGS = [M.UNTRANSLATED, M.ENDPOINT_INDEPENDENT, M.ADDRESS_DEPENDENT, M.ADDRESS_AND_PORT_DEPENDENT]
FILTERINGS = [F.ENDPOINT_INDEPENDENT, F.ADDRESS_DEPENDENT, F.ADDRESS_AND_PORT_DEPENDENT]
TIMING = Timing(first=1.0, times=3, last=2.0)


@dataclass
class Nat:
    """What stands between the sockets and the servers.

    One that `minds` keeps in mind what it has refused, and then maps another port the other way, as Linux
    does without a firewall.
    """

    mapping: MappingBehaviour
    filtering: FilteringBehaviour
    minds: bool = False
    refused: set[tuple[Endpoint, Endpoint]] = field(default_factory=set)
    mapped: dict[tuple[object, ...], Endpoint] = field(default_factory=dict)
    sent_to: dict[Endpoint, set[Endpoint]] = field(default_factory=dict)

    def out(self, by: int, to: Endpoint) -> Endpoint:
        part = {M.ADDRESS_DEPENDENT: to.address, M.ADDRESS_AND_PORT_DEPENDENT: to}.get(self.mapping)
        outside = self._port((by, part)) if self.mapping is not M.UNTRANSLATED else LOCALS[by]
        if (to, outside) in self.refused and self.mapping is not M.UNTRANSLATED:
            outside = self._port((by, part, to))
        self.sent_to.setdefault(outside, set()).add(to)
        return outside

    def _port(self, key: tuple[object, ...]) -> Endpoint:
        fresh = Endpoint(ipaddress.ip_address("203.0.113.7"), 40000 + len(self.mapped))
        return self.mapped.setdefault(key, fresh)

    def by(self, outside: Endpoint) -> int:
        """Which socket an outside port belongs to."""
        if outside in LOCALS:
            return LOCALS.index(outside)
        return int(next(key[0] == 1 for key, each in self.mapped.items() if each == outside))

    def lets_in(self, source: Endpoint, outside: Endpoint) -> bool:
        passes = self._passes(source, outside)
        if self.minds and not passes:
            self.refused.add((source, outside))
        return passes

    def _passes(self, source: Endpoint, outside: Endpoint) -> bool:
        known = self.sent_to.get(outside, set())
        if (source, outside) in self.refused:
            return False
        if self.filtering is F.ENDPOINT_INDEPENDENT:
            return bool(known)
        if self.filtering is F.ADDRESS_DEPENDENT:
            return any(each.address == source.address for each in known)
        return source in known


@dataclass
class Servers:
    """One with two addresses and ports, and a plain one.

    `manner` is what the first does: `honest`; `lies` (answers changes from where it was asked and says
    otherwise); `deaf` to changes; `half` (its other address never answers anything); `single` (has no other);
    `refuses` changes; `silent`; `wrong` (answers everything from a port that was not asked).
    """

    manner: str = "honest"

    def answer(self, request: Request, asked: Endpoint, source: Endpoint) -> tuple[Endpoint, bytes] | None:
        changed = request.change_address or request.change_port
        if asked == PLAIN:
            return asked, encode_answer(Answer(request.transaction, source))
        manner = self.manner
        dead = manner == "silent" or (manner == "half" and asked.address == TWO)
        if dead or (changed and manner in ("deaf", "half")):
            return None
        if changed and manner in ("refuses", "single"):
            return asked, encode_refusal(Refusal(request.transaction, 420, "?", (3,)))
        addresses, ports = [ONE, TWO], [3478, 3479]
        if request.change_address:
            addresses.reverse()
        if request.change_port:
            ports.reverse()
        place = (asked.address == TWO), (asked.port == 3479)
        from_ = Endpoint(addresses[place[0]], ports[place[1]])
        other = None if manner == "single" else OTHER
        data = encode_answer(Answer(request.transaction, source, other=other, origin=from_))
        if manner == "lies":
            from_ = asked
        if manner == "wrong":
            from_ = Endpoint(asked.address, 9)
        return from_, data


def play(exam: Exam, nat: Nat, servers: Servers, lost: set[int] | None = None) -> Behaviour:
    """Carry an exam out; `lost` are the datagrams of ours, by number, that get lost."""
    now, number = 0.0, itertools.count()
    sends = deque(exam.start(now))
    while exam.behaviour is None:
        while sends:
            send = sends.popleft()
            outside = nat.out(send.by, send.to)
            if next(number) in (lost or ()):
                continue
            answer = servers.answer(decode_request_untrusted(send.data), send.to, outside)
            if answer is not None and nat.lets_in(answer[0], outside):
                try:
                    sends += exam.receive_untrusted(nat.by(outside), answer[1], answer[0], now)
                except BadPacket:
                    assert servers.manner == "wrong"
        if exam.behaviour is None:
            assert exam.due is not None
            now = exam.due
            assert now < 100
            sends += exam.wake(now)
    assert exam.due is None
    return exam.behaviour


def new_exam(*servers: Endpoint, deep: bool = True) -> Exam:
    numbers = itertools.count(1)
    return Exam(LOCALS, servers, lambda: next(numbers).to_bytes(12), TIMING, deep=deep)


@pytest.mark.parametrize("minds", [False, True])
@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("filtering", FILTERINGS)
def test_an_honest_server_tells_each_nat(
    mapping: MappingBehaviour, filtering: FilteringBehaviour, minds: bool
) -> None:
    found = play(new_exam(PRIMARY), Nat(mapping, filtering, minds), Servers())
    assert found.mapping is mapping
    same_everywhere = mapping in (M.UNTRANSLATED, M.ENDPOINT_INDEPENDENT)
    # Where each address is met by another outside port, silence cannot be checked.
    proven = filtering is F.ENDPOINT_INDEPENDENT or same_everywhere
    assert found.filtering is (filtering if proven else F.UNKNOWN)
    assert found.mapped is not None


@pytest.mark.parametrize("manner", ["lies", "deaf", "half", "single", "refuses", "silent", "wrong"])
@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("filtering", FILTERINGS)
def test_a_server_that_does_not_answer_from_its_other_address_tells_nothing_of_filtering(
    manner: str, mapping: MappingBehaviour, filtering: FilteringBehaviour
) -> None:
    found = play(new_exam(PRIMARY), Nat(mapping, filtering), Servers(manner))
    assert found.filtering is F.UNKNOWN
    assert (found.mapped is None) is (manner in ("silent", "wrong"))
    if found.mapped is None:
        assert found.seen[0].silent
    if manner in ("lies", "deaf", "refuses"):
        assert found.mapping is mapping
    elif manner in ("half", "single"):
        assert found.mapping is (M.UNTRANSLATED if mapping is M.UNTRANSLATED else M.UNKNOWN)


@given(
    st.sampled_from(MAPPINGS),
    st.sampled_from(FILTERINGS),
    st.sampled_from(["honest", "lies", "deaf", "half", "single", "refuses", "silent", "wrong"]),
    st.permutations([PRIMARY, PLAIN]),
    st.sets(st.integers(0, 12), max_size=5),
    st.booleans(),
)
def test_what_is_told_is_never_wrong(
    mapping: MappingBehaviour,
    filtering: FilteringBehaviour,
    manner: str,
    servers: list[Endpoint],
    lost: set[int],
    minds: bool,
) -> None:
    found = play(new_exam(*servers), Nat(mapping, filtering, minds), Servers(manner), lost)
    allowed = {mapping, M.UNKNOWN}
    if mapping in (M.ADDRESS_DEPENDENT, M.ADDRESS_AND_PORT_DEPENDENT):
        allowed.add(M.VARIES)
    assert found.mapping in allowed
    narrower = {F.UNKNOWN, filtering}
    if lost:  # three in a row are silence, and then a firewall looks narrower than it is
        narrower.update(FILTERINGS[FILTERINGS.index(filtering) :])
    assert found.filtering in narrower
    assert [each.server for each in found.seen] == servers


def test_two_plain_servers_tell_whether_the_mapping_varies() -> None:
    second = Endpoint(ONE, 3478)
    for mapping, told in (
        (M.UNTRANSLATED, M.UNTRANSLATED),
        (M.ENDPOINT_INDEPENDENT, M.ENDPOINT_INDEPENDENT),
        (M.ADDRESS_DEPENDENT, M.VARIES),
    ):
        found = play(new_exam(PLAIN, second), Nat(mapping, F.ADDRESS_DEPENDENT), Servers("single"))
        assert found.mapping is told
        assert found.filtering is F.UNKNOWN


def test_an_other_address_that_was_asked_too_is_not_tested_with() -> None:
    exam = new_exam(PRIMARY, Endpoint(TWO, 3478))
    found = play(exam, Nat(M.ENDPOINT_INDEPENDENT, F.ADDRESS_DEPENDENT), Servers())
    assert found.mapping is M.ENDPOINT_INDEPENDENT
    assert found.filtering is F.UNKNOWN


def test_without_depth_one_question_is_all() -> None:
    exam = new_exam(PRIMARY, deep=False)
    (send,) = exam.start(0.0)
    request = decode_request_untrusted(send.data)
    data = encode_answer(Answer(request.transaction, LOCAL, other=OTHER))
    assert exam.receive_untrusted(0, data, PRIMARY, 0.1) == ()
    assert exam.behaviour is not None
    assert exam.behaviour.mapping is M.UNTRANSLATED


def test_no_servers_no_questions() -> None:
    exam = new_exam()
    assert exam.start(0.0) == ()
    assert exam.behaviour == Behaviour(())


def test_a_question_is_sent_again_at_growing_intervals_and_then_given_up() -> None:
    exam = new_exam(PRIMARY)
    (first,) = exam.start(10.0)
    times = [10.0]
    while exam.behaviour is None:
        assert exam.due is not None
        assert exam.wake(exam.due - 0.001) == ()
        now = exam.due
        sends = exam.wake(now)
        assert sends in ((first,), ())
        times.append(now)
    assert times == [10.0, 11.0, 13.0, 15.0]
    assert exam.behaviour.seen[0].silent


def test_strangers_are_refused() -> None:
    exam = new_exam(PRIMARY)
    (send,) = exam.start(0.0)
    transaction = decode_request_untrusted(send.data).transaction
    mine = encode_answer(Answer(transaction, LOCAL))
    for data, source in (
        (b"", PRIMARY),
        (send.data, PRIMARY),
        (encode_answer(Answer(bytes(12), LOCAL)), PRIMARY),
        (mine, Endpoint(ONE, 3479)),
        (bytes(8) + transaction, PRIMARY),
        (encode_request(Request(transaction)), PRIMARY),
    ):
        with pytest.raises(BadPacket):
            exam.receive_untrusted(0, data, source, 0.1)
        assert exam.behaviour is None
    with pytest.raises(BadPacket):  # at the other socket
        exam.receive_untrusted(1, mine, PRIMARY, 0.1)
    exam.receive_untrusted(0, mine, PRIMARY, 0.2)
    with pytest.raises(BadPacket):  # a second time
        exam.receive_untrusted(0, mine, PRIMARY, 0.3)


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_an_answer_or_bad(rest: bytes, ours: bool) -> None:
    exam = new_exam(PRIMARY)
    (send,) = exam.start(0.0)
    data = bytes.fromhex("0101") + len(rest).to_bytes(2) + send.data[4:] + rest if ours else rest
    try:
        sends = exam.receive_untrusted(0, data, PRIMARY, 0.1)
    except BadPacket:
        assert exam.behaviour is None
        return
    assert exam.behaviour is not None or all(isinstance(each, Send) for each in sends)


def test_an_error_answer_is_kept() -> None:
    exam = new_exam(PRIMARY)
    (send,) = exam.start(0.0)
    transaction = decode_request_untrusted(send.data).transaction
    exam.receive_untrusted(0, encode_refusal(Refusal(transaction, 401, "no")), PRIMARY, 0.1)
    assert exam.behaviour is not None
    assert exam.behaviour.seen[0].refusal == 401
    assert exam.behaviour.mapped is None
