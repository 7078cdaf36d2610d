"""The index of mappings, against looking at each."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Claim, Mapping, Owner, OwnerKind
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import Sources
from sekimori.model.target import Target
from sekimori.testing.strategies import claims

ALICE = Owner(OwnerKind.PERSON, "alice")


def make(mapping_id: str, *ports: str, **given: Any) -> Mapping:
    pairs = []
    for text in ports or ("tcp/80",):
        protocol, _, span = text.partition("/")
        span_read = PortRange.parse(span)
        pairs.append(PortPair(IpProtocol(protocol), span_read, span_read))
    mapping = Mapping(
        id=mapping_id,
        name=f"n{mapping_id}",
        owner=ALICE,
        ports=tuple(pairs),
        target=Target.parse_host("192.168.1.5"),
        sources=Sources.parse("lan"),
        lifetime=Lifetime.permanent("test"),
    )
    return replace(mapping, **given)


def made(before: Mapping | None, after: Mapping | None) -> Made:
    return Made(Verb.CHANGE, before, after)


def _of_claim(mapping_id: str, claim: Claim) -> Mapping:
    return make(mapping_id, on=claim.on, ports=(claim.pair,))


def _rivals(snapshot: Snapshot, mapping: Mapping) -> set[tuple[str, Claim, Claim]]:
    return {(other.id, ours, theirs) for other, ours, theirs in snapshot.rivals(mapping)}


def _brute_rivals(standing: dict[str, Mapping], mapping: Mapping) -> set[tuple[str, Claim, Claim]]:
    return {
        (other.id, ours, theirs)
        for other in standing.values()
        if other.id != mapping.id
        for ours in mapping.claims
        for theirs in other.claims
        if ours.overlaps(theirs)
    }


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.none() | claims()), max_size=20), claims())
def test_rivals_are_what_comparing_all_finds(steps: list[tuple[int, Claim | None]], claim: Claim) -> None:
    # A model in a dictionary takes the same puts, replacements and removals.
    snapshot, model = Snapshot(), dict[str, Mapping]()
    for number, put in steps:
        key = f"0{number}"
        before = model.pop(key, None)
        after = None if put is None else _of_claim(key, put)
        if before is None and after is None:
            continue
        snapshot.apply(made(before, after))
        if after is not None:
            model[key] = after
    assert {mapping.id: mapping for mapping in snapshot} == model
    assert len(snapshot) == len(model)
    for probe in (_of_claim("new", claim), *model.values()):
        assert _rivals(snapshot, probe) == _brute_rivals(model, probe)


def test_a_fork_and_its_origin_leave_each_other_alone() -> None:
    office = NamedList("office", ALICE, (ipaddress.ip_network("192.0.2.0/24"),))
    origin = Snapshot([make("01"), make("02", "udp/1-1000")], [office])
    fork = origin.fork()
    fork.apply(made(make("01"), make("01", "tcp/81", name="other")))
    fork.apply(made(make("02", "udp/1-1000"), None))
    fork.apply(made(None, make("03", "tcp/90")))
    fork.apply(Made(Verb.DEFINE, office, None))

    assert [mapping.name for mapping in origin] == ["n01", "n02"]
    assert origin.find("tcp/80").id == "01"
    assert origin.named("other") is None
    assert origin.list_named("office") == office
    assert _rivals(origin, make("new", "tcp/90")) == set()
    assert len(_rivals(origin, make("new", "udp/500"))) == 1

    origin.apply(made(None, make("04", "tcp/99")))
    assert {mapping.id for mapping in fork} == {"01", "03"}
    assert fork.lists == {}
    assert _rivals(fork, make("new", "tcp/99")) == set()


def test_a_mapping_is_found_by_id_name_or_the_port_it_alone_holds() -> None:
    snapshot = Snapshot(
        [
            make("01", "tcp/80", name="Web"),
            make("02", "tcp/53", "udp/53", name="dns"),
            make("03", "tcp/90", name="a"),
            make("04", "udp/90", name="b"),
            make("05", "udp/7000-7010", name="games"),
        ]
    )
    found = {
        "01": "01",
        "web": "01",
        "WEB": "01",
        "80": "01",
        "tcp/80": "01",
        "53": "02",
        "tcp+udp/53": "02",
        "tcp/90": "03",
        "udp/90": "04",
        "udp/7000-7010": "05",
    }
    assert {ref: snapshot.find(ref).id for ref in found} == found


@pytest.mark.parametrize("ref", ["", "we", "90", "81", "udp/80", "7005", "80,53", "tcp/", "nothing"])
def test_what_is_not_there_or_not_one_is_not_found(ref: str) -> None:
    snapshot = Snapshot([make("01", name="web"), make("03", "tcp/90"), make("04", "udp/90")])
    with pytest.raises(Problem) as caught:
        snapshot.find(ref)
    assert (caught.value.code, caught.value.exit_code) == ("no-such-mapping", 4)


def test_near_names_are_told() -> None:
    with pytest.raises(Problem) as caught:
        Snapshot([make("01", name="minecraft")]).find("minecarft")
    assert "Near: minecraft." in caught.value.fix()


def test_nobody_can_take_anothers_place_by_naming_it_after_an_id() -> None:
    snapshot = Snapshot([make("mabc", name="bank"), make("01", "tcp/81", name="mabc")])
    assert snapshot.find("mabc").name == "bank"


def test_a_renamed_mapping_leaves_its_name_free() -> None:
    snapshot = Snapshot([make("01", name="Old")])
    snapshot.apply(made(make("01", name="Old"), make("01", name="new")))
    assert snapshot.named("old") is None
    assert snapshot.find("NEW").id == "01"


def test_lists_are_defined_and_removed() -> None:
    office = NamedList("office", ALICE, (ipaddress.ip_network("192.0.2.0/24"),))
    wider = replace(office, prefixes=(ipaddress.ip_network("192.0.2.0/23"),))
    snapshot = Snapshot()
    snapshot.apply(Made(Verb.DEFINE, None, office))
    snapshot.apply(Made(Verb.DEFINE, office, wider))
    assert snapshot.lists == {"office": wider.prefixes}
    assert snapshot.named_lists == (wider,)
    snapshot.apply(Made(Verb.DEFINE, wider, None))
    assert snapshot.lists == {}
