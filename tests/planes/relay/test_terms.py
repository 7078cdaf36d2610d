"""What of a mapping's terms the relay is able to make, and the sockets it then needs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from sekimori.model.address import IpProtocol, parse_on, parse_ports, parse_spans
from sekimori.model.destination import Destinations
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind, Trigger
from sekimori.model.socks import SocksTerms, Verifier
from sekimori.model.source import Sources
from sekimori.model.target import Target, pair_ports
from sekimori.planes.relay.entry import Entry, Listen, Socks
from sekimori.planes.relay.obstacles import find_inability, find_loop
from sekimori.planes.relay.render import MOST_PORTS, listens_of, render
from sekimori.reconcile.ports import Wanted
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
    if mapping.at is not None:
        assert listens == []
    elif find_inability(mapping) is None:
        sizes = [pair.outside.size if pair.protocol.has_ports else 1 for pair in mapping.ports]
        assert len(listens) == sum(sizes)
    else:
        carried = {str(each) for each in (IpProtocol.TCP, IpProtocol.UDP, IpProtocol.UNIX)}
        assert {each.protocol for each in listens} <= carried


def test_an_interface_has_no_sockets_here_and_no_loop() -> None:
    mapping = make("80", "127.0.0.1", on=parse_on("eth1"))
    assert list(listens_of(mapping, dual=True)) == []
    assert find_loop(mapping) is None


# -- what the workers are told ------------------------------------------------------------


def rendered(mapping: Mapping, *targets: str, own: tuple[str, ...] = ()) -> Entry:
    return render(Wanted(mapping, None, targets, None, 60.0), dual=False, own=own)


def test_through_a_link_the_far_end_is_asked_for_the_target_as_it_stands() -> None:
    entry = rendered(make(to="db.example", via="vps", path=(Hop("relay"), Hop("link", "vps"))), "db.example")
    assert (entry.carrier, entry.arrivals, entry.targets) == ("vps", None, ("db.example",))
    assert entry.listens == (Listen("tcp", "0.0.0.0", 8080, 80),)


def test_at_a_link_the_listens_are_the_far_ends() -> None:
    path = (Hop("link", "vps"), Hop("relay"))
    mapping = make("tcp+udp/8080:80", at="vps", path=path)
    entry = rendered(mapping, "192.168.1.5")
    assert (entry.carrier, entry.arrivals, entry.sockets) == (None, "vps", ())
    assert entry.listens == (Listen("tcp", "", 8080, 80), Listen("udp", "", 8080, 80))
    named = rendered(replace(mapping, on=parse_on("203.0.113.1")), "192.168.1.5")
    assert named.listens[0].address == "203.0.113.1"
    assert list(listens_of(mapping, dual=True)) == []
    assert find_loop(replace(mapping, target=Target.parse_host("127.0.0.1"))) is None


def test_a_clients_own_port_is_dialled_by_its_door() -> None:
    mapping = make("8080", to="client", path=(Hop("relay"), Hop("link", "@ssh")))
    assert rendered(mapping, "*").carrier == "@ssh"


def test_clients_that_name_their_destination() -> None:
    socks = SocksTerms((Verifier("alice", "scrypt$x"),), Destinations.parse("*:443,db.example"))
    mapping = make("1080", to="socks", socks=socks, path=(Hop("relay"),))
    own = ("192.168.1.0/24",)
    entry = rendered(mapping, "*", own=own)
    assert entry.carrier == "@direct"
    assert entry.socks == Socks((("alice", "scrypt$x"),), ("*:443", "db.example"), own)
    far = rendered(replace(mapping, path=(Hop("relay"), Hop("link", "vps"))), "*", own=own)
    assert (far.carrier, far.socks) == ("vps", Socks((("alice", "scrypt$x"),), ("*:443", "db.example")))


def test_unix_sockets_on_either_side() -> None:
    mapping = make("unix:5432", to="db.example", on=parse_on("unix:/run/in.sock"))
    assert find_inability(mapping) is None
    assert find_loop(mapping) is None
    assert rendered(mapping, "192.0.2.1").listens == (Listen("unix", "/run/in.sock", 0, 5432),)
    both = make("unix", to="unix:/run/app.sock", on=parse_on("unix:/run/in.sock"))
    entry = rendered(both, "/run/app.sock")
    assert (entry.listens, entry.targets) == ((Listen("unix", "/run/in.sock", 0, 0),), ("/run/app.sock",))
    far = rendered(replace(both, at="vps", path=(Hop("link", "vps"), Hop("relay"))), "/run/app.sock")
    assert (far.listens, far.arrivals) == (entry.listens, "vps")
