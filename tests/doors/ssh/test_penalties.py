"""Who waits for having failed, and who gives way to whom."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from sekimori.doors.ssh.penalties import FREE, LONGEST, Penalties, source_of
from sekimori.doors.ssh.waiting import Stage, Waiting

ONE = ipaddress.ip_network("192.0.2.1/32")
TWO = ipaddress.ip_network("192.0.2.2/32")


def test_the_first_failures_cost_nothing_and_each_further_one_twice_as_much() -> None:
    penalties = Penalties()
    waits = [penalties.fail(ONE, 1000.0) for _ in range(FREE + 12)]
    assert waits[: FREE + 4] == [0.0] * FREE + [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == LONGEST
    assert penalties.is_shut_out(ONE, 1000.0 + LONGEST - 1)
    assert not penalties.is_shut_out(ONE, 1000.0 + LONGEST)
    assert not penalties.is_shut_out(TWO, 1000.0)


def test_a_login_clears_and_so_does_time() -> None:
    penalties = Penalties()
    for _ in range(FREE + 3):
        penalties.fail(ONE, 0.0)
    penalties.succeed(ONE)
    assert not penalties.is_shut_out(ONE, 0.0)
    assert len(penalties) == 0
    for _ in range(FREE):
        penalties.fail(ONE, 0.0)
    assert penalties.fail(ONE, 1801.0) == 0.0


def test_who_is_exempt() -> None:
    penalties = Penalties((ipaddress.ip_network("192.0.2.0/24"),))
    assert {penalties.fail(ONE, 0.0) for _ in range(20)} == {0.0}
    assert len(penalties) == 0


def test_no_more_are_remembered_than_there_is_room_for() -> None:
    penalties = Penalties(most=10)
    for number in range(100):
        penalties.fail(ipaddress.ip_network(number), 0.0)
    assert len(penalties) == 10


def test_sources() -> None:
    assert source_of(ipaddress.ip_address("192.0.2.1")) == ONE
    assert source_of(ipaddress.ip_address("::ffff:192.0.2.1")) == ONE
    assert str(source_of(ipaddress.ip_address("2001:db8:1:2:3::4"))) == "2001:db8:1:2::/64"


def test_the_silent_give_way_first_and_among_them_the_oldest() -> None:
    waiting: Waiting[str] = Waiting(most=3, most_of_a_source=3)
    assert [waiting.come(who, ONE, at) for at, who in enumerate("abc")] == [None] * 3
    waiting.reach("a", Stage.SPEAKING)
    assert waiting.come("d", ONE, 3) == "b"
    waiting.reach("c", Stage.KEYED)
    waiting.reach("d", Stage.KEYED)
    assert waiting.come("e", ONE, 4) == "a"
    assert waiting.come("f", ONE, 5) == "e"
    assert waiting.leave("c") is Stage.KEYED
    assert waiting.leave("c") is None
    assert waiting.late(5) == ["d"]


def test_a_source_has_its_share_and_takes_nobody_elses() -> None:
    waiting: Waiting[int] = Waiting(most=100, most_of_a_source=2)
    waiting.come(0, TWO, 0)
    gone = [waiting.come(number, ONE, number) for number in range(1, 6)]
    assert gone == [None, None, 1, 2, 3]


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from([ONE, TWO]))))
def test_there_are_never_more_than_there_may_be(coming: list[tuple[int, ipaddress.IPv4Network]]) -> None:
    waiting: Waiting[int] = Waiting(most=5, most_of_a_source=3)
    here: set[int] = set()
    for number, (at, source) in enumerate(coming):
        gone = waiting.come(number, source, at)
        here.add(number)
        if gone is not None:
            here.remove(gone)
        assert set(waiting) == here
        assert len(waiting) <= 5
