"""Changes, renewals, lists, and who may ask for them."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.lifetime import Lifetime
from sekimori.model.limits import Rate
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.request import Ask, Change, Close, Context, Define, Renew, Submit, Wish
from sekimori.testing.table import NOW, Table
from sekimori.testing.world import ALICE, FILE

BOB = Context(Owner(OwnerKind.PERSON, "bob"), "api")
DEVICE = Context(Owner(OwnerKind.DEVICE, "aa:bb"), "igd")
OTHER_FILE = Context(Owner(OwnerKind.FILE, "/home/x/other.toml"), "file")
OFFICE = (ipaddress.ip_network("198.51.100.0/24"),)


@pytest.fixture
def table() -> Table:
    return Table()


def ports_of(mapping: Mapping) -> list[str]:
    return [str(pair) for pair in mapping.ports]


# -- changing ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "ports"),
    [
        ({"ports": "9090"}, ["tcp/9090:80"]),
        ({"ports": "udp/9090"}, ["udp/9090:80"]),
        ({"ports": "9090:81"}, ["tcp/9090:81"]),
        ({"ports": "9090", "to": "192.168.1.9:82"}, ["tcp/9090:82"]),
        ({"ports": "9090-9091"}, ["tcp/9090-9091"]),
        ({"ports": "9090,9091"}, ["tcp/9090", "tcp/9091"]),
        ({"to": "192.168.1.9"}, ["tcp/8080:80"]),
        ({"to": "192.168.1.9:81"}, ["tcp/8080:81"]),
        ({"ports": "80"}, ["tcp/80"]),
    ],
)
def test_an_edit_keeps_the_inside_port_where_it_still_fits(
    table: Table, words: dict[str, object], ports: list[str]
) -> None:
    table.open("8080", to="192.168.1.5:80", name="web")
    (change,) = table.grant(table.change("web", **words)).changes  # type: ignore[arg-type]
    assert isinstance(change.after, Mapping)
    assert ports_of(change.after) == ports


def test_only_what_was_said_changes(table: Table) -> None:
    table.open("8080", name="web", limit="5/s", idle="10m", hours="daily/9-18", from_="198.51.100.0/24")
    before = table.snapshot.find("web")
    (change,) = table.grant(table.change("web", idle="none", limit_total="9/s")).changes
    assert change == Made(
        Verb.CHANGE,
        before,
        replace(before, idle=None, limits=replace(before.limits, total=Rate(9, 1))),
    )


def test_a_change_that_changes_nothing_is_no_change(table: Table) -> None:
    table.open("8080", name="web")
    for ask in (
        table.change("web", name="web"),
        table.change("web", paused=False),
        table.change("web", via="auto"),
    ):
        assert table.grant(ask).changes == ()


@pytest.mark.parametrize(
    ("words", "paused", "verb"),
    [
        ({}, True, Verb.PAUSE),
        ({"for_": "9h"}, None, Verb.EXTEND),
        ({"name": "other"}, None, Verb.CHANGE),
        ({"for_": "9h"}, True, Verb.CHANGE),
        ({"ports": "81"}, None, Verb.CHANGE),
    ],
)
def test_changes_are_called_what_they_are(
    table: Table, words: dict[str, object], paused: bool | None, verb: Verb
) -> None:
    table.open(name="web")
    (change,) = table.grant(table.change("web", paused, **words)).changes
    assert change.verb is verb


def test_pausing_and_resuming(table: Table) -> None:
    table.open(name="web")
    assert [c.verb for c in table.grant(table.change("web", True)).changes] == [Verb.PAUSE]
    assert table.snapshot.find("web").paused
    assert [c.verb for c in table.grant(table.change("web", False)).changes] == [Verb.RESUME]
    assert not table.snapshot.find("web").paused


@pytest.mark.parametrize("ask", [Close("x"), Renew("x"), Change("x", Wish())])
def test_what_is_not_there_cannot_be_asked_of(table: Table, ask: Ask) -> None:
    assert table.refuse(ask).code == "no-such-mapping"


# -- more time ---------------------------------------------------------------------------


def test_renewing(table: Table) -> None:
    table.open(for_="2h", name="web")
    end = int(NOW) + 7200
    table.now = NOW + 1800
    # The same length again, from now.
    table.grant(Renew("web"))
    assert table.snapshot.find("web").lifetime == Lifetime.lasting(7200, table.now)
    # More onto its end.
    table.grant(Renew("web", add=3600))
    assert table.snapshot.find("web").lifetime.expires_at == end + 1800 + 3600
    # The length again would now be less: it never shortens.
    assert table.grant(Renew("web")).changes == ()
    # A new lifetime is taken as given, shorter or not.
    table.grant(Renew("web", lifetime=Lifetime.lasting(60, table.now)))
    assert table.snapshot.find("web").lifetime.expires_at == int(table.now) + 60


def test_time_is_added_from_now_when_the_end_has_passed(table: Table) -> None:
    table.open(for_="1m", name="web")
    table.now += 3600
    table.grant(Renew("web", add=60))
    assert table.snapshot.find("web").lifetime.expires_at == int(table.now) + 60


def test_what_is_permanent_or_has_a_date_is_not_renewed_by_itself(table: Table) -> None:
    table.open("80", permanent="why", name="forever")
    table.open("81", until="tomorrow", name="dated")
    assert table.grant(Renew("forever"), Renew("dated"), Renew("forever", add=60)).changes == ()
    before = table.snapshot.find("dated").lifetime.expires_at
    assert before is not None
    table.grant(Renew("dated", add=60))
    assert table.snapshot.find("dated").lifetime.expires_at == before + 60


# -- who may -----------------------------------------------------------------------------


def test_people_may_touch_each_others(table: Table) -> None:
    table.open(name="web")
    table.grant(table.change("web", idle="1h"), by=BOB)
    (change,) = table.grant(Close("web"), by=BOB).changes
    assert change.before is not None
    assert change.before.owner == ALICE.actor


def test_what_a_file_manages_is_edited_there(table: Table) -> None:
    table.open(name="web", by=FILE)
    for ask in (table.change("web", idle="1h"), Close("web"), table.change("web", True, idle="1h")):
        for by in (ALICE, OTHER_FILE):
            problem = table.refuse(ask, by=by)
            assert (problem.code, problem.exit_code) == ("managed-by-file", 6)
            assert problem.facts["file"] == FILE.actor.id
            assert problem.fix().endswith("run 'sekimori apply'. 'sekimori pause web' stops it now.")
            assert problem.fix("ja").endswith("今すぐ止めるなら sekimori pause web です。")
    # To stop it now, and to give it time, needs no edit of the file.
    table.grant(table.change("web", True))
    table.grant(table.change("web", False))
    table.grant(Renew("web", add=60))
    table.grant(table.change("web", idle="1h"), by=FILE)
    table.grant(Close("web"), undoing=True)


@pytest.mark.parametrize("kind", [OwnerKind.DEVICE, OwnerKind.KEY, OwnerKind.CLIENT, OwnerKind.TRIGGER])
def test_what_is_no_person_touches_only_its_own(table: Table, kind: OwnerKind) -> None:
    stranger = Context(Owner(kind, "x"), "door")
    table.open("80", name="web")
    table.open("81", name="own", by=stranger)
    asks = (table.change("web", True), table.change("web", idle="1h"), Close("web"), Renew("web", add=60))
    for ask in asks:
        for undoing in (False, True):
            problem = table.refuse(ask, by=stranger, undoing=undoing)
            assert (problem.code, problem.fact("who")) == ("not-permitted", f"the {kind} x")
    for define in (Define("office", OFFICE), Define("office", None)):
        assert table.refuse(define, by=stranger).code == "not-permitted"
    table.grant(Renew("own", add=60), by=stranger)
    table.grant(Close("own"), by=stranger)


def test_people_may_close_what_a_device_opened(table: Table) -> None:
    table.open(name="web", by=DEVICE)
    table.grant(Close("web"))


# -- lists -------------------------------------------------------------------------------


def test_lists_are_defined_used_and_removed(table: Table) -> None:
    (change,) = table.grant(Define("office", OFFICE)).changes
    assert change == Made(Verb.DEFINE, None, NamedList("office", ALICE.actor, OFFICE))
    assert table.grant(Define("office", OFFICE)).changes == ()
    table.open(from_="office", name="web")
    problem = table.refuse(Define("office", None))
    assert (problem.code, problem.facts["lists"]) == ("no-such-list", "lan")
    table.grant(Close("web"), Define("office", None))
    assert table.refuse(Define("office", None)).code == "no-such-list"


def test_a_list_and_what_uses_it_may_come_in_one_batch(table: Table) -> None:
    table.grant(table.submit(from_="office"), Define("office", OFFICE))


def test_a_files_list_is_its_own(table: Table) -> None:
    table.grant(Define("office", OFFICE), by=FILE)
    refused = table.refuse(Define("office", ()))
    assert refused.code == "managed-by-file"
    assert (refused.fix(), refused.fix("ja")) == (
        "Change it there and run 'sekimori apply'.",
        "ファイルを直して sekimori apply を実行してください。",
    )
    assert table.refuse(Define("office", None), by=OTHER_FILE).code == "managed-by-file"
    (change,) = table.grant(Define("office", (), FILE.actor), undoing=True).changes
    assert change.subject.owner == FILE.actor


@pytest.mark.parametrize("name", ["lan", "anyone"])
def test_words_with_a_meaning_are_no_lists(table: Table, name: str) -> None:
    assert table.refuse(Define(name, OFFICE)).code == "bad-name"


# -- bringing back -----------------------------------------------------------------------


def test_what_is_restored_keeps_its_id_owner_age_and_pause(table: Table) -> None:
    opened = table.open("minecraft", by=FILE)
    table.grant(Close("minecraft"), by=FILE)
    table.now += 60
    old = replace(opened, paused=True)
    wish = table.wish(ports="25565", to="192.168.1.5", name="minecraft")
    (change,) = table.grant(Submit(wish, restore=old)).changes
    assert isinstance(change.after, Mapping)
    after = change.after
    assert (after.id, after.owner, after.created_at) == (old.id, FILE.actor, old.created_at)
    assert (after.paused, after.preset) == (True, "minecraft")
