"""The index of mappings, against looking at each."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.claim import Claim
from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import Sources
from sekimori.model.target import Target, TargetKind
from sekimori.testing.strategies import claims

ALICE = Owner(OwnerKind.PERSON, "alice")


def make(mapping_id: str, *ports: str, **given: Any) -> Mapping:
    pairs = []
    for text in ports or ("tcp/80",):
        protocol, _, span = text.partition("/")
        span_read = PortRange.parse(span)
        pairs.append(PortPair(IpProtocol[protocol.upper()], span_read, span_read))
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


HOSTS = ("192.168.1.5", "nas.lan", "tv.lan", "device:nas", "self")
PLANES = ("relay", "kernel")
OFFICES = [NamedList("office", ALICE, (ipaddress.ip_network(f"192.0.2.{n}/32"),)) for n in range(3)]


@st.composite
def _mappings(draw: st.DrawFn, mapping_id: str) -> Mapping:
    """Mappings that share few names, targets, planes and ports, wide ones among them."""
    ports = draw(st.sampled_from([("tcp/80",), ("tcp/80-90", "udp/53"), ("tcp/60-1200",), ("udp/40-4000",)]))
    return make(
        mapping_id,
        *ports,
        name=draw(st.sampled_from(("web", "Web", "games", mapping_id))),
        target=Target.parse_host(draw(st.sampled_from(HOSTS))),
        path=draw(st.sampled_from([(), *((Hop(plane),) for plane in PLANES)])),
    )


@st.composite
def _steps(draw: st.DrawFn) -> list[tuple[int, str, Mapping | None]]:
    """Which snapshot to change, which id, and what stands there afterwards."""
    keys = draw(
        st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["01", "02", "03", "04"])), max_size=12)
    )
    return [(which, key, draw(st.none() | _mappings(key))) for which, key in keys]


def _put(snapshot: Snapshot, model: dict[str, Mapping], key: str, after: Mapping | None) -> None:
    before = model.pop(key, None)
    if before is None and after is None:
        return
    snapshot.apply(made(before, after))
    if after is not None:
        model[key] = after


def _answers(snapshot: Snapshot) -> dict[str, Any]:
    """What a snapshot says to every question, in no order."""
    probe = make("probe", "tcp/50-2000", "udp/53")
    names = ("web", "games", "01", "02", "03", "04", "none")
    targets = [Target.parse_host(host) for host in HOSTS]
    return {
        "all": {mapping.id: mapping for mapping in snapshot},
        "size": len(snapshot),
        "by id": {key: snapshot.get(key) for key in ("01", "02", "03", "04", "05")},
        "by name": {name: {each.id for each in snapshot.namesakes(name)} for name in names},
        "is named": {name: snapshot.named(name) is not None for name in names},
        "by plane": {plane: {each.id for each in snapshot.by_plane(plane)} for plane in (*PLANES, "none")},
        "by target": {target: {each.id for each in snapshot.leading_to(target)} for target in targets},
        "hosts": {kind: snapshot.hosts(kind) for kind in TargetKind},
        "rivals": _rivals(snapshot, probe),
        "found": {ref: _found(snapshot, ref) for ref in ("tcp/80", "53", "60-1200", "udp/40-4000")},
        "lists": (dict(snapshot.lists), set(snapshot.named_lists)),
    }


def _found(snapshot: Snapshot, ref: str) -> str | None:
    try:
        return snapshot.find(ref).id
    except Problem:
        return None


@settings(deadline=None)
@given(_steps(), st.lists(st.tuples(st.integers(0, 2), st.sampled_from([None, *OFFICES])), max_size=4))
def test_a_fork_says_what_a_snapshot_of_its_own_would_whatever_its_origin_does(
    steps: list[tuple[int, str, Mapping | None]], defined: list[tuple[int, NamedList | None]]
) -> None:
    # An origin, a fork of it and a fork of that one, each changed in turn, against three dictionaries.
    start = make("01", "tcp/80", name="web", path=(Hop("relay"),))
    origin = Snapshot([start])
    fork = origin.fork()
    snapshots = [origin, fork, fork.fork()]
    models: list[dict[str, Mapping]] = [{"01": start} for _ in snapshots]
    lists: list[NamedList | None] = [None, None, None]
    for which, key, after in steps:
        _put(snapshots[which], models[which], key, after)
    for which, named in defined:
        if named is not None or lists[which] is not None:
            snapshots[which].apply(Made(Verb.DEFINE, lists[which], named))
            lists[which] = named
    for snapshot, model, named in zip(snapshots, models, lists, strict=True):
        rebuilt = Snapshot(model.values(), [named] if named else [])
        assert _answers(snapshot) == _answers(rebuilt)


def test_a_fork_that_is_gone_is_not_told_any_more() -> None:
    origin = Snapshot([make("01")])
    for _ in range(3):
        fork = origin.fork()
        fork.apply(made(make("01"), None))
        del fork
    assert len(origin._forks) == 0
    origin.apply(made(make("01"), make("01", "tcp/81")))
    assert origin.find("81").id == "01"


def test_mappings_are_known_by_the_plane_that_meets_their_packets_and_by_those_before_it() -> None:
    both = make("01", path=(Hop("router"), Hop("kernel")))
    snapshot = Snapshot([both, make("02", "tcp/81", path=(Hop("relay"),)), make("03", "tcp/82")])
    assert list(snapshot.by_plane("kernel")) == [both]
    assert [each.id for each in snapshot.by_plane("relay")] == ["02"]
    assert len(snapshot.by_plane("router")) == 0
    assert list(snapshot.beyond("router")) == [both]
    fork = snapshot.fork()
    snapshot.apply(made(both, replace(both, path=(Hop("relay"),))))
    assert list(fork.beyond("router")) == [both]
    assert len(snapshot.beyond("router")) == 0
    assert len(snapshot.by_plane("kernel")) == 0
    assert [each.id for each in snapshot.by_plane("relay")] == ["02", "01"]


@pytest.mark.parametrize(
    "path",
    [
        (Hop("relay"), Hop("link", "vps")),
        (Hop("link", "vps"), Hop("relay")),
        (Hop("router"), Hop("relay"), Hop("link", "vps")),
    ],
)
def test_a_link_is_beyond_the_relay_wherever_it_stands_in_the_path(path: tuple[Hop, ...]) -> None:
    mapping = make("01", path=path)
    snapshot = Snapshot([mapping])
    assert list(snapshot.by_plane("relay")) == [mapping]
    assert list(snapshot.beyond("link")) == [mapping]
    assert len(snapshot.by_plane("link")) == 0
    assert len(snapshot.beyond("relay")) == 0
    assert len(snapshot.beyond("router")) == (path[0] == Hop("router"))
    snapshot.apply(made(mapping, None))
    assert len(snapshot.beyond("link")) == 0


def test_a_name_that_is_dialled_beyond_a_link_is_looked_up_over_there() -> None:
    target = Target(TargetKind.NAME, "db.example")
    far = make("01", target=target, path=(Hop("relay"), Hop("link", "vps")))
    at = make("02", "tcp/81", target=target, at="vps", path=(Hop("link", "vps"), Hop("relay")))
    snapshot = Snapshot([far, at])
    assert list(snapshot.leading_to(target)) == [at]
    snapshot.apply(made(at, None))
    assert snapshot.hosts(TargetKind.NAME) == set()
    snapshot.apply(made(far, replace(far, path=(Hop("relay"),))))
    assert snapshot.hosts(TargetKind.NAME) == {"db.example"}


def test_a_target_that_may_move_is_known_while_any_mapping_leads_there() -> None:
    nas = Target.parse_host("nas.lan")
    one, two = make("01", target=nas), make("02", "tcp/81", target=nas)
    snapshot = Snapshot(
        [one, two, make("03", "tcp/82"), make("04", "tcp/83", target=Target.parse_host("self"))]
    )
    assert snapshot.hosts(TargetKind.NAME) == {"nas.lan"}
    assert {each.id for each in snapshot.leading_to(nas)} == {"01", "02"}
    snapshot.apply(made(one, None))
    assert [each.id for each in snapshot.leading_to(nas)] == ["02"]
    snapshot.apply(made(two, replace(two, target=Target.parse_host("192.168.1.6"))))
    assert (snapshot.hosts(TargetKind.NAME), list(snapshot.leading_to(nas))) == (set(), [])
    # An address for good is looked up by nobody.
    assert list(snapshot.leading_to(Target.parse_host("192.168.1.5"))) == []


def test_a_protocol_and_its_port_are_of_one_pair() -> None:
    snapshot = Snapshot([make("01", "udp/80", "tcp/443")])
    assert snapshot.find("udp/80").id == "01"
    with pytest.raises(Problem):
        snapshot.find("tcp/80")


def test_two_wide_ranges_of_one_mapping_may_meet_in_a_block_of_the_index() -> None:
    ranges = make("01", "tcp/1100-1200", "tcp/1300-1400")
    snapshot = Snapshot([ranges, make("02", "tcp/1500-1600")])
    assert _rivals(snapshot, make("new", "tcp/1150"))
    snapshot.apply(made(ranges, None))
    assert not _rivals(snapshot, make("new", "tcp/1150-1350"))
    assert {other for other, _, _ in _rivals(snapshot, make("new", "tcp/1000-2000"))} == {"02"}
