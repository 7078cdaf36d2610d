"""Which flows belong to which mapping, and which a change cuts: tables of near misses."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from sekimori.model.lifetime import Lifetime
from sekimori.model.limits import Limits, Rate
from sekimori.planes.kernel.flows import (
    Cutting,
    Ground,
    admitted,
    is_labelled,
    may_cut,
    orphans,
    share_out,
    to_cut,
)
from sekimori.planes.kernel.frame import DMZ_LABEL, PERMIT_LABEL
from sekimori.planes.kernel.lookup import EVERYTHING, Index, questions
from sekimori.planes.kernel.places import Prefixes
from sekimori.reconcile.ports import Wanted
from sekimori.wire.conntrack import IPV4, Entry

from .misses import (
    BOTH,
    DMZ,
    ENTRIES,
    FLOWS,
    GAME,
    HOLE,
    IPSEC,
    LINE,
    MAPPINGS,
    NAT66,
    RANGE,
    SHELL,
    STREAM,
    SUFFIX,
    TOO_ONLY,
    TRIGGER,
    TUNNEL,
    WEB,
)
from .tracked import (
    ESP,
    GATEWAY,
    GRE,
    NETWORK,
    NOW,
    OTHER,
    SCTP,
    STRANGER,
    TCP,
    TOO,
    UDP,
    VISITOR,
    VISITOR6,
    WAN,
    WAN6,
    flow,
    wanted,
)


def names(cut: list[Entry]) -> set[str]:
    """What the cut flows are called above."""
    by_id = {entry.id: name for name, (_, entry) in FLOWS.items()}
    found = [by_id[entry.id] for entry in cut]
    assert len(found) == len(set(found)), "a flow is cut once"
    return set(found)


def of(name: str) -> set[str]:
    return {each for each, (owner, _) in FLOWS.items() if owner == name}


@pytest.mark.parametrize("each", MAPPINGS, ids=lambda each: each.mapping.id)
def test_closing_cuts_all_of_the_mapping_and_nothing_else(each: Wanted) -> None:
    left = [one for one in MAPPINGS if one is not each]
    assert names(to_cut(each, None, ENTRIES, NETWORK, left)) == of(each.mapping.id)
    assert of(each.mapping.id)


def test_closing_all_at_once_cuts_what_closing_one_by_one_does() -> None:
    owned = {name for name, (owner, _) in FLOWS.items() if owner}
    assert names(Cutting([(each, None) for each in MAPPINGS], NETWORK).cut(ENTRIES)) >= owned
    without_dmz = [each for each in MAPPINGS if each is not DMZ]
    expected = owned - of("dmz")
    assert names(Cutting([(each, None) for each in without_dmz], NETWORK, [DMZ]).cut(ENTRIES)) == expected


def test_every_flow_is_shared_out_to_its_mapping_once() -> None:
    shares = share_out(ENTRIES, {each.mapping.id: each for each in MAPPINGS}, NETWORK, MAPPINGS)
    assert {key: names(entries) for key, entries in shares.items()} == {
        each.mapping.id: of(each.mapping.id) for each in MAPPINGS
    }
    only_dmz = share_out(ENTRIES, {"dmz": DMZ}, NETWORK, MAPPINGS)
    assert {key: names(entries) for key, entries in only_dmz.items()} == {"dmz": of("dmz")}
    assert share_out([], {"dmz": DMZ}, NETWORK, MAPPINGS) == {}


def test_a_flow_of_a_forward_to_the_dmz_host_stays_when_the_dmz_closes() -> None:
    shared = wanted("shared", "tcp/9999", "192.168.1.50")
    entry = flow(TCP, f"{VISITOR} 1", f"{WAN} 9999", to="192.168.1.50 9999")
    assert to_cut(DMZ, None, [entry], NETWORK, [shared]) == []
    assert to_cut(DMZ, None, [entry], NETWORK, [DMZ]) == [entry], "itself is not among the others"
    assert to_cut(shared, None, [entry], NETWORK, [DMZ]) == [entry]


def change(old: Wanted, **fields: Any) -> Wanted:
    """The same mapping with other words."""
    here = {name: value for name, value in fields.items() if name in ("sources", "targets", "accept_until")}
    there = {name: value for name, value in fields.items() if name not in here}
    return replace(old, mapping=replace(old.mapping, **there), **here)


def test_narrower_sources_cut_those_who_may_no_longer_come() -> None:
    mine = flow(TCP, f"{VISITOR} 1", f"{WAN} 443", to="192.168.1.10 443")
    theirs = flow(TCP, f"{STRANGER} 1", f"{WAN} 443", to="192.168.1.10 443")
    hairpin = flow(TCP, "192.168.1.11 1", f"{WAN} 443", to="192.168.1.10 443", snat=f"{GATEWAY} 1")
    from_here = flow(TCP, f"{WAN} 1", f"{WAN} 443", to="192.168.1.10 443")
    other = flow(TCP, f"{STRANGER} 1", f"{WAN} 5136", to="192.168.1.11 25565")
    entries = [mine, theirs, hairpin, from_here, other]
    narrow = change(WEB, sources=(ip_network(f"{VISITOR}/32"),))
    assert to_cut(WEB, narrow, entries, NETWORK) == [theirs, hairpin]
    assert to_cut(narrow, WEB, entries, NETWORK) == []
    nobody = change(WEB, sources=())
    assert to_cut(narrow, nobody, entries, NETWORK) == [mine, theirs, hairpin]


def test_sources_of_one_family_admit_none_of_the_other() -> None:
    four = flow(TCP, f"{VISITOR} 1", f"{WAN} 6000", to="192.168.1.12 6000")
    six = flow(TCP, f"{VISITOR6} 1", "2001:db8:3::12 6000")
    only4 = change(BOTH, sources=(ip_network("0.0.0.0/1"), ip_network("128.0.0.0/1")))
    assert to_cut(BOTH, only4, [four, six], NETWORK) == [six]


def test_leading_elsewhere_cuts_the_flows_to_the_old_target() -> None:
    old = flow(TCP, f"{VISITOR} 1", f"{WAN} 443", to="192.168.1.10 443")
    new = flow(TCP, f"{VISITOR} 2", f"{WAN} 443", to="192.168.1.20 443")
    moved = change(WEB, targets=("192.168.1.20",))
    assert to_cut(WEB, moved, [old, new], NETWORK) == [old]
    other_port = wanted("web", "tcp/443", "192.168.1.10 8443")
    assert to_cut(WEB, other_port, [old], NETWORK) == [old]
    assert Ground(NETWORK).extent(moved).stale(old)
    assert not Ground(NETWORK).extent(moved).stale(new)


def test_fewer_ports_cut_the_flows_of_the_others() -> None:
    flows = [flow(UDP, f"{VISITOR} 1", f"{WAN} {port}", to=f"192.168.1.10 {port}") for port in (7000, 7050)]
    assert to_cut(RANGE, wanted("range", "udp/7050-7100", "192.168.1.10"), flows, NETWORK) == flows[:1]
    assert to_cut(RANGE, wanted("range", "udp/6000-8000", "192.168.1.10"), flows, NETWORK) == []


def test_one_address_instead_of_all_cuts_the_flows_at_the_others() -> None:
    here = flow(TCP, f"{VISITOR} 1", f"{WAN} 443", to="192.168.1.10 443")
    there = flow(TCP, f"{VISITOR} 1", f"{TOO} 443", to="192.168.1.10 443")
    line = flow(TCP, f"{VISITOR} 1", f"{OTHER} 443", to="192.168.1.10 443")
    for on, cut in ((TOO, [here, line]), ("wan0", [line]), ("0.0.0.0", []), ("::", [here, there, line])):
        narrower = wanted("web", "tcp/443", "192.168.1.10", on=on)
        assert to_cut(WEB, narrower, [here, there, line], NETWORK) == cut, on


def test_a_dmz_that_becomes_a_forward_does_not_go_before_itself() -> None:
    forward = wanted("dmz", "tcp/443", "192.168.1.50", sources=VISITOR)
    mine = flow(TCP, f"{VISITOR} 1", f"{WAN} 443", to="192.168.1.50 443")
    theirs = flow(TCP, f"{STRANGER} 1", f"{WAN} 443", to="192.168.1.50 443")
    beside = flow(TCP, f"{VISITOR} 1", f"{WAN} 444", to="192.168.1.50 444")
    assert to_cut(DMZ, forward, [mine, theirs, beside], NETWORK, [forward]) == [theirs, beside]


def test_a_new_exception_of_a_dmz_cuts_its_flows() -> None:
    more = wanted("dmz", "dmz", "192.168.1.50", excepted="tcp/12345")
    assert names(to_cut(DMZ, more, ENTRIES, NETWORK, MAPPINGS)) == {"dmz, tcp"}


@pytest.mark.parametrize(
    "fields",
    [
        {"limits": Limits(Rate(3, 60), None, 10)},
        {"lifetime": Lifetime.lasting(9999, NOW)},
        {"accept_until": float(NOW + 9)},
        {"name": "other", "log": True, "revision": 9},
        {},
    ],
    ids=str,
)
@pytest.mark.parametrize("each", MAPPINGS, ids=lambda each: each.mapping.id)
def test_what_changes_neither_place_nor_sources_looks_at_no_flow(
    each: Wanted, fields: dict[str, Any]
) -> None:
    changed = change(each, **fields)
    assert not may_cut(each, changed)
    assert to_cut(each, changed, ENTRIES, NETWORK, MAPPINGS) == []


def test_wider_sources_look_at_no_flow() -> None:
    some = change(WEB, sources=(ip_network("198.51.100.0/25"),))
    more = change(WEB, sources=(ip_network("198.51.100.0/25"), ip_network("192.0.2.0/24")))
    assert not may_cut(some, more)
    assert not may_cut(more, WEB)
    assert may_cut(more, some)
    assert may_cut(WEB, some)
    assert not may_cut(None, None)
    assert may_cut(None, WEB)
    assert may_cut(WEB, None)


@pytest.mark.parametrize(
    ("each", "entry", "is_cut"),
    [
        pytest.param(GAME, flow(UDP, f"{VISITOR} 1", f"{WAN} 5136", status=0), True, id="udp"),
        pytest.param(GAME, flow(UDP, f"{VISITOR} 1", f"{WAN} 5136"), True, id="udp, answered here"),
        pytest.param(
            GAME, flow(UDP, f"{VISITOR} 1", f"{WAN} 5136", to="192.168.1.50 5136"), True, id="udp to the DMZ"
        ),
        pytest.param(
            GAME, flow(UDP, f"{VISITOR} 1", f"{WAN} 5136", to="192.168.1.11 25565"), False, id="as wanted"
        ),
        pytest.param(GAME, flow(UDP, f"{VISITOR} 1", f"{WAN} 5137", status=0), False, id="port beside"),
        pytest.param(
            GAME, flow(UDP, "192.168.1.11 25565", f"{VISITOR} 5136", snat=f"{WAN} 5136"), False, id="outward"
        ),
        pytest.param(GAME, flow(UDP, f"{WAN} 5136", f"{VISITOR} 5136", status=0), False, id="from here"),
        pytest.param(GAME, flow(UDP, f"{VISITOR6} 1", f"{WAN6} 5136", status=0), False, id="no v6 target"),
        pytest.param(GAME, flow(TCP, f"{VISITOR} 1", f"{WAN} 5136", state=1, status=0), True, id="syn"),
        pytest.param(GAME, flow(TCP, f"{VISITOR} 1", f"{WAN} 5136"), False, id="tcp that stands"),
        pytest.param(
            STREAM, flow(SCTP, f"{VISITOR} 1", f"{WAN} 3868", status=0), True, id="sctp, unanswered"
        ),
        pytest.param(STREAM, flow(SCTP, f"{VISITOR} 1", f"{WAN} 3868"), False, id="sctp that stands"),
        pytest.param(TUNNEL, flow(GRE, f"{VISITOR} 0", f"{WAN} 0", status=0), True, id="gre"),
        pytest.param(TUNNEL, flow(ESP, VISITOR, WAN, status=0), False, id="esp is not gre"),
        pytest.param(SHELL, flow(TCP, f"{VISITOR} 1", f"{WAN} 22"), False, id="permit"),
        pytest.param(HOLE, flow(TCP, f"{VISITOR6} 1", "2001:db8:3::10 8443", state=1), False, id="pinhole"),
        pytest.param(DMZ, flow(UDP, f"{VISITOR} 1", f"{WAN} 999", status=0), True, id="dmz, unanswered"),
        pytest.param(DMZ, flow(UDP, f"{VISITOR} 1", f"{WAN} 53"), False, id="dmz, a service here answers"),
        pytest.param(
            DMZ,
            flow(UDP, f"{VISITOR} 1", f"{WAN} 999", to="192.168.1.9 99", status=0),
            False,
            id="dmz, another's",
        ),
        pytest.param(DMZ, flow(GRE, f"{VISITOR} 0", f"{WAN} 0", status=0), False, id="dmz, excepted"),
        pytest.param(
            DMZ, flow(UDP, "192.168.1.11 1", f"{WAN} 999", status=0), False, id="dmz, the LAN to this machine"
        ),
        pytest.param(DMZ, flow(TCP, f"{VISITOR} 1", f"{WAN} 22", state=1), False, id="dmz, a permit's"),
        pytest.param(TRIGGER, flow(TCP, f"{VISITOR} 1", f"{WAN} 113", state=1, status=0), True, id="trigger"),
    ],
)
def test_opening_cuts_what_would_keep_peers_away(each: Wanted, entry: Entry, is_cut: bool) -> None:
    others = [one for one in MAPPINGS if one is not each]
    assert to_cut(None, each, [entry], NETWORK, [*others, each]) == ([entry] if is_cut else [])


def test_opening_takes_from_no_mapping_but_a_dmz_host() -> None:
    nobodys = {name for name, (owner, _) in FLOWS.items() if owner is None}
    for each in MAPPINGS:
        cut = names(to_cut(None, each, ENTRIES, NETWORK, MAPPINGS))
        taken = {"dmz, esp"} if each is IPSEC else set()
        assert cut - nobodys == taken, each.mapping.id


def test_closing_a_permit_leaves_the_lan_its_flows_but_narrowing_does_not() -> None:
    lan = flow(TCP, "192.168.1.11 1", f"{WAN} 22", labels=1 << PERMIT_LABEL)
    visitor = flow(TCP, f"{VISITOR} 1", f"{WAN} 22", labels=1 << PERMIT_LABEL)
    assert to_cut(SHELL, None, [lan, visitor], NETWORK) == [visitor]
    narrow = change(SHELL, sources=(ip_network(f"{STRANGER}/32"),))
    assert to_cut(SHELL, narrow, [lan, visitor], NETWORK) == [lan, visitor]


def test_a_mapping_without_an_address_yet_covers_nothing() -> None:
    lost = change(WEB, targets=())
    assert Ground(NETWORK).extent(lost).openings == ()
    assert names(to_cut(WEB, lost, ENTRIES, NETWORK)) == of("web")


def test_a_forward_becomes_a_permit_and_its_flows_go() -> None:
    here = wanted("web", "tcp/443", "self")
    assert names(to_cut(WEB, here, ENTRIES, NETWORK)) == of("web")


def test_orphans_are_labelled_flows_that_nothing_wants_now() -> None:
    left = [each for each in MAPPINGS if each not in (WEB, HOLE, DMZ)]
    labelled = {name for name, (owner, entry) in FLOWS.items() if is_labelled(entry) and owner is None}
    lan_to_lan = {"hole, LAN to LAN"}
    found = names(orphans(ENTRIES, left, NETWORK))
    expected = of("web") | of("hole") | of("dmz") | labelled
    assert found == expected - lan_to_lan - {"web, from here"}, "that one has no label"
    assert names(orphans(ENTRIES, MAPPINGS, NETWORK)) == labelled - lan_to_lan


def test_orphans_are_those_who_may_no_longer_come_too() -> None:
    mine = flow(TCP, f"{VISITOR} 1", f"{WAN} 443", to="192.168.1.10 443")
    theirs = flow(TCP, f"{STRANGER} 1", f"{WAN} 443", to="192.168.1.10 443")
    narrow = change(WEB, sources=(ip_network(f"{VISITOR}/32"),))
    assert orphans([mine, theirs], [narrow], NETWORK) == [theirs]


def test_a_relays_listener_keeps_its_labelled_flows() -> None:
    entry = flow(TCP, f"{VISITOR} 1", f"{WAN} 8000", labels=1 << PERMIT_LABEL)
    relayed = wanted("relayed", "tcp/8000", "192.168.1.10 80").mapping
    assert orphans([entry], [], NETWORK, [relayed]) == []
    assert orphans([entry], [], NETWORK) == [entry]


@pytest.mark.parametrize("label", [PERMIT_LABEL, DMZ_LABEL])
def test_every_label_of_ours_is_known(label: int) -> None:
    assert is_labelled(flow(TCP, f"{VISITOR} 1", f"{WAN} 1", labels=1 << label | 1))
    assert not is_labelled(flow(TCP, f"{VISITOR} 1", f"{WAN} 1", labels=1 | 1 << (label + 4)))


def test_admitted() -> None:
    entry = flow(TCP, f"{VISITOR} 1", f"{WAN} 443", to="192.168.1.10 443")
    six = flow(TCP, f"{VISITOR6} 1", "2001:db8:3::10 443")
    near = Prefixes([ip_network("198.51.100.8/30")])
    assert admitted(entry, None)
    assert admitted(entry, near)
    assert not admitted(six, near)
    assert not admitted(entry, Prefixes())
    assert not admitted(entry, None, near)
    assert admitted(six, None, near)
    assert not admitted(entry, Prefixes([ip_network("0.0.0.0/0")]), Prefixes([ip_network(f"{VISITOR}/32")]))


@pytest.mark.parametrize(
    ("mappings", "count", "whole"),
    [
        ((WEB,), 1, False),
        ((GAME,), 2, False),
        ((TOO_ONLY,), 1, False),
        ((RANGE,), 3, False),
        ((HOLE, SUFFIX), 2, False),
        ((NAT66, BOTH), 3, False),
        ((WEB, GAME, STREAM), 4, False),
        ((WEB, GAME, STREAM, LINE), 1, True),
        ((WEB, GAME, STREAM, LINE, HOLE), 1, True),
        ((DMZ,), 3, False),
        ((), 0, False),
    ],
    ids=lambda value: "+".join(each.mapping.id for each in value) if isinstance(value, tuple) else str(value),
)
def test_little_is_asked_for_where_little_is_concerned(
    mappings: tuple[Wanted, ...], count: int, whole: bool
) -> None:
    ground = Ground(NETWORK)
    asked = questions(map(ground.extent, mappings))
    assert len(asked) == count
    assert all(question.only is None for question in asked) == (whole or not count)
    assert not any(
        question.only and question.only.destination and question.family != IPV4 for question in asked
    )


def test_what_is_asked_for_tells_every_flow_that_is_covered() -> None:
    ground = Ground(NETWORK)
    for each in MAPPINGS:
        extent = ground.extent(each)
        for name, (_, entry) in FLOWS.items():
            told = any(
                question.family in (0, entry.family)
                and (question.only is None or question.only.matches(entry))
                for question in questions([extent])
            )
            assert told or not extent.covers(entry), (each.mapping.id, name)
    assert EVERYTHING == ((0, None),)


def test_the_index_finds_every_extent_that_covers_a_flow() -> None:
    ground = Ground(NETWORK)
    index: Index[str] = Index()
    extents = {each.mapping.id: ground.extent(each) for each in MAPPINGS}
    for name, extent in extents.items():
        index.add(extent, name)
    for name, (_, entry) in FLOWS.items():
        near = list(index.near(entry))
        assert {each for each, extent in extents.items() if extent.covers(entry)} <= set(near), name
