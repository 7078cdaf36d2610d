"""What a client may name, before anything is dialled."""

from __future__ import annotations

import pytest

from sekimori.planes.relay.dynamicrules import allows
from sekimori.planes.relay.entry import Socks

OPEN = Socks((), ("*",), ("192.0.2.0/24",))


@pytest.mark.parametrize("host", ["198.51.100.1", "2001:db8::1", "example.com"])
def test_anywhere(host: str) -> None:
    assert allows(OPEN, host, 443)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "::1",
        "localhost",
        "a.localhost",
        "169.254.169.254",
        "fe80::1",
        "192.0.2.9",
        "::ffff:127.0.0.1",
    ],
)
def test_anywhere_is_not_here(host: str) -> None:
    assert not allows(OPEN, host, 443)


@pytest.mark.parametrize(
    ("rule", "host", "port", "allowed"),
    [
        ("localhost", "localhost", 80, True),
        ("127.0.0.0/8", "localhost", 80, True),
        ("127.0.0.1:80", "127.0.0.1", 81, False),
        ("192.0.2.9", "192.0.2.9", 1, True),
        ("10.0.0.0/8", "10.1.2.3", 1, True),
        ("10.0.0.0/8", "198.51.100.1", 1, False),
        ("10.0.0.0/8", "db.example", 1, True),  # judged by its addresses, where it is looked up
        ("*.example", "db.example", 1, True),
        ("*.example", "db.example.com", 1, False),
        ("10.0.0.1", "10.0.0.1", 0, True),  # a BIND for any port
        ("10.0.0.1:80", "10.0.0.1", 0, False),
    ],
)
def test_rules(rule: str, host: str, port: int, allowed: bool) -> None:
    assert allows(Socks((), (rule,), OPEN.own), host, port) is allowed


@pytest.mark.parametrize(
    ("rule", "host", "allowed"),
    [
        ("10.0.0.0/8", "db.example", False),  # nobody would see whether it leads there
        ("10.0.0.0/8", "10.1.2.3", True),
        ("db.example", "db.example", True),
        ("*.example:443", "db.example", True),
        ("*.example:80", "db.example", False),
        ("*", "db.example", True),
        ("127.0.0.0/8", "localhost", True),
        ("*", "localhost", False),
    ],
)
def test_through_a_link_a_prefix_lets_no_name_through(rule: str, host: str, allowed: bool) -> None:
    assert allows(Socks((), (rule,)), host, 443, far=True) is allowed


def test_no_rules_is_nowhere() -> None:
    assert not allows(Socks(), "198.51.100.1", 80)
