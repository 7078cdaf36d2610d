"""What is done to the machine, told step by step."""

from __future__ import annotations

from sekimori.model.gateway import Gateway
from sekimori.model.network import Network
from sekimori.policy.steps import Step, steps_between
from sekimori.testing.machine import FakeMachine
from sekimori.testing.world import ALICE

NETWORK = FakeMachine().network
FOUND = (("net.ipv4.ip_forward", "0"), ("net.ipv6.conf.wan0.accept_ra", "1"))


def gateway(masquerade: bool = True, firewall: bool = False) -> Gateway:
    return Gateway(owner=ALICE.actor, masquerade=masquerade, firewall=firewall, found=FOUND)


def told(steps: tuple[Step, ...]) -> list[str]:
    return [step.text["en"] for step in steps]


def test_enabling_sets_the_kernel_then_translates_then_drops() -> None:
    steps = steps_between(None, gateway(firewall=True), NETWORK)
    assert [step.kind for step in steps] == ["sysctl", "sysctl", "masquerade", "firewall", "firewall"]
    assert told(steps)[:3] == [
        "set net.ipv6.conf.wan0.accept_ra from 1 to 2",
        "set net.ipv4.ip_forward from 0 to 1",
        "send what LAN lan0 (192.168.1.0/24) sends out by wan0 (203.0.113.5) under the address of that "
        "interface (IPv4)",
    ]
    assert steps[0].facts == {"name": "net.ipv6.conf.wan0.accept_ra", "from": "1", "to": "2"}
    assert steps[2].facts == {"lan": "lan0", "prefixes": ["192.168.1.0/24"], "wan": "wan0"}
    assert [step.facts for step in steps[3:]] == [
        {"hook": "forward", "wans": ["wan0"]},
        {"hook": "input", "wans": ["wan0"]},
    ]
    assert all("wan0" in text for text in told(steps)[3:])


def test_disabling_takes_all_of_it_back_the_other_way_round() -> None:
    steps = steps_between(gateway(firewall=True), None, NETWORK)
    assert [step.kind for step in steps] == ["masquerade", "firewall", "firewall", "sysctl", "sysctl"]
    assert told(steps)[-2:] == [
        "set net.ipv4.ip_forward from 1 to 0",
        "set net.ipv6.conf.wan0.accept_ra from 2 to 1",
    ]


def test_a_change_tells_only_what_changes() -> None:
    assert [step.kind for step in steps_between(gateway(), gateway(firewall=True), NETWORK)] == [
        "firewall"
    ] * 2
    assert [step.kind for step in steps_between(gateway(), gateway(masquerade=False), NETWORK)] == [
        "masquerade"
    ]
    assert steps_between(gateway(), gateway(), NETWORK) == ()
    assert steps_between(None, None, NETWORK) == ()


def test_between_nothing_the_firewall_is_told_all_the_same() -> None:
    steps = steps_between(None, gateway(firewall=True), Network())
    assert [step.kind for step in steps] == ["sysctl", "sysctl", "firewall", "firewall"]
    assert "any WAN" in steps[2].text["en"]
    assert "すべての WAN" in steps[2].text["ja"]
