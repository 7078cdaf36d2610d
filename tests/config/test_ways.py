"""Links, SOCKS ports and unix sockets in the file: what is read, asked for, and written out again."""

from __future__ import annotations

import tomllib

import pytest

from sekimori.config.export import export_toml
from sekimori.model.address import UnixPath
from sekimori.model.destination import Destinations
from sekimori.model.link import AddLink, Link, SshPlace
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import Change, Submit, Wish
from sekimori.model.socks import verify
from sekimori.presets.load import load_presets
from sekimori.testing.strategies import NOW

PRESETS = load_presets()
ALICE = Owner(OwnerKind.PERSON, "alice")
PROXY = '[mappings.proxy]\nports = "1080"\nsocks = true\n'
USERS = 'socks_user = ["alice:correct horse", "bob:battery, staple"]\n'
FAR = '[mappings.far]\nports = "8080"\nto = "127.0.0.1:3000"\nat = "vps"\n'
PATH = '[mappings.db]\nports = "unix:/run/db.sock"\nto = "db:5432"\n'


@pytest.fixture
def linked(ledger):
    """A ledger with a link that is a person's."""
    ledger.grant([AddLink(Link(name="vps", owner=ALICE, place=SshPlace.parse("ssh://vps")))], ALICE)
    return ledger


def test_a_password_that_stays_the_same_is_no_change(ledger):
    ledger.apply(PROXY + USERS)  # which plans a second time, and finds nothing to ask
    users = ledger["proxy"].socks.users
    assert [verify(user.text, b"battery, staple") for user in users] == [False, True]
    (change,) = ledger.apply(PROXY + USERS.replace("correct horse", "another horse")).asks
    assert isinstance(change, Change)
    assert change.wish == Wish(socks_users=ledger["proxy"].socks.users)
    after = ledger["proxy"].socks.users
    assert after[1] == users[1]  # bob's stays as it was made
    assert verify(after[0].text, b"another horse")
    ledger.apply(PROXY)
    assert ledger["proxy"].socks.users == ()


def test_bounds_are_compared_and_return_to_their_default(ledger):
    ledger.apply(PROXY + 'reach = ["db:5432", "10.0.0.0/8"]\n')
    assert ledger["proxy"].socks.reach == Destinations.parse("10.0.0.0/8,db:5432")
    ledger.apply(PROXY + 'reach = "10.0.0.0/8,db:5432"\n')
    ledger.apply(PROXY)
    assert ledger["proxy"].socks.reach == Destinations.parse("anywhere")
    ledger.apply(PROXY.replace("socks = true", 'to = "192.168.1.5"'))
    assert ledger["proxy"].socks is None


def test_where_it_listens_is_compared(linked):
    linked.apply(FAR)
    (change,) = linked.apply(FAR.replace('at = "vps"\n', "")).asks
    assert (change.wish, linked["far"].at) == (Wish(at=None), None)
    linked.apply(FAR)
    assert linked["far"].at == "vps"


def test_a_path_and_its_port_are_compared_together(ledger):
    ledger.apply(PATH)
    assert ledger["db"].on == UnixPath("/run/db.sock")
    ledger.apply(PATH.replace("5432", "5433"))
    assert ledger["db"].target_text == "db:5433"
    ledger.apply(PATH.replace("unix:/run/db.sock", "5432"))
    assert (ledger["db"].on, ledger["db"].target_text) == (None, "db:5432")
    ledger.apply(PATH)


def test_an_export_keeps_users_without_their_passwords(linked):
    text = PROXY + USERS + 'reach = "db:5432"\nfrom = "anyone"\n' + FAR + PATH
    linked.apply(text)
    exported = export_toml(linked.snapshot, "UTC", now=NOW, preset=PRESETS.get)
    assert "horse" not in exported
    assert "staple" not in exported
    tables = tomllib.loads(exported)["mappings"]
    assert tables["proxy"]["to"] == "socks"
    assert tables["proxy"]["reach"] == ["db:5432"]
    assert tables["far"]["at"] == "vps"
    assert (tables["db"]["ports"], tables["db"]["to"], "on" in tables["db"]) == (
        "unix:/run/db.sock",
        "db:5432",
        False,
    )
    kept = linked["proxy"].socks
    submits = {ask.wish.name: ask for ask in linked.plan(exported).asks if isinstance(ask, Submit)}
    assert not submits  # what stands under these names is the file's already
    assert linked["proxy"].socks == kept
    changes = {ask.ref for ask in linked.plan(exported).asks if isinstance(ask, Change)}
    for name in changes:  # only that a duration is now a time
        (ask,) = (each for each in linked.plan(exported).asks if getattr(each, "ref", "") == name)
        assert ask.wish == Wish(lifetime=ask.wish.lifetime)


@pytest.mark.parametrize(
    ("text", "key", "why"),
    [
        ('[mappings.a]\nports = "80"\n', None, "to"),
        ('[mappings.a]\nports = "80"\nsocks = false\n', None, "to"),
        ('[mappings.a]\nports = "80"\nto = "x"\nsocks = true\n', "to", "--socks"),
        ('[mappings.a]\nports = "0"\nsocks = true\n', "ports", "port"),
        ('[mappings.a]\nports = "80"\nsocks = true\nreach = "10.0.0.5/8"\n', "reach", "10.0.0.5/8"),
        ('[mappings.a]\nports = "80"\nsocks = true\nsocks_user = "a:short"\n', "socks_user", "a"),
        ('[mappings.a]\nports = "unix:run"\nto = "x:1"\n', "ports", "unix:run"),
        ('[mappings.a]\nports = "80"\nto = "x"\nat = "self"\n', "at", "self"),
    ],
)
def test_the_word_at_fault_is_named(refusal, text, key, why):
    code, _, found, said = refusal(text)
    assert code == "bad-config"
    assert key is None or key in str(found)
    assert why in said
    assert "short" not in said
