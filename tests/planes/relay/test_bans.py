"""Who is banned, and until when: tables, without sockets and clocks."""

from __future__ import annotations

import pytest

from sekimori.planes.relay.bans import Bans


def bans(*given: tuple[str, float | None]) -> Bans:
    made = Bans()
    made.set(given)
    return made


def test_nobody_is_banned_at_first() -> None:
    assert not Bans().any
    assert not Bans().hold("198.51.100.7", 0.0)


@pytest.mark.parametrize(
    ("source", "held"),
    [
        ("198.51.100.0", True),
        ("198.51.100.255", True),
        ("198.51.101.0", False),
        ("198.51.99.255", False),
        ("203.0.113.7", True),
        ("203.0.113.8", False),
        ("2001:db8:1::1", True),
        ("2001:db8:2::1", False),
        ("::ffff:198.51.100.7", True),  # as a dual socket tells of IPv4
    ],
)
def test_exactly_the_prefixes_are_banned(source: str, held: bool) -> None:
    made = bans(("198.51.100.0/24", None), ("203.0.113.7/32", None), ("2001:db8:1::/48", None))
    assert made.hold(source, 1e9) is held


def test_each_ban_ends_at_its_second_and_the_others_go_on() -> None:
    made = bans(("198.51.100.0/24", 100.0), ("203.0.113.0/24", 200.0), ("192.0.2.0/24", None))

    def held(wall: float) -> list[bool]:
        return [made.hold(source, wall) for source in ("198.51.100.1", "203.0.113.1", "192.0.2.1")]

    assert held(99.9) == [True, True, True]
    assert held(100.0) == [False, True, True]
    assert held(200.0) == [False, False, True]
    assert made.any


def test_when_the_last_has_ended_nobody_need_be_looked_up_any_more() -> None:
    made = bans(("198.51.100.0/24", 100.0))
    assert made.any
    assert not made.hold("198.51.100.1", 100.0)
    assert not made.any


def test_a_new_list_takes_the_place_of_the_old_one() -> None:
    made = bans(("198.51.100.0/24", None))
    made.set([("203.0.113.0/24", None)])
    assert not made.hold("198.51.100.1", 0.0)
    assert made.hold("203.0.113.1", 0.0)
    made.set(())
    assert not made.any


def test_a_list_with_what_is_no_prefix_changes_nothing() -> None:
    made = bans(("198.51.100.0/24", None))
    with pytest.raises(ValueError, match="no-prefix"):
        made.set([("203.0.113.0/24", None), ("no-prefix", None)])
    assert made.hold("198.51.100.1", 0.0)
    assert not made.hold("203.0.113.1", 0.0)
