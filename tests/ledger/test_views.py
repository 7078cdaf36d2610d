from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from sekimori.ledger.store import Ledger
from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.request import Context

BOB = Owner(OwnerKind.PERSON, "bob")


@pytest.fixture
def told(ledger: Ledger, make, context) -> Ledger:
    """1: web1 and web2 open; 2: web1 becomes site; 3: a list; 4: web2 closes; 5: another web2."""
    office = NamedList("office", BOB, ())
    first = ledger.commit([Made(Verb.OPEN, None, make(1)), Made(Verb.OPEN, None, make(2))], context, 10.5)
    one, two = (change.after for change in first.changes)
    assert isinstance(one, Mapping)
    ledger.commit([Made(Verb.CHANGE, one, replace(one, name="site"))], Context(BOB, "file", "why"), 20.0)
    ledger.commit([Made(Verb.DEFINE, None, office)], context, 30.0)
    ledger.commit([Made(Verb.EXPIRE, two, None)], context, 40.0)
    ledger.commit([Made(Verb.OPEN, None, make(3, name="WEB2", owner=BOB))], context, 50.0)
    return ledger


def numbers(found) -> list[int]:
    return [revision.number for revision in found]


class TestHistory:
    def test_newest_first_with_who_when_and_why(self, told: Ledger) -> None:
        found = told.history()
        assert numbers(found) == [5, 4, 3, 2, 1]
        second = found[3]
        assert (second.at, second.actor, second.door, second.why) == (20.0, BOB, "file", "why")
        assert [(row.revision, row.seq, row.subject_id) for row in found[4].rows] == [
            (1, 1, "m1"),
            (1, 2, "m2"),
        ]

    def test_in_pages(self, told: Ledger) -> None:
        assert numbers(told.history(limit=2)) == [5, 4]
        assert numbers(told.history(limit=2, before=4)) == [3, 2]
        assert numbers(told.history(limit=2, before=2)) == [1]
        assert told.history(before=1) == []

    @pytest.mark.parametrize(
        ("subject", "expected"),
        [
            ("m1", [2, 1]),
            ("site", [2, 1]),
            ("web1", [2, 1]),  # the name it had before
            ("m2", [4, 1]),
            ("web2", [5, 4, 1]),  # two mappings, one of them closed
            ("OFFICE", [3]),
            ("nobody", []),
        ],
    )
    def test_of_a_subject(self, told: Ledger, subject: str, expected: list[int]) -> None:
        assert numbers(told.history(subject=subject)) == expected

    def test_of_a_subject_holds_only_rows_about_it(self, told: Ledger) -> None:
        assert [row.subject_id for row in told.history(subject="web2")[2].rows] == ["m2"]

    def test_of_a_subject_in_pages(self, told: Ledger) -> None:
        assert numbers(told.history(subject="web2", limit=1, before=5)) == [4]

    def test_from_another_thread(self, told: Ledger) -> None:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.extend(numbers(told.history())))
        thread.start()
        thread.join(10)
        assert found == [5, 4, 3, 2, 1]


def test_revision_of_has_every_row_and_both_documents(told: Ledger) -> None:
    revision = told.revision_of(2)
    (row,) = revision.rows
    assert (revision.number, row.verb, row.subject, row.name) == (2, Verb.CHANGE, "mapping", "site")
    assert row.before is not None
    assert row.after is not None
    assert (row.before["name"], row.after["name"], row.after["revision"]) == ("web1", "site", 2)


@pytest.mark.parametrize("number", [0, 6, -1])
def test_revision_of_what_never_was(told: Ledger, number: int) -> None:
    with pytest.raises(Problem) as caught:
        told.revision_of(number)
    assert caught.value.code == "no-such-revision"
    assert caught.value.facts == {"revision": number}


def test_last_change(told: Ledger) -> None:
    expected = {"m1": (2, Verb.CHANGE), "m2": (4, Verb.EXPIRE), "office": (3, Verb.DEFINE)}
    for subject, answer in expected.items():
        row = told.last_change(subject)
        assert row is not None
        assert (row.revision, row.verb) == answer
    assert told.last_change("nobody") is None


def test_last_row_named_is_of_that_owner_and_of_a_mapping(told: Ledger) -> None:
    alice = Owner(OwnerKind.PERSON, "alice")
    expired, other = told.last_row_named(alice, "WEB2"), told.last_row_named(BOB, "web2")
    assert expired is not None
    assert other is not None
    assert (expired.verb, expired.subject_id) == (Verb.EXPIRE, "m2")
    assert (other.verb, other.subject_id) == (Verb.OPEN, "m3")
    assert told.last_row_named(BOB, "office") is None
    assert told.last_row_named(BOB, "site") is None


def test_the_newest_row_of_a_revision_counts(ledger: Ledger, make, context) -> None:
    one, paused = make(1), make(1, paused=True)
    ledger.commit([Made(Verb.OPEN, None, one), Made(Verb.PAUSE, one, paused)], context, 1.0)
    row = ledger.last_change("m1")
    assert row is not None
    assert row.verb is Verb.PAUSE
    assert row == ledger.last_row_named(one.owner, "web1")
