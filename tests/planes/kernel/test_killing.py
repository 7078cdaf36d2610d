"""What is remembered of flows that were ended by hand."""

from __future__ import annotations

import ipaddress

from sekimori.planes.kernel.killing import ENDED_CHAIN, ENDED_SETS, ended_items

from .tracked import NOW, TCP, UDP, VISITOR, VISITOR6, WAN, flow


def ends(key: bytes) -> tuple[str, int, str, int]:
    """A key of a set of ends: each field is padded to whole words of 4 bytes."""
    half = len(key) // 2
    source, destination = key[:half], key[half:]
    assert source[-2:] == destination[-2:] == b"\0\0"
    return (
        str(ipaddress.ip_address(source[:-4])),
        int.from_bytes(source[-4:-2], "big"),
        str(ipaddress.ip_address(destination[:-4])),
        int.from_bytes(destination[-4:-2], "big"),
    )


def test_both_ends_are_remembered_as_each_would_begin_anew() -> None:
    entry = flow(TCP, f"{VISITOR} 50000", f"{WAN} 443", to="192.168.1.10 8443")
    items = ended_items([entry], NOW)
    assert [item.set for item in items] == ["ended4", "ended4"]
    assert [ends(item.key) for item in items] == [
        (VISITOR, 50000, WAN, 443),
        ("192.168.1.10", 8443, VISITOR, 50000),
    ]
    assert all(item.until is not None and item.until > NOW + 7200 for item in items), "a keep-alive's time"


def test_ipv6_has_its_own_set() -> None:
    entry = flow(TCP, f"{VISITOR6} 50000", "2001:db8:3::10 443")
    items = ended_items([entry], NOW)
    assert [(item.set, ends(item.key)) for item in items] == [
        ("ended6", (VISITOR6, 50000, "2001:db8:3::10", 443)),
        ("ended6", ("2001:db8:3::10", 443, VISITOR6, 50000)),
    ]


def test_what_has_no_beginning_is_not_remembered() -> None:
    assert ended_items([flow(UDP, f"{VISITOR} 50000", f"{WAN} 53", to="192.168.1.10 53")], NOW) == []


def test_a_flow_that_is_told_twice_is_remembered_once() -> None:
    entry = flow(TCP, f"{VISITOR} 50000", f"{WAN} 443", to="192.168.1.10 8443")
    assert len(ended_items([entry, entry], NOW)) == 2


def test_every_set_has_its_rule() -> None:
    _, rules = ENDED_CHAIN
    assert all(f"@{name} " in rule for name, rule in zip(ENDED_SETS, rules, strict=True))
