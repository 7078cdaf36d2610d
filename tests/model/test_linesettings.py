"""`[line]`: servers and what is known of IPv6, as they are written."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from sekimori.model.causes import Unreadable
from sekimori.model.linesettings import Firewall6, StunServer, parse_firewall6, parse_servers


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("stun.example.net", StunServer("stun.example.net", 3478)),
        (" STUN.example.net:19302 ", StunServer("stun.example.net", 19302)),
        ("192.0.2.1:1", StunServer("192.0.2.1", 1)),
        ("2001:db8::1", StunServer("2001:db8::1", 3478)),
        ("[2001:DB8::1]", StunServer("2001:db8::1", 3478)),
        ("[2001:db8::1]:5349", StunServer("2001:db8::1", 5349)),
    ],
)
def test_servers_are_read_and_written(text: str, server: StunServer) -> None:
    assert StunServer.parse(text) == server
    assert StunServer.parse(str(server)) == server


def _many() -> Iterable[str]:
    return [f"s{each}.example.net" for each in range(9)]


@pytest.mark.parametrize(
    "value",
    [
        "x",
        [5],
        [""],
        ["a b"],
        ["x:0"],
        ["x:65536"],
        ["x:"],
        ["x:1a"],
        ["x:１"],
        ["192.0.2.256"],
        ["1:2:3"],
        ["[2001:db8::1"],
        ["[2001:db8::1]5"],
        ["-x"],
        ["stun:x"],
        _many(),
    ],
)
def test_bad_servers_are_refused(value: object) -> None:
    with pytest.raises(Unreadable) as caught:
        parse_servers(value)
    assert caught.value.why["ja"] != caught.value.why["en"]


def test_servers_are_asked_once_each() -> None:
    assert parse_servers(["x", "x:3478", "y"]) == (StunServer("x"), StunServer("y"))


def test_what_is_known_of_ipv6_is_read() -> None:
    assert parse_firewall6("open") is Firewall6.OPEN
    for value in ("closed", True, None):
        with pytest.raises(Unreadable):
            parse_firewall6(value)
