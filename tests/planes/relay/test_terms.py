"""What of a mapping's terms the relay is able to make, and the sockets it then needs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from sekimori.model.address import IpProtocol, parse_on, parse_ports, parse_spans
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Mapping, Owner, OwnerKind, Trigger
from sekimori.model.source import Sources
from sekimori.model.target import Target, pair_ports
from sekimori.planes.relay.obstacles import find_inability, find_loop
from sekimori.planes.relay.render import MOST_PORTS, listens_of
from sekimori.testing.strategies import mappings


def make(ports: str = "8080:80", to: str = "192.168.1.5", **fields: object) -> Mapping:
    mapping = Mapping(
        id="m1",
        name="web",
        owner=Owner(OwnerKind.PERSON, "alice"),
        ports=pair_ports(parse_ports(ports), None, to),
        target=Target.parse_host(to),
        sources=Sources.parse("lan"),
        lifetime=Lifetime.lasting(3600, 0),
    )
    return replace(mapping, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mapping", "word"),
    [
        (make("dmz"), "a DMZ host"),
        (make("80", "trigger", trigger=Trigger(parse_spans("81"), 60)), "a trigger"),
        (make("80", "::10/-64"), "a pinhole"),
        (make("gre,esp"), "esp, gre"),
        (make("sctp/80"), "sctp"),
        (make(on=parse_on("eth1")), "eth1"),
        (make(log=True), "--log"),
        (make(f"1-{MOST_PORTS + 1}"), str(MOST_PORTS + 1)),
        (make("80", "self"), "it would lead to itself"),
        (make("80", "127.0.0.1", on=parse_on("0.0.0.0")), "it would lead to itself"),
    ],
)
def test_what_it_cannot_make_is_told_in_both_languages(mapping: Mapping, word: str) -> None:
    why = find_inability(mapping)
    assert why is not None
    assert word in why["en"]
    assert "kernel" in why["en"]
    assert "kernel" in why["ja"]


@pytest.mark.parametrize(
    "mapping",
    [
        make(),
        make(f"1-{MOST_PORTS}"),
        make("tcp+udp/53", "device:nas"),
        make("8080:80", "self"),
        make("80", "self", on=parse_on("192.0.2.1")),
        make("80", "2001:db8::5"),
        make(proxy_protocol=2),
    ],
)
def test_what_it_can_make(mapping: Mapping) -> None:
    assert find_inability(mapping) is None


@settings(max_examples=100, deadline=None)
@given(mappings())
def test_it_needs_a_socket_for_each_port_of_what_it_can_make(mapping: Mapping) -> None:
    listens = list(listens_of(mapping, dual=True))
    if find_inability(mapping) is None:
        assert len(listens) == sum(pair.outside.size for pair in mapping.ports)
    else:
        carried = {str(each) for each in (IpProtocol.TCP, IpProtocol.UDP)}
        assert {each.protocol for each in listens} <= carried


def test_an_interface_has_no_sockets_here_and_no_loop() -> None:
    mapping = make("80", "127.0.0.1", on=parse_on("eth1"))
    assert list(listens_of(mapping, dual=True)) == []
    assert find_loop(mapping) is None
