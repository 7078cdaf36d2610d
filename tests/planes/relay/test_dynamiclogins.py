"""Passwords: remembered when right, counted when wrong, and never more work than allowed."""

from __future__ import annotations

from sekimori.model.socks import make_verifier
from sekimori.planes.relay.dynamiclogins import Logins, logins_of
from sekimori.planes.relay.loop import Loop

USER = make_verifier("user:correct horse", b"salt")
OTHER = make_verifier("other:battery staple", b"pepper")
USERS = ((USER.name, USER.text), (OTHER.name, OTHER.text))
RIGHT = b"correct horse"


def test_without_users_everybody_may() -> None:
    assert Logins(0.0).judge((), "anybody", b"", "192.0.2.1", 0.0) == "right"


def test_a_password_is_its_users() -> None:
    logins = Logins(0.0)
    assert logins.judge(USERS, "user", RIGHT, "192.0.2.1", 0.0) == "right"
    assert logins.judge(USERS, "other", RIGHT, "192.0.2.1", 0.0) == "wrong"
    assert logins.judge(USERS, "nobody", RIGHT, "192.0.2.1", 0.0) == "wrong"
    assert logins.judge(USERS, "user", b"", "192.0.2.1", 0.0) == "wrong"


def test_a_password_that_was_changed_is_not_remembered() -> None:
    logins = Logins(0.0)
    assert logins.judge(USERS, "user", RIGHT, "192.0.2.1", 0.0) == "right"
    changed = make_verifier("user:another horse", b"salt")
    assert logins.judge([(changed.name, changed.text)], "user", RIGHT, "192.0.2.1", 0.0) == "wrong"
    assert logins.judge((USERS[1],), "user", RIGHT, "192.0.2.1", 0.0) == "wrong"


def test_who_guesses_is_not_listened_to_for_a_while() -> None:
    logins = Logins(0.0)
    assert logins.judge(USERS, "other", b"battery staple", "192.0.2.1", 0.0) == "right"
    for second in range(5):
        assert logins.judge(USERS, "user", b"guess", "192.0.2.1", float(second)) == "wrong"
    # Even the right one, not being known yet; but one that is known is not shut out by its neighbour.
    assert logins.judge(USERS, "user", RIGHT, "192.0.2.1", 6.0) == "wrong"
    assert logins.judge(USERS, "other", b"battery staple", "192.0.2.1", 6.0) == "right"
    assert logins.judge(USERS, "user", RIGHT, "192.0.2.2", 6.0) == "right"
    assert Logins(0.0).judge(USERS, "user", RIGHT, "192.0.2.1", 61.0) == "right"


def test_a_host_with_many_ipv6_addresses_is_one_source() -> None:
    logins = Logins(0.0)
    for number in range(5):
        assert logins.judge(USERS, "user", b"guess", f"2001:db8::{number:x}", 0.0) == "wrong"
    assert logins.judge(USERS, "user", RIGHT, "2001:db8::ffff", 1.0) == "wrong"
    assert logins.judge(USERS, "user", RIGHT, "2001:db8:0:1::1", 1.0) == "right"


def test_a_flood_of_guesses_has_a_ceiling_and_leaves_known_clients_alone() -> None:
    logins = Logins(0.0)
    assert logins.judge(USERS, "user", RIGHT, "192.0.2.1", 0.0) == "right"
    verdicts = [logins.judge(USERS, "user", b"x", f"198.51.100.{number}", 0.0) for number in range(100)]
    assert verdicts.count("wrong") == 19
    assert verdicts.count("later") == 81
    assert logins.judge(USERS, "user", RIGHT, "192.0.2.3", 0.0) == "right"
    assert logins.judge(USERS, "other", b"battery staple", "192.0.2.3", 1.0) == "right"


def test_a_worker_has_one() -> None:
    loop, other = Loop(), Loop()
    assert logins_of(loop) is logins_of(loop)
    assert logins_of(loop) is not logins_of(other)
    loop.close()
    other.close()
