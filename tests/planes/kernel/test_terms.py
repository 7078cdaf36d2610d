"""What the kernel plane says it cannot make, and what stands in its way on this machine."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import replace
from typing import Any

import pytest

from sekimori.host.listeners import Listener
from sekimori.model.network import Network
from sekimori.planes.kernel.terms import busy, find_listener, find_taken, why_unable, why_unfit
from sekimori.testing.ports import free_ports

from .tracked import NETWORK, wanted

SERVER, SERVER6 = "192.168.1.10", "2001:db8:3::10"
WITHOUT = {
    "no line": replace(NETWORK, wans=()),
    "no home": replace(NETWORK, lans=()),
    "no forwarding": replace(NETWORK, forwarding4=False, forwarding6=False),
    "nothing": Network(),
}


@pytest.mark.parametrize(
    ("ports", "to", "words", "said"),
    [
        ("tcp/80", SERVER, {}, None),
        ("tcp/80", SERVER6, {}, None),
        ("tcp/80", "::10/-64", {}, None),
        ("tcp/22", "self", {}, None),
        ("tcp/80", "nas.lan", {}, None),
        ("udp/3000", "trigger", {}, None),
        ("tcp/80", SERVER, {"on": "wan1"}, None),
        ("tcp/80", SERVER, {"on": "203.0.113.3"}, None),
        ("tcp/80", SERVER, {"on": "0.0.0.0"}, None),
        ("tcp/80", SERVER, {"proxy_protocol": 2}, "PROXY"),
        ("tcp/80", SERVER, {"idle": 60}, "idle"),
        ("tcp/80", "self 8080", {}, "keeps its port"),
        ("tcp/80", "localhost", {}, "localhost"),
        ("tcp/80", "192.168.1.1", {}, "192.168.1.1"),
        ("tcp/80", "203.0.113.3", {}, "203.0.113.3"),
        ("tcp/80", "198.51.100.10", {}, "198.51.100.10"),
        ("tcp/80", SERVER, {"on": "eth9"}, "eth9"),
        ("tcp/80", SERVER, {"on": "192.168.1.1"}, "192.168.1.1"),
        ("tcp/80", SERVER6, {"on": "203.0.113.2"}, "203.0.113.2"),
        ("tcp/80", SERVER, {"on": "2001:db8:2::2"}, "2001:db8:2::2"),
        ("tcp/80", "::10/-64", {"on": "2001:db8:2::2"}, ""),
    ],
)
def test_what_it_can_and_cannot(ports: str, to: str, words: dict[str, Any], said: str | None) -> None:
    why = why_unable(wanted("m1", ports, to, **words).mapping, NETWORK)
    if said is None:
        assert why is None
    else:
        assert why is not None
        assert said in why["en"]
        assert why["ja"]
        assert why["ja"] != why["en"]


@pytest.mark.parametrize("lack", WITHOUT)
def test_what_the_network_lacks(lack: str) -> None:
    network = WITHOUT[lack]
    for to in (SERVER, SERVER6, "nas.lan", "::10/-64"):
        assert why_unable(wanted("m1", "tcp/80", to).mapping, network) is not None, to
    permit = why_unable(wanted("m1", "tcp/80", "self").mapping, network)
    assert (permit is None) == bool(network.wans)


@pytest.mark.parametrize(
    ("targets", "on", "fits"),
    [
        ((SERVER,), None, True),
        ((SERVER, SERVER6), None, True),
        ((SERVER, "198.51.100.10"), None, True),
        (("198.51.100.10", SERVER6), None, True),
        (("198.51.100.10",), None, False),
        (("192.168.1.1",), None, False),
        ((SERVER6,), "203.0.113.2", False),
        ((SERVER6, SERVER), "203.0.113.2", True),
    ],
)
def test_what_a_name_leads_to_may_not_fit(targets: tuple[str, ...], on: str | None, fits: bool) -> None:
    problem = why_unfit(wanted("m1", "tcp/80", "nas.lan", targets=targets, on=on), NETWORK)
    assert (problem is None) == fits
    assert problem is None or problem.code == "kernel-unable"


@pytest.mark.parametrize(
    ("ports", "words", "listens", "taken"),
    [
        ("tcp/80", {}, ("tcp", "0.0.0.0", 80), True),
        ("tcp/80", {}, ("udp", "0.0.0.0", 80), False),
        ("tcp/80", {}, ("tcp", "0.0.0.0", 81), False),
        ("tcp/80", {}, ("tcp", "127.0.0.1", 80), False),
        ("tcp/70-90", {}, ("tcp", "203.0.113.2", 80), True),
        ("tcp/80", {"on": "203.0.113.2"}, ("tcp", "203.0.113.3", 80), False),
        ("tcp/80", {"on": "203.0.113.2"}, ("tcp", "::", 80), True),
        ("tcp/80", {"on": "wan0"}, ("tcp", "203.0.113.2", 80), True),
    ],
)
def test_a_service_here_that_would_lose_its_port(
    ports: str, words: dict[str, Any], listens: tuple[str, str, int], taken: bool
) -> None:
    listener = Listener(listens[0], ipaddress.ip_address(listens[1]), listens[2])
    mapping = wanted("m1", ports, SERVER, **words).mapping
    assert find_listener(mapping, [listener]) == (("tcp/80", listener) if taken else None)
    assert find_listener(wanted("m1", ports, "self").mapping, [listener]) is None, "a permit takes no port"
    assert find_listener(wanted("m1", "tcp/80", SERVER6).mapping, [listener]) is None or taken


def test_what_leaves_excuses_its_own_ports_only() -> None:
    one, other = (Listener("tcp", ipaddress.ip_address("0.0.0.0"), port) for port in (80, 81))
    old, new = wanted("m1", "tcp/80", SERVER).mapping, wanted("m1", "tcp/80-81", SERVER).mapping
    assert find_listener(new, [one], [old]) is None
    assert find_listener(new, [one, other], [old]) == ("tcp/81", other)
    assert find_listener(new, [one, other], [old, wanted("m2", "udp/81", SERVER).mapping]) == (
        "tcp/81",
        other,
    )


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_a_real_listener_is_found_and_told_by_name(address: str) -> None:
    port = free_ports()
    mapping = wanted("m1", f"tcp/{port}", SERVER).mapping
    assert find_taken(mapping) is None
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family):
        found = find_taken(mapping)
        assert found is not None
        assert found[0] == f"tcp/{port}"
        assert find_taken(mapping, [mapping]) is None
        problem = busy(*found)
        assert problem is not None
        assert str(port) in problem.title()
        assert "python" in problem.title() or "pytest" in problem.title()
    assert find_taken(mapping) is None
