"""What is said of the machine as a whole, and of what a mapping leads to."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from sekimori.host.listeners import Listener
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.finding import Severity
from sekimori.model.network import Network, Wan
from sekimori.observe.diagnose.doctor import diagnose
from sekimori.observe.diagnose.standing import Standing, look_around, look_at

from .listing import SERVER, SERVER6
from .test_doctor import NETWORK, QUIET, WEB, opening

OBSTACLE = Problem("needs-net-admin", why=cause("no-gateway-plane"))


def said(standing: Standing) -> list[tuple[str, Severity]]:
    return [(each.code, each.severity) for each in look_around(standing)]


def at(address: str) -> Network:
    return replace(NETWORK, wans=(Wan("wan", (ipaddress.IPv4Address(address),), has4=True),))


def test_a_gateway_that_is_well_gives_nothing_to_say() -> None:
    assert said(Standing(NETWORK, is_gateway=True)) == []


@pytest.mark.parametrize(
    ("network", "obstacle", "code"),
    [
        (NETWORK, OBSTACLE, "no-kernel-plane"),
        (replace(NETWORK, wans=()), None, "no-wan"),
        (replace(NETWORK, lans=()), None, "no-lan"),
        (replace(NETWORK, forwarding4=False), None, "forwarding-off"),
        (replace(NETWORK, forwarding6=False), None, "forwarding-off"),
    ],
)
def test_what_keeps_a_machine_from_being_a_gateway_is_grave_once_it_is_one(
    network: Network, obstacle: Problem | None, code: str
) -> None:
    assert said(Standing(network, obstacle=obstacle)) == [(code, Severity.NOTICE)]
    assert said(Standing(network, is_gateway=True, obstacle=obstacle)) == [(code, Severity.ERROR)]


def test_ipv6_need_not_be_forwarded_where_no_line_has_it() -> None:
    four = replace(at("203.0.113.1"), forwarding6=False)
    assert said(Standing(four)) == []


def test_a_problem_is_told_in_its_own_words() -> None:
    (found,) = look_around(Standing(NETWORK, problem=OBSTACLE))
    assert (found.code, found.severity) == ("gateway-incomplete", Severity.ERROR)
    assert (found.title, found.fix["ja"]) == (OBSTACLE.titles, OBSTACLE.fix("ja"))


@pytest.mark.parametrize(
    ("address", "codes"),
    [
        ("10.0.0.2", ["wan-private"]),
        ("172.31.255.254", ["wan-private"]),
        ("172.32.0.1", []),
        ("192.168.0.2", ["wan-private"]),
        ("100.63.255.255", []),
        ("100.64.0.1", ["wan-shared"]),
        ("100.127.255.254", ["wan-shared"]),
        ("100.128.0.1", []),
        ("203.0.113.9", []),
    ],
)
def test_who_stands_between_a_line_and_the_internet(address: str, codes: list[str]) -> None:
    assert [code for code, _ in said(Standing(at(address)))] == codes
    both = (*at(address).wans[0].addresses4, ipaddress.IPv4Address("203.0.113.7"))
    assert said(Standing(replace(NETWORK, wans=(Wan("wan", both, has4=True),)))) == []


def test_a_mapping_that_failed_tells_why_and_nothing_else() -> None:
    here = opening("self:9090", "tcp/9090")
    (found,) = look_at(here, OBSTACLE, [])
    assert (found.code, found.severity, found.subject) == ("mapping-failed", Severity.ERROR, "tcp/9090")
    assert found.title["en"] == OBSTACLE.title()


def listener(address: str, port: int, protocol: str = "tcp") -> Listener:
    return Listener(protocol, ipaddress.ip_address(address), port)


@pytest.mark.parametrize(
    ("plane", "listening", "heard"),
    [
        ("kernel", listener("0.0.0.0", 9090), True),
        ("kernel", listener("192.0.2.1", 9090), True),
        ("kernel", listener("::", 9090), True),
        ("kernel", listener("127.0.0.1", 9090), False),
        ("kernel", listener("0.0.0.0", 9091), False),
        ("kernel", listener("0.0.0.0", 9090, "udp"), False),
        ("relay", listener("127.0.0.1", 9090), True),
        ("relay", listener("::", 9090), True),
        ("relay", listener("192.0.2.1", 9090), False),
    ],
)
def test_a_service_that_nobody_offers(plane: str, listening: Listener, heard: bool) -> None:
    here = opening("self:9090", "tcp/9090", plane=plane)
    found = list(look_at(here, None, [listening]))
    assert [each.code for each in found] == ([] if heard else ["no-listener"])
    for each in found:
        assert "tcp/9090" in each.title["en"]
        assert "sekimori close web" in each.fix["ja"]


def test_one_listener_in_a_range_is_enough_and_others_are_no_matter() -> None:
    assert list(look_at(opening("self", "udp/7000-7010"), None, [listener("::", 7005, "udp")])) == []
    assert list(look_at(WEB, None, [])) == []
    assert list(look_at(opening("self", "gre"), None, [])) == []
    loopback = opening("127.0.0.1:80", "tcp/8080", plane="relay")
    assert [each.code for each in look_at(loopback, None, [])] == ["no-listener"]


def test_a_target_of_both_families_is_reached_by_the_one_that_the_line_has() -> None:
    four = replace(NETWORK, wans=(replace(NETWORK.wans[0], addresses6=(), has6=False),))
    found = diagnose(WEB, [SERVER, SERVER6], four, QUIET)
    assert [(each.code, each.severity) for each in found] == [("no-wan-address", Severity.NOTICE)]
    found = diagnose(WEB, [SERVER6], four, QUIET)
    assert [(each.code, each.severity) for each in found] == [("no-wan-address", Severity.ERROR)]


def test_a_relay_needs_an_address_of_either_family() -> None:
    relayed = opening("192.168.1.10:80", "tcp/8080", plane="relay")
    six = replace(NETWORK, wans=(replace(NETWORK.wans[0], addresses4=(), has4=False),))
    assert diagnose(relayed, [SERVER], six, QUIET) == []
    assert [each.code for each in diagnose(relayed, [SERVER], replace(NETWORK, wans=()), QUIET)] == [
        "no-wan-address"
    ]


def test_what_is_open_inside_only_needs_no_address_outside() -> None:
    inside = replace(
        opening("192.168.1.10:80", "tcp/8080", plane="relay"), on=ipaddress.ip_address("127.0.0.1")
    )
    assert diagnose(inside, [SERVER], replace(NETWORK, wans=()), QUIET) == []
