"""Taking back a revision that others may have built on."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

from sekimori.gate.takeback import collapse, still_standing
from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.events import Committed
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import Sources
from sekimori.model.target import Target
from sekimori.testing.world import ALICE

OWNER = Owner(OwnerKind.PERSON, "alice")
OFFICE = NamedList("office", OWNER, (ipaddress.ip_network("192.0.2.0/24"),))


def make(name: str, port: int, **given: Any) -> Mapping:
    span = PortRange(port, port)
    mapping = Mapping(
        id=f"0{name}",
        name=name,
        owner=OWNER,
        ports=(PortPair(IpProtocol.TCP, span, span),),
        target=Target.parse_host("192.168.1.5"),
        sources=Sources.parse("lan"),
        lifetime=Lifetime.permanent("test"),
    )
    return replace(mapping, **given)


def committed(*changes: Made) -> Committed:
    return Committed(1, 0.0, ALICE, changes)


def opened(mapping: Mapping) -> Made:
    return Made(Verb.OPEN, None, mapping)


def test_one_change_for_each_subject_from_first_to_last() -> None:
    a, b, c = make("a", 80), make("a", 81), make("a", 82)
    paused = make("b", 90, paused=True)
    assert collapse(
        [
            Made(Verb.CHANGE, a, b),
            opened(make("b", 90)),
            Made(Verb.EXTEND, b, c),
            Made(Verb.PAUSE, make("b", 90), paused),
            opened(make("c", 91)),
            Made(Verb.CLOSE, make("c", 91), None),
            Made(Verb.DEFINE, None, OFFICE),
        ]
    ) == [Made(Verb.CHANGE, a, c), opened(paused), Made(Verb.DEFINE, None, OFFICE)]


def test_what_stands_as_it_was_left_goes_back() -> None:
    old, new = make("a", 80), make("a", 81)
    bad = make("b", 80)
    changes = committed(Made(Verb.CHANGE, old, new), opened(bad), Made(Verb.DEFINE, None, OFFICE))
    back, left = still_standing(changes, Snapshot([new, bad], [OFFICE]))
    assert left == []
    assert back == [
        Made(Verb.UNDO, bad, None),
        Made(Verb.UNDO, OFFICE, None),
        Made(Verb.UNDO, new, old),
    ]


def test_what_was_changed_since_stays_as_it_is() -> None:
    old, new = make("a", 80), make("a", 81)
    later = replace(new, idle=60, revision=2)
    change = committed(Made(Verb.CHANGE, old, new))
    assert still_standing(change, Snapshot([later])) == ([], ["a"])
    assert still_standing(change, Snapshot()) == ([], ["a"])
    assert still_standing(committed(opened(new)), Snapshot()) == ([], ["a"])
    closing = committed(Made(Verb.CLOSE, old, None))
    assert still_standing(closing, Snapshot([old])) == ([], ["a"])
    wider = replace(OFFICE, prefixes=())
    assert still_standing(committed(Made(Verb.DEFINE, None, OFFICE)), Snapshot([], [wider])) == (
        [],
        ["office"],
    )


def test_a_port_or_a_name_that_was_taken_since_is_not_taken_away() -> None:
    gone = make("a", 80)
    closing = committed(Made(Verb.CLOSE, gone, None))
    for taker in (make("b", 80), make("A", 81)):
        assert still_standing(closing, Snapshot([taker])) == ([], ["a"])
    assert still_standing(closing, Snapshot([make("b", 81)])) == ([Made(Verb.UNDO, None, gone)], [])


def test_two_that_swapped_swap_back() -> None:
    a, b = make("a", 80), make("b", 81)
    a2, b2 = make("a", 81), make("b", 80)
    back, left = still_standing(
        committed(Made(Verb.CHANGE, a, a2), Made(Verb.CHANGE, b, b2)), Snapshot([a2, b2])
    )
    assert ({made.after for made in back}, left) == ({a, b}, [])


def test_what_cannot_go_back_may_hold_up_others() -> None:
    # b was to get 80 back from a; a cannot return to 79, which a stranger has by now.
    a, b = make("a", 79), make("b", 80)
    a2, b2 = make("a", 80), make("b", 81)
    changes = committed(Made(Verb.CHANGE, b, b2), Made(Verb.CHANGE, a, a2))
    assert still_standing(changes, Snapshot([a2, b2, make("c", 79)])) == ([], ["b", "a"])
