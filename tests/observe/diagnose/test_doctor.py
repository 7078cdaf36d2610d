"""What the doctor asks about a mapping, what settings it knows, and how it speaks."""

from __future__ import annotations

import ipaddress
import string
from collections.abc import Mapping
from dataclasses import replace

import pytest

from sekimori.model.address import Interface, parse_ports
from sekimori.model.lifetime import Asked, Lifetime
from sekimori.model.mapping import Hop, Owner
from sekimori.model.mapping import Mapping as Opening
from sekimori.model.network import Lan, Network, Wan
from sekimori.model.source import Sources
from sekimori.model.target import pair_ports, parse_target
from sekimori.observe.diagnose.doctor import diagnose
from sekimori.observe.diagnose.findings import Finding, Severity
from sekimori.observe.diagnose.findings_words import WORDS
from sekimori.observe.diagnose.machine import Machine
from sekimori.observe.diagnose.probe import Nat, Way
from sekimori.observe.diagnose.probes import probes_of
from sekimori.observe.diagnose.remedies_words import EXPLAINS
from sekimori.observe.diagnose.ruleset import Ruleset

from .listing import DROP, OUTSIDE, SERVER, SERVER6, forward

OUTSIDE6 = ipaddress.ip_address("2001:db8:2::2")
SECOND = ipaddress.ip_address("192.0.2.2")
NETWORK = Network(
    wans=(Wan("wan", (OUTSIDE,), (OUTSIDE6,), has4=True, has6=True),),  # type: ignore[arg-type]
    lans=(Lan("lan", tuple(map(ipaddress.ip_network, ("192.168.1.0/24", "2001:db8:3::/64")))),),
    forwarding4=True,
    forwarding6=True,
    own=frozenset({OUTSIDE, OUTSIDE6}),
)
TWO = replace(NETWORK, wans=(*NETWORK.wans, Wan("second", (SECOND,), has4=True)))  # type: ignore[arg-type]
QUIET = Machine(Ruleset())


def opening(to: str, ports: str, *, plane: str = "kernel", sources: str = "anyone") -> Opening:
    target, inside = parse_target(to)
    return Opening(
        id="m1",
        name="web",
        owner=Owner.parse("person:root"),
        ports=pair_ports(parse_ports(ports), inside, to),
        target=target,
        sources=Sources.parse(sources),
        lifetime=Lifetime(Asked.PERMANENT, "", None),
        path=(Hop(plane),),
    )


WEB = opening("192.168.1.10:80", "tcp/8080")


def codes(mapping: Opening, network: Network, machine: Machine, target: object = SERVER) -> list[str]:
    return [each.code for each in diagnose(mapping, [target], network, machine)]  # type: ignore[list-item]


def test_a_quiet_machine_gives_nothing_to_say() -> None:
    assert diagnose(WEB, [SERVER], NETWORK, QUIET) == []
    assert diagnose(WEB, [SERVER], TWO, QUIET) == []


def test_forwarding_that_is_off() -> None:
    found = diagnose(WEB, [SERVER], replace(NETWORK, forwarding4=False), QUIET)
    assert [(each.code, each.severity) for each in found] == [("forwarding-off", Severity.ERROR)]
    assert "net.ipv4.ip_forward" in found[0].fix["en"]
    assert codes(opening("self:8080", "8080"), replace(NETWORK, forwarding4=False), QUIET) == []


@pytest.mark.parametrize(
    ("all_", "one", "expected"),
    [("0", "1", ["rp-filter-strict"]), ("2", "1", []), ("0", "0", []), ("1", "0", None)],
)
def test_strict_filtering_on_the_second_wan(all_: str, one: str, expected: list[str] | None) -> None:
    machine = replace(
        QUIET, sysctls={"net.ipv4.conf.all.rp_filter": all_, "net.ipv4.conf.second.rp_filter": one}
    )
    assert codes(WEB, TWO, machine) == (["rp-filter-strict"] if expected is None else expected)
    assert codes(WEB, NETWORK, machine) == []


def test_no_address_outside() -> None:
    bare = replace(NETWORK, wans=(replace(NETWORK.wans[0], addresses4=()),))
    assert codes(WEB, bare, QUIET) == ["no-wan-address"]
    assert codes(WEB, replace(NETWORK, wans=()), QUIET) == ["no-wan-address"]


def test_rules_of_iptables_legacy_that_cannot_be_read() -> None:
    assert codes(WEB, NETWORK, replace(QUIET, hidden=True)) == ["fw-hidden"]


def test_one_rule_is_told_once_for_each_port() -> None:
    ranged = opening("192.168.1.10", "udp/7000-7010")
    found = diagnose(ranged, [SERVER], TWO, Machine(forward([DROP])))
    assert [(each.code, each.subject) for each in found] == [
        ("fw-drops", "udp/7000"),
        ("fw-drops", "udp/7010"),
    ]


def test_which_packets_stand_for_a_forward() -> None:
    (first, probe), (last, _) = probes_of(
        opening("192.168.1.10", "udp/7000-7010:8000-8010"), [SERVER], NETWORK, {}
    )
    assert (first, last) == ("udp/7000", "udp/7010")
    assert (probe.destination, probe.dport, probe.nat) == (OUTSIDE, 7000, Nat(SERVER, 8000))
    assert (probe.iif, probe.oif, probe.way, probe.source) == ("wan", "lan", Way.FORWARD, None)


def test_an_ipv6_target_is_reached_at_its_own_address() -> None:
    ((_, probe),) = probes_of(opening(f"[{SERVER6}]:80", "tcp/80"), [SERVER6], NETWORK, {})
    assert (probe.destination, probe.nat, probe.oif) == (SERVER6, None, "lan")
    ((_, moved),) = probes_of(opening(f"[{SERVER6}]:80", "tcp/8080"), [SERVER6], NETWORK, {})
    assert (moved.destination, moved.nat) == (OUTSIDE6, Nat(SERVER6, 80))


def test_a_pinhole_needs_no_address_of_the_wan() -> None:
    bare = replace(NETWORK, wans=(replace(NETWORK.wans[0], addresses4=(), addresses6=()),))
    pinhole = opening(f"[{SERVER6}]:80", "tcp/80")
    assert [probe.destination for _, probe in probes_of(pinhole, [SERVER6], bare, {})] == [SERVER6]
    assert codes(pinhole, bare, QUIET, SERVER6) == []


def test_a_relay_is_reached_on_this_machine_wherever_it_leads() -> None:
    relayed = opening("192.168.1.10:80", "tcp/8080", plane="relay")
    probes = [probe for _, probe in probes_of(relayed, [SERVER], NETWORK, {})]
    assert [(each.destination, each.way, each.nat) for each in probes] == [
        (OUTSIDE, Way.INPUT, None),
        (OUTSIDE6, Way.INPUT, None),
    ]


def test_one_interface_only() -> None:
    on = replace(WEB, on=Interface("second"))
    assert [probe.iif for _, probe in probes_of(on, [SERVER], TWO, {})] == ["second"]
    assert [probe.sure_route for _, probe in probes_of(on, [SERVER], TWO, {})] == [False]


def test_sources_that_may_come_in() -> None:
    limited = opening("192.168.1.10:80", "tcp/8080", sources="198.51.100.0/24,192.168.1.0/24,2001:db8::/64")
    assert [str(probe.source) for _, probe in probes_of(limited, [SERVER], NETWORK, {})] == ["198.51.100.1"]


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("code", WORDS)
def test_both_languages_name_the_same_facts(code: str) -> None:
    english, japanese = WORDS[code]["en"], WORDS[code]["ja"]
    assert fields("".join(english)) == fields("".join(japanese))
    assert english[0][0].islower() or english[0].startswith("{")
    assert english[1].endswith(".")
    assert japanese[1].endswith("。")


@pytest.mark.parametrize("words", EXPLAINS.values(), ids=EXPLAINS)
def test_remedies_explain_themselves_in_both(words: Mapping[str, str]) -> None:
    assert words["en"].endswith(".")
    assert words["ja"].endswith("。")


def test_a_finding_reads_as_sentences() -> None:
    (found,) = diagnose(WEB, [SERVER], NETWORK, Machine(forward([DROP])))
    assert isinstance(found, Finding)
    assert found.title["en"] == (
        "tcp/8080 does not get through: a rule of nftables in the chain c drops it "
        "(inet other c: drop # handle 2)"
    )
    assert "tcp/8080 は届きません" in found.title["ja"]
