"""Whatever is asked: all or nothing, and nothing touched."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sekimori.model.decision import Deny, NamedList
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping
from sekimori.model.request import Ask, Change, Close, Context, Define, Renew, Submit
from sekimori.model.snapshot import Snapshot
from sekimori.testing.table import NOW, Table
from sekimori.testing.world import ALICE, FILE, wish_at

OFFICE = (ipaddress.ip_network("198.51.100.0/24"),)


# -- the whole ---------------------------------------------------------------------------

_NAMES = st.sampled_from(["a", "b", "c"])
_PORTS = st.sampled_from(["80", "81", "tcp+udp/80", "80-82", "1-1000:1001-2000", "22"])
_SOURCES = st.sampled_from(["lan", "anyone", "office", "198.51.100.0/24"])
_WORDS = st.fixed_dictionaries({}, optional={"name": _NAMES, "ports": _PORTS, "from": _SOURCES})
_ASKS = st.one_of(
    st.builds(lambda words: Submit(wish_at(NOW, {"to": "192.168.1.5", **words})), _WORDS),
    st.builds(
        lambda ref, words, paused: Change(ref, wish_at(NOW, words), paused),
        _NAMES,
        _WORDS,
        st.none() | st.booleans(),
    ),
    st.builds(Renew, _NAMES, st.none() | st.integers(1, 100)),
    st.builds(Close, _NAMES, st.booleans()),
    st.builds(Define, st.just("office"), st.none() | st.just(OFFICE)),
)


def _shape(snapshot: Snapshot) -> tuple[object, ...]:
    ports = (f"{protocol}/{port}" for protocol in ("tcp", "udp") for port in (22, 80, 81, 82, 500))
    probe = Table().open("1-65535", to="192.0.2.1")
    return (
        list(snapshot),
        snapshot.named_lists,
        [snapshot.named(name) for name in ("a", "b", "c")],
        [_found(snapshot, port) for port in ports],
        sorted(other.id for other, _, _ in snapshot.rivals(replace(probe, id="probe"))),
    )


def _found(snapshot: Snapshot, ref: str) -> Mapping | None:
    try:
        return snapshot.find(ref)
    except Problem:
        return None


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(_ASKS, min_size=1, max_size=4), min_size=1, max_size=5), st.sampled_from([ALICE, FILE])
)
def test_a_decision_is_all_or_nothing_and_touches_nothing(batches: list[list[Ask]], by: Context) -> None:
    table = Table()
    for batch in batches:
        before = _shape(table.snapshot)
        decision = table.decide(*batch, by=by)
        assert _shape(table.snapshot) == before
        if isinstance(decision, Deny):
            continue
        for change in decision.changes:
            # What each change says stood is what really did.
            subject = change.subject
            assert isinstance(subject, Mapping | NamedList)
            stood = (
                table.snapshot.list_named(subject.name)
                if isinstance(subject, NamedList)
                else table.snapshot.get(subject.id)
            )
            assert change.before == stood
            table.snapshot.apply(change)
        for mapping in table.snapshot:
            assert next(table.snapshot.rivals(mapping), None) is None
            assert not any(ref == "office" for ref in mapping.sources.lists) or table.snapshot.list_named(
                "office"
            )
            if mapping.sources.is_wide(table.snapshot.lists):
                assert not any(22 in pair.outside or 22 in pair.inside for pair in mapping.ports)
        names = [mapping.name.lower() for mapping in table.snapshot]
        assert len(names) == len(set(names))
