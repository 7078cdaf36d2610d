"""Where a client that names its destination may go: words, guards, and what names and patterns mean."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.destination import ANYWHERE, NOWHERE, Destination, Destinations, is_guarded
from sekimori.model.errors import Problem

OWN = tuple(map(ip_network, ("192.168.1.0/24", "2001:db8:1::/64", "2002:c633:6401::/48")))


def allow(text: str, host: str, port: int, address: str | None = None) -> bool:
    literal = address or (host if host[0].isdigit() or ":" in host else None)
    return Destinations.parse(text).allow(host, None if literal is None else ip_address(literal), port, OWN)


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "*:443",
        "db.example:5432",
        "*.example",
        "db?.example:80-90",
        "10.0.0.0/8",
        "10.0.0.5:80",
        "10.0.0.0/8:80-90",
        "2001:db8::/32",
        "[2001:db8::5]:443",
        "2001:db8::5",
    ],
)
def test_as_it_is_written(text: str) -> None:
    assert str(Destination.parse(text)) == text
    assert str(Destinations.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "a b",
        "10.0.0.0.0",
        "10.0.0.5/8",
        "1.2.3",
        "x:0",
        "x:70000",
        "x:9-5",
        "[::1",
        "-a",
        "a/b",
        ":80",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(Problem) as found:
        Destination.parse(text)
    assert found.value.code == "bad-destination"


def test_several() -> None:
    both = Destinations.parse("DB.example:5432, 10.0.0.0/8")
    assert str(both) == "10.0.0.0/8,db.example:5432"
    assert Destinations.parse("none") == Destinations.parse("") == NOWHERE
    assert Destinations.parse("anywhere") == ANYWHERE
    assert str(NOWHERE) == "none"
    assert not NOWHERE


GUARDED = [
    "0.0.0.0",
    "127.0.0.1",
    "127.9.9.9",
    "169.254.169.254",
    "100.100.100.200",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
    "64:ff9b:1::a9fe:a9fe",  # local-use NAT64 of 169.254.169.254
    "::7f00:1",  # IPv4-compatible
    "::ffff:0:7f00:1",  # IPv4-translated
    "2002:c633:6401::9",  # in a 6to4 network of ours
    "192.168.1.9",
    "2001:db8:1::9",
]


@pytest.mark.parametrize("address", GUARDED)
def test_guarded_places_must_be_named(address: str) -> None:
    assert is_guarded(ip_address(address), OWN)
    assert not allow("*", address, 80)
    assert not allow("*.example", "a.example", 80, address)
    assert not allow("*,10.0.0.0/8", address, 80)
    assert not allow("0.0.0.0/0,::/0", address, 80)
    named = f"[{address}]:80" if ":" in address else f"{address}:80"
    assert allow(named, address, 80)
    assert not allow(named, address, 81)
    assert allow("a.example", "a.example", 80, address)


@pytest.mark.parametrize("address", ["198.51.100.1", "10.0.0.5", "192.168.2.1", "2001:db8::1", "fd00::1"])
def test_others_need_a_pattern_at_least(address: str) -> None:
    assert not is_guarded(ip_address(address), OWN)
    assert allow("*", address, 80)
    assert allow("*", "a.example", 80, address)
    assert not allow("*:443", address, 80)
    assert not allow("none", address, 80)
    assert not allow("b.example,*.test", "a.example", 80, address)


def test_all_addresses_are_those_of_one_family() -> None:
    assert allow("0.0.0.0/0:443", "198.51.100.1", 443)
    assert not allow("0.0.0.0/0", "2001:db8::1", 443)
    assert allow("::/0", "a.example", 443, "2001:db8::1")


def test_a_name_before_it_is_looked_up() -> None:
    for text in ("*", "*.example", "a.example", "10.0.0.0/8"):  # the last one might still have it
        assert allow(text, "a.example", 80)
    for text in ("b.example", "*:443", "10.0.0.0/8:443", "none"):
        assert not allow(text, "a.example", 80)


def test_names_are_compared_as_names() -> None:
    assert allow("a.example", "A.Example.", 80)
    assert allow("*.example", "x.y.EXAMPLE", 80)
    assert not allow("*.example", "example", 80)
    assert allow("db?.example", "db1.example", 80)
    assert not allow("db?.example", "db12.example", 80)
    assert not allow("a.example", "axexample", 80)


@given(st.ip_addresses(), st.integers(1, 65535))
def test_a_prefix_holds_what_is_in_it(address, port) -> None:
    prefix = ip_network((address, address.max_prefixlen - 8), strict=False)
    rule = Destinations.parse(str(prefix))
    assert rule.allow(str(address), address, port)
    assert Destinations.parse(str(rule)) == rule
    elsewhere = type(address)(int(address) ^ (1 << 20))
    assert not rule.allow(str(elsewhere), elsewhere, port)
