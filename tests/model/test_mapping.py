"""The one record and its document."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekimori.model.address import (
    WHOLE,
    Interface,
    IpProtocol,
    On,
    PortPair,
    PortRange,
    parse_ports,
    parse_spans,
)
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Asked, Lifetime
from sekimori.model.link import check_link_name, client_away
from sekimori.model.mapping import (
    Claim,
    Hop,
    Mapping,
    MappingKind,
    Owner,
    OwnerKind,
    Trigger,
    check_name,
    fold_fields,
)
from sekimori.model.schedule import Schedule
from sekimori.model.source import Sources
from sekimori.model.target import Target, pair_ports
from sekimori.model.user import check_user_name
from sekimori.testing.strategies import claims, mappings, owners

NOW = 1_800_000_000.0


def make(**given: Any) -> Mapping:
    mapping = Mapping(
        id="01",
        name="web",
        owner=Owner(OwnerKind.PERSON, "alice"),
        ports=(PortPair(IpProtocol.TCP, PortRange(8080, 8080), PortRange(80, 80)),),
        target=Target.parse_host("192.168.1.5"),
        sources=Sources.parse("lan"),
        lifetime=Lifetime.lasting(3600, NOW),
    )
    return replace(mapping, **given)


def test_owners_are_told_in_both_languages() -> None:
    assert Owner(OwnerKind.PERSON, "root").label == {"en": "root", "ja": "root"}
    assert Owner(OwnerKind.FILE, "/etc/s.toml").label == {
        "en": "the file /etc/s.toml",
        "ja": "ファイル /etc/s.toml",
    }
    labels = [Owner(kind, "{x}").label for kind in OwnerKind]
    assert len({label["ja"] for label in labels}) == len(OwnerKind)
    assert all("{x}" in text for label in labels for text in label.values())


def test_fields_of_a_document_are_told_in_the_words_of_the_cli() -> None:
    document = make().to_document()
    assert fold_fields(["from", "asked", "asked_value", "expires_at", "zone"]) == ["from", "until", "hours"]
    assert set(fold_fields(document)) & {"asked", "asked_value", "expires_at", "zone"} == set()


@settings(max_examples=50, deadline=None)
@given(mappings())
def test_a_document_is_read_back(mapping: Mapping) -> None:
    document = mapping.to_document()
    again = Mapping.from_document(json.loads(json.dumps(document)))
    assert again == mapping
    assert again.to_document() == document


NEWER = {"trigger", "hold", "except", "log"}
"""Keys that documents of earlier versions do not have."""


def test_a_document_of_an_earlier_version_is_read() -> None:
    document = {key: value for key, value in make().to_document().items() if key not in NEWER}
    assert Mapping.from_document(document) == make()


def test_a_trigger_an_exception_and_a_log_stand_in_the_document() -> None:
    trigger = Trigger(parse_spans("udp/3000,tcp/6667"), 90)
    document = make(trigger=trigger, excepted=parse_spans("443,gre"), log=True).to_document()
    assert {key: document[key] for key in sorted(NEWER)} == {
        "except": "gre,tcp/443",
        "hold": "1m30s",
        "log": True,
        "trigger": "tcp/6667,udp/3000",
    }
    plain = make().to_document()
    assert [plain[key] for key in ("trigger", "hold", "except", "log")] == [None, None, None, False]


@pytest.mark.parametrize("key", sorted(make().to_document().keys() - NEWER))
def test_a_document_without_a_key_is_refused(key: str) -> None:
    document = make().to_document()
    del document[key]
    if key == "zone":  # only read where there are hours
        document["hours"] = "daily/09:00-10:00"
    with pytest.raises(KeyError):
        Mapping.from_document(document)


@pytest.mark.parametrize("name", ["a", "Web-1", "x.y_z", "A" * 63, "kids-pc"])
def test_names_are_taken_as_given(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1web",
        "-a",
        "a b",
        "a/b",
        "a:b",
        "A" * 64,
        "ウェブ",
        "anyone",
        "LAN",
        "Self",
        "auto",
        "none",
        "trigger",
        "a\n",
    ],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(Problem) as caught:
        check_name(name)
    assert caught.value.code == "bad-name"


@pytest.mark.parametrize(
    ("check", "most"),
    [(check_name, 63), (check_link_name, 31), (check_user_name, 32)],
    ids=["mapping", "link", "user"],
)
def test_of_a_name_that_is_too_long_it_is_told_how_long_it_may_be(
    check: Callable[[str], str], most: int
) -> None:
    assert check("a" * most) == "a" * most
    with pytest.raises(Problem) as refused:
        check("a" * (most + 1))
    assert f"{most} at most" in refused.value.fix()
    assert f"{most} 文字まで" in refused.value.fix("ja")


def test_until_when_a_port_waits_for_its_client_is_told_as_people_write_it() -> None:
    away = client_away(make(lifetime=Lifetime(Asked.UNTIL, "-", 1_796_148_000)))
    assert "until 2026-12-01 18:00 UTC," in away.fix()
    assert "ポートは2026-12-01 18:00 UTC まで" in away.fix("ja")


@given(owners())
def test_owners_are_read_back(owner: Owner) -> None:
    assert Owner.parse(str(owner)) == owner


def test_an_owner_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="ghost"):
        Owner.parse("ghost:x")


@pytest.mark.parametrize("hop", [Hop("relay"), Hop("link", "office"), Hop("link", "a@b")])
def test_hops_are_read_back(hop: Hop) -> None:
    assert Hop.parse(str(hop)) == hop


def _arrivals(claim: Claim) -> set[tuple[str, int, str]]:
    """Where a claim's packets may arrive, on a machine with a few addresses of each family."""
    texts = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")
    here = [ipaddress.ip_address(text) for text in texts]
    on: list[On]
    if claim.on is None:
        on = [*here]
    elif isinstance(claim.on, Interface):
        on = [*here] if claim.on == WAN else []
    elif claim.on.is_unspecified:
        on = [address for address in here if address.version == claim.on.version]
    else:
        on = [claim.on]
    ports = claim.pair.outside if claim.pair.protocol.has_ports else (0,)  # it is claimed whole
    return {(f"{claim.at}/{claim.pair.protocol}", port, str(address)) for port in ports for address in on}


WAN = Interface("ppp0")
"""The interface that has all of the addresses."""

_HERE = st.sampled_from(
    [None, WAN, *map(ipaddress.ip_address, ("192.0.2.1", "192.0.2.2", "2001:db8::1", "0.0.0.0", "::"))]
)


_PORTED = claims().filter(lambda claim: claim.pair.protocol is not IpProtocol.UNIX)


@given(_PORTED, _HERE, _PORTED, _HERE)
def test_claims_overlap_when_a_packet_could_be_for_both(one: Claim, a: Any, other: Claim, b: Any) -> None:
    one, other = replace(one, on=a), replace(other, on=b)
    expected = bool(_arrivals(one) & _arrivals(other))
    assert one.overlaps(other) is expected
    assert other.overlaps(one) is expected


@pytest.mark.parametrize(
    ("on", "other", "overlap"),
    [
        (WAN, WAN, True),
        (WAN, Interface("eth1"), False),
        (WAN, None, True),
        (WAN, ipaddress.ip_address("0.0.0.0"), True),
        (WAN, ipaddress.ip_address("2001:db8::99"), True),  # it may have that address tomorrow
    ],
)
@pytest.mark.parametrize("protocol", IpProtocol)
def test_an_interface_may_have_any_address(on: Any, other: Any, overlap: bool, protocol: IpProtocol) -> None:
    ports = PortRange(80, 80) if protocol.has_ports else WHOLE
    one, two = (Claim(PortPair(protocol, ports, ports), each) for each in (on, other))
    assert one.overlaps(two) is two.overlaps(one) is overlap


def test_protocols_are_claimed_apart() -> None:
    claims_of = {each: Claim(PortPair(each, WHOLE, WHOLE), None) for each in IpProtocol}
    overlapping = {(a, b) for a in IpProtocol for b in IpProtocol if claims_of[a].overlaps(claims_of[b])}
    assert overlapping == {(each, each) for each in IpProtocol}


def test_a_claim_without_ports_is_told_by_its_protocol() -> None:
    gre = pair_ports(parse_ports("gre"), None, "self")
    assert str(make(ports=gre, on=WAN).claims[0]) == "gre on ppp0"


KERNEL, RELAY = (Hop("kernel"),), (Hop("relay"),)
TRIGGER = Trigger(parse_spans("6667"), 600)


@pytest.mark.parametrize(
    ("ports", "to", "more", "kind"),
    [
        ("8080:80", "192.168.1.5", {}, "forward"),
        ("80", "192.168.1.5", {"path": KERNEL}, "forward"),
        ("80", "self", {}, "permit"),
        ("80", "self", {"path": KERNEL}, "permit"),
        ("80", "self", {"path": RELAY}, "forward"),
        ("8080:80", "self", {"path": KERNEL}, "forward"),
        ("gre", "self", {"path": KERNEL}, "permit"),
        ("gre", "192.168.1.5", {}, "forward"),
        ("80", "2001:db8::5", {"path": KERNEL}, "pinhole"),
        ("80", "2001:db8::5", {"path": RELAY}, "forward"),
        ("80", "2001:db8::5", {"path": KERNEL, "on": ipaddress.ip_address("::")}, "forward"),
        ("8080:80", "2001:db8::5", {"path": KERNEL}, "forward"),
        ("80", "::5/-64", {}, "pinhole"),
        ("80", "nas.lan", {"path": KERNEL}, "forward"),
        ("80", "device:nas", {"path": KERNEL}, "forward"),
        ("dmz", "192.168.1.5", {}, "dmz"),
        ("dmz", "2001:db8::5", {"path": KERNEL}, "dmz"),
        ("113", "trigger", {"trigger": TRIGGER}, "trigger"),
    ],
)
def test_the_kind_follows_from_the_terms(ports: str, to: str, more: dict[str, Any], kind: str) -> None:
    pairs = pair_ports(parse_ports(ports), None, to)
    found = make(ports=pairs, target=Target.parse_host(to), **more).kind
    assert found is MappingKind(kind)


def test_claims_are_told_with_their_address() -> None:
    claim = make(on=ipaddress.ip_address("192.0.2.1")).claims[0]
    assert str(claim) == "tcp/8080 on 192.0.2.1"
    assert str(make().claims[0]) == "tcp/8080"


def test_wants_open_and_its_next_change() -> None:
    mapping = make()
    end = mapping.lifetime.expires_at
    assert mapping.wants_open(NOW)
    assert mapping.next_change(NOW) == end
    assert not mapping.wants_open(NOW + 3600)
    assert mapping.next_change(NOW + 3600) is None
    assert not make(paused=True).wants_open(NOW)
    assert make(paused=True).next_change(NOW) == end
    assert make(lifetime=Lifetime.permanent("why")).next_change(NOW) is None


def test_hours_change_it_before_its_end() -> None:
    hours = Schedule.parse("daily/08:00-08:30", "UTC")  # NOW is 08:00 UTC
    mapping = make(schedule=hours)
    assert mapping.wants_open(NOW)
    assert mapping.next_change(NOW) == NOW + 1800
    assert not mapping.wants_open(NOW + 1800)
    assert mapping.next_change(NOW + 1800) == mapping.lifetime.expires_at
    # Hours of one that is paused change nothing: it only ends.
    assert replace(mapping, paused=True).next_change(NOW) == mapping.lifetime.expires_at


def test_the_target_is_told_with_its_port_where_one_suffices() -> None:
    assert make().target_text == "192.168.1.5:80"
    two = (*make().ports, PortPair(IpProtocol.TCP, PortRange(81, 81), PortRange(81, 81)))
    assert make(ports=two).target_text == "192.168.1.5"
    assert make(target=Target.parse_host("2001:db8::5")).target_text == "[2001:db8::5]:80"
    for ports in ("gre", "tcp/1723,gre"):  # where there are no ports, none are shown
        assert make(ports=pair_ports(parse_ports(ports), None, "")).target_text == "192.168.1.5"
