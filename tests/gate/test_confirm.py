"""Which changes have to be confirmed, what the ledger keeps of them, and what the journal tells of them."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.gate.confirm import Confirming
from sekimori.gate.takeback import recollect, touched_by
from sekimori.gate.undo import newest_undoable
from sekimori.ledger.journal import Revision, row_of
from sekimori.ledger.reading import UndecodableError, read_standing
from sekimori.ledger.store import Ledger
from sekimori.model.address import IpProtocol, parse_ports
from sekimori.model.decision import Made, Subject, Verb
from sekimori.model.events import Committed
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.mapping import Hop, Mapping, Owner
from sekimori.model.pending import Pending, Unconfirmed
from sekimori.model.request import Caller, Context
from sekimori.model.snapshot import Snapshot
from sekimori.model.target import Target, pair_ports
from sekimori.testing.strategies import bans, gateways, mappings, named_lists
from sekimori.testing.table import Table
from sekimori.testing.world import ALICE, World

CALLER = Caller(ipaddress.ip_address("198.51.100.10"), 50_000, ipaddress.ip_address("203.0.113.5"), 22)
BY_SSH = replace(ALICE, caller=CALLER)
WALL = Gateway(owner=ALICE.actor, firewall=True)
BAN = Ban(prefix=ipaddress.ip_network("198.51.100.10"), owner=ALICE.actor)
ELSE = replace(BAN, prefix=ipaddress.ip_network("192.0.2.1"))


def revision(number: int, *changes: Made, context: Context = ALICE) -> Revision:
    """Changes as the journal has them."""
    rows = tuple(row_of(change, number, seq) for seq, change in enumerate(changes, 1))
    return Revision(number, 1.0, context.actor, context.door, context.why, rows)


class TestNeeded:
    """What has to be confirmed."""

    @pytest.fixture
    def world(self) -> World:
        return World()

    def ask(self, world: World, *changes: Made, context: Context = BY_SSH) -> int | None:
        confirming: Confirming = world.gate.confirming
        return confirming.needed(changes, world.ledger.snapshot, context, world.clock.now())

    def test_only_what_would_cut_off_somebody_who_came_by_a_connection(self, world: World) -> None:
        assert self.ask(world, Made(Verb.BAN, None, BAN)) == 30
        assert self.ask(world, Made(Verb.GATEWAY, None, WALL)) == 30
        assert self.ask(world, Made(Verb.BAN, None, BAN), context=ALICE) is None
        assert self.ask(world, Made(Verb.BAN, None, ELSE)) is None
        assert self.ask(world) is None

    def test_the_changes_count_together(self, world: World) -> None:
        ports = pair_ports(parse_ports("22"), None, "self")
        somewhere = Table().open("8080", from_="198.51.100.10")
        permit = replace(somewhere, ports=ports, target=Target.parse_host("self"), path=(Hop("kernel"),))
        wall = Made(Verb.GATEWAY, None, WALL)
        assert self.ask(world, wall, Made(Verb.OPEN, None, permit)) is None
        assert self.ask(world, Made(Verb.BAN, None, BAN), Made(Verb.UNBAN, BAN, None)) is None

    def test_the_rules_say_how_long(self, world: World) -> None:
        world.gate.confirming._rules = replace(world.rules, confirm_within=77)
        assert self.ask(world, Made(Verb.BAN, None, BAN)) == 77

    def test_while_something_waits_who_may_be_cut_off_has_all_to_confirm(self, world: World) -> None:
        world.ledger.commit([Made(Verb.BAN, None, BAN)], BY_SSH, 1.0)
        assert self.ask(world, Made(Verb.BAN, None, ELSE)) is None
        world.ledger.pending[1] = Pending(1, ALICE.actor, CALLER, 31.0, 30)
        assert self.ask(world, Made(Verb.BAN, None, ELSE)) == 30
        assert self.ask(world, Made(Verb.UNBAN, BAN, None)) is None


SUBJECTS = st.one_of(mappings(), named_lists(), gateways(), bans())


@given(before=SUBJECTS, after=SUBJECTS)
def test_a_revision_is_recollected_as_it_was_written(before: Subject, after: Subject) -> None:
    changes = [Made(Verb.OPEN, None, after), Made(Verb.CLOSE, before, None)]
    if type(before) is type(after):
        changes.append(Made(Verb.CHANGE, before, after))
    assert recollect(revision(5, *changes)) == Committed(5, 1.0, ALICE, tuple(changes))


def test_what_a_revision_touched_is_told_by_kind_and_key() -> None:
    found = touched_by(revision(1, Made(Verb.GATEWAY, None, WALL), Made(Verb.BAN, None, BAN)))
    assert found == {("gateway", "gateway/self"), ("ban", "198.51.100.10/32")}


class TestNewest:
    """What a plain undo means, once something was taken back."""

    def numbers(self, *revisions: Revision) -> int | None:
        found = newest_undoable(reversed(revisions))
        return None if found is None else found.number

    def test_what_was_taken_back_is_not_undone_again(self) -> None:
        enabled = Made(Verb.GATEWAY, None, WALL)
        back = Made(Verb.UNDO, WALL, None)
        first = revision(1, Made(Verb.BAN, None, ELSE))
        assert self.numbers(first, revision(2, enabled), revision(3, back)) == 1
        assert self.numbers(revision(2, enabled), revision(3, back)) is None

    def test_a_path_that_was_chosen_anew_is_not_undone(self) -> None:
        web: Mapping = replace(Table().open(name="web"), revision=1)
        elsewhere = replace(web, path=(Hop("router"), *web.path), revision=2)
        opened, rerouted = revision(1, Made(Verb.OPEN, None, web)), Made(Verb.CHANGE, web, elsewhere)
        assert self.numbers(opened, revision(2, rerouted)) == 1
        other = replace(elsewhere, name="other")
        assert self.numbers(opened, revision(2, rerouted, Made(Verb.CHANGE, elsewhere, other))) == 2

    def test_one_taking_back_voids_one_revision(self) -> None:
        enabled, back = Made(Verb.GATEWAY, None, WALL), Made(Verb.UNDO, WALL, None)
        off = Made(Verb.GATEWAY, WALL, None)
        assert (
            self.numbers(revision(1, enabled), revision(2, off), revision(3, enabled), revision(4, back)) == 2
        )

    def test_a_closing_that_was_taken_back(self) -> None:
        web: Mapping = replace(Table().open(name="web"), revision=1)
        closed = revision(2, Made(Verb.CLOSE, web, None))
        back = revision(3, Made(Verb.UNDO, None, replace(web, revision=3)))
        assert self.numbers(revision(1, Made(Verb.OPEN, None, web)), closed, back) == 1


class TestLedger:
    """The wait is written with the revision, and ends with it."""

    def test_in_one_transaction_and_over_a_start(self, tmp_path: Path) -> None:
        ledger = Ledger.open(tmp_path)
        committed = ledger.write([Made(Verb.BAN, None, BAN)], BY_SSH, 100.5, 30)
        expected = Pending(1, ALICE.actor, CALLER, 130.5, 30)
        assert (committed.pending, ledger.pending) == (expected, {})
        ledger.take(committed)
        assert ledger.pending == {1: expected}
        ledger.close()
        ledger = Ledger.open(tmp_path)
        assert ledger.pending == {1: expected}
        assert dict(ledger.snapshot.bans) == {BAN.prefix: BAN}
        second = ledger.write([Made(Verb.UNDO, BAN, None)], ALICE, 131.0, None, [1])
        ledger.take(second)
        assert (ledger.pending, second.settles, second.pending) == ({}, (1,), None)
        ledger.close()
        ledger = Ledger.open(tmp_path)
        assert ledger.pending == {}
        ledger.close()

    def test_what_is_settled_stays_so(self, tmp_path: Path) -> None:
        ledger = Ledger.open(tmp_path)
        for each in (BAN, ELSE):
            ledger.take(ledger.write([Made(Verb.BAN, None, each)], BY_SSH, 1.0, 30))
        ledger.settle([1, 5])
        assert set(ledger.pending) == {1, 2}
        ledger.forget([1, 5])
        assert set(ledger.pending) == {2}
        ledger.close()
        ledger = Ledger.open(tmp_path)
        assert (set(ledger.pending), len(ledger.snapshot.bans)) == ({2}, 2)
        ledger.close()

    def test_a_text_that_was_taken_back_is_kept_until_its_file_is_written_again(self, tmp_path: Path) -> None:
        file = Context(Owner.parse("file:/etc/x"), "file", caller=CALLER, text="aa")
        ledger = Ledger.open(tmp_path)
        first = ledger.write([Made(Verb.BAN, None, BAN)], file, 1.0, 30)
        assert first.pending is not None
        assert first.pending.text == "aa"
        ledger.take(first)
        kept = Unconfirmed(file.actor, "aa", 31.0)
        ledger.take(ledger.write([Made(Verb.UNDO, BAN, None)], ALICE, 31.0, None, [1], [kept]))
        assert ledger.unconfirmed == {file.actor: kept}
        ledger.close()
        ledger = Ledger.open(tmp_path)
        assert ledger.unconfirmed == {file.actor: kept}
        ledger.take(ledger.write([Made(Verb.BAN, None, ELSE)], replace(file, text="bb"), 40.0))
        assert ledger.unconfirmed == {}
        ledger.settle((), [kept])
        ledger.forget((), [kept])
        ledger.close()
        ledger = Ledger.open(tmp_path)
        assert ledger.unconfirmed == {file.actor: kept}
        ledger.settle((), [replace(kept, text="")])
        ledger.close()
        ledger = Ledger.open(tmp_path)
        assert ledger.unconfirmed == {}
        ledger.close()

    def test_nobody_waits_for_who_has_no_connection(self) -> None:
        ledger = Ledger.open(Path(), memory=True)
        assert ledger.commit([Made(Verb.BAN, None, BAN)], ALICE, 1.0).pending is None
        assert ledger.write([Made(Verb.BAN, BAN, None)], ALICE, 1.0, 30).pending is None
        ledger.close()

    @pytest.mark.parametrize("document", ["{}", '{"owner": "file:/y", "text": "a", "at": 1.0}', "[]", "no"])
    def test_a_row_of_a_text_that_cannot_be_read_is_told(self, document: str) -> None:
        ledger = Ledger.open(Path(), memory=True)
        ledger.settle((), [Unconfirmed(Owner.parse("file:/x"), "aa", 1.0)])
        with ledger._database.writing() as connection:
            connection.exec_driver_sql(
                "UPDATE settings SET document = ? WHERE kind = 'unconfirmed'", (document,)
            )
            with pytest.raises(UndecodableError, match="unconfirmed file:/x"):
                read_standing(connection)
        ledger.close()

    @pytest.mark.parametrize("document", ["{}", '{"revision": 2}', "[]", "no"])
    def test_a_row_that_cannot_be_read_is_told(self, document: str) -> None:
        ledger = Ledger.open(Path(), memory=True)
        ledger.take(ledger.write([Made(Verb.BAN, None, BAN)], BY_SSH, 1.0, 30))
        with ledger._database.writing() as connection:
            connection.exec_driver_sql("UPDATE settings SET document = ? WHERE kind = 'pending'", (document,))
            with pytest.raises(UndecodableError, match="pending 1"):
                read_standing(connection)
        ledger.close()


@given(
    st.builds(
        Pending,
        st.integers(1, 2**40),
        st.sampled_from([ALICE.actor, Owner.parse("file:/etc/x")]),
        st.builds(Caller, st.ip_addresses(), st.integers(1, 65535), st.ip_addresses(), st.integers(1, 65535)),
        st.floats(0, 2**33),
        st.integers(5, 3600),
        st.sampled_from(["", "00ff"]),
    )
)
def test_a_document_is_read_back_as_itself(pending: Pending) -> None:
    assert Pending.from_document(pending.to_document()) == pending


def test_who_claims_a_port_is_found_by_it() -> None:
    table = Table()
    web = table.open("8000-8100", name="web")
    assert list(table.snapshot.claiming(IpProtocol.TCP, 8050)) == [web]
    assert list(table.snapshot.claiming(IpProtocol.TCP, 8101)) == []
    assert list(table.snapshot.claiming(IpProtocol.UDP, 8050)) == []
    assert list(Snapshot().claiming(IpProtocol.TCP, 8050)) == []
