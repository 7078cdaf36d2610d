"""Permits without the firewall: what is said of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sekimori.model.decision import Allow, Made, Notice, Verb
from sekimori.model.gateway import Gateway
from sekimori.model.request import Configure
from sekimori.planes.memory import MemoryPlane
from sekimori.testing.machine import FakeMachine
from sekimori.testing.table import Table
from sekimori.testing.world import ALICE


@pytest.fixture
def table() -> Table:
    """A machine with a kernel plane, and the relay behind it."""
    return Table(planes=(MemoryPlane("kernel"), MemoryPlane("relay")))


def told(allow: Allow) -> list[Notice]:
    return [each for each in allow.notices if each.code == "permit-without-firewall"]


def stand_as_gateway(table: Table, *, firewall: bool) -> None:
    after = Gateway(owner=ALICE.actor, firewall=firewall)
    table.snapshot.apply(Made(Verb.GATEWAY, table.snapshot.gateway, after))


@pytest.mark.parametrize("gateway", [False, True], ids=["no gateway", "a gateway without it"])
def test_closing_a_permit_without_the_firewall_is_told_to_close_nothing(table: Table, gateway: bool) -> None:
    if gateway:
        stand_as_gateway(table, firewall=False)
    (notice,) = told(table.grant(table.submit("80", "self", name="web")))
    for language, name, words in (
        ("en", "'web'", "lets everybody in again"),
        ("ja", "「web」", "だれでも入れる状態に戻ります"),
    ):
        assert name in notice.text(language)
        assert words in notice.text(language)
        assert "sekimori gateway enable --firewall" in notice.text(language)


def test_with_the_firewall_nothing_is_said(table: Table) -> None:
    stand_as_gateway(table, firewall=True)
    assert told(table.grant(table.submit("80", "self"))) == []


@pytest.mark.parametrize(
    ("ports", "to", "words"),
    [
        ("80", "192.168.1.5", {}),
        ("8080:80", "self", {}),
        ("443", "::10/-64", {}),
        ("80", "self", {"via": "relay", "on": "192.0.2.1"}),
    ],
    ids=["a forward", "another port", "a pinhole", "relayed"],
)
def test_nothing_is_said_of_what_is_no_permit(
    table: Table, ports: str, to: str, words: dict[str, object]
) -> None:
    assert told(table.grant(table.submit(ports, to, **words))) == []


def test_a_change_says_it_only_of_what_becomes_a_permit(table: Table) -> None:
    table.open("80", to="192.168.1.5", name="web")
    assert len(told(table.grant(table.change("web", to="self")))) == 1
    assert told(table.grant(table.change("web", from_="anyone"))) == []


def test_the_firewall_counts_as_it_stands_in_the_end(table: Table) -> None:
    table.rules = replace(table.rules, machine=FakeMachine().machine)
    walled = Configure(Gateway(owner=ALICE.actor, firewall=True))
    assert told(table.grant(table.submit("80", "self"), walled)) == []
