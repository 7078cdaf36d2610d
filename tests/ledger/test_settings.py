"""The gateway and bans in the ledger: written, replaced, ended, and found again after a start."""

from __future__ import annotations

import ipaddress
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.ledger.store import Ledger
from sekimori.model.address import IPNetwork
from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.errors import Problem
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.snapshot import Snapshot
from sekimori.testing.strategies import bans, gateways

SCANS = ipaddress.ip_network("198.51.100.0/24")
SPAM = ipaddress.ip_network("2001:db8::/32")


def standing(ledger: Ledger) -> tuple[Gateway | None, dict[IPNetwork, Ban]]:
    return ledger.snapshot.gateway, dict(ledger.snapshot.bans)


def test_they_are_replaced_and_ended_and_survive_every_start(tmp_path: Path, context) -> None:
    gateway = Gateway(owner=context.actor)
    scans, spam = (Ban(prefix=prefix, owner=context.actor) for prefix in (SCANS, SPAM))
    longer = replace(scans, expires_at=2_000_000_000, reason="port scans")
    steps = [
        ([Made(Verb.GATEWAY, None, gateway), Made(Verb.BAN, None, scans)], (gateway, {SCANS: scans})),
        ([Made(Verb.BAN, None, spam), Made(Verb.BAN, scans, longer)], (gateway, {SCANS: longer, SPAM: spam})),
        (
            [Made(Verb.GATEWAY, gateway, replace(gateway, firewall=True)), Made(Verb.UNBAN, spam, None)],
            (replace(gateway, firewall=True), {SCANS: longer}),
        ),
        (
            [Made(Verb.GATEWAY, replace(gateway, firewall=True), None), Made(Verb.EXPIRE, longer, None)],
            (None, {}),
        ),
    ]
    for changes, expected in steps:
        with closing(Ledger.open(tmp_path)) as ledger:
            ledger.commit(changes, context, 1.0)
            assert standing(ledger) == expected
        with closing(Ledger.open(tmp_path)) as ledger:
            assert standing(ledger) == expected
    with closing(Ledger.open(tmp_path)) as ledger:
        assert [row.verb for each in ledger.history() for row in each.rows] == [
            Verb.GATEWAY,
            Verb.EXPIRE,
            Verb.GATEWAY,
            Verb.UNBAN,
            Verb.BAN,
            Verb.BAN,
            Verb.GATEWAY,
            Verb.BAN,
        ]
        assert [each.number for each in ledger.history(subject="198.51.100.0/24")] == [4, 2, 1]
        assert [each.number for each in ledger.history(subject="gateway")] == [4, 3, 1]


def test_a_list_called_gateway_is_not_the_gateway(ledger: Ledger, context) -> None:
    named = NamedList("gateway", context.actor, ())
    ledger.commit([Made(Verb.GATEWAY, None, Gateway(owner=context.actor))], context, 1.0)
    ledger.commit([Made(Verb.DEFINE, None, named)], context, 2.0)
    row = ledger.last_change("gateway/self")
    assert row is not None
    assert (row.revision, row.subject) == (1, "gateway")


def test_a_setting_that_stands_cannot_be_made_anew(ledger: Ledger, context) -> None:
    ledger.commit([Made(Verb.BAN, None, Ban(prefix=SCANS, owner=context.actor))], context, 1.0)
    with pytest.raises(Problem) as caught:
        ledger.commit([Made(Verb.BAN, None, Ban(prefix=SCANS, owner=context.actor))], context, 2.0)
    assert caught.value.code == "ledger-failed"
    assert ledger.revision == 1


@given(st.lists(bans(), unique_by=lambda ban: ban.prefix, max_size=4), st.none() | gateways(), bans())
def test_a_fork_of_the_snapshot_changes_alone(banned: list[Ban], gateway: Gateway | None, more: Ban) -> None:
    there = Snapshot(settings=[*banned, *([] if gateway is None else [gateway])])
    held = dict(there.bans)
    assert (there.gateway, held) == (gateway, {ban.prefix: ban for ban in banned})
    fork = there.fork()
    fork.apply(Made(Verb.BAN, held.get(more.prefix), more))
    fork.apply(
        Made(Verb.GATEWAY, gateway, None) if gateway else Made(Verb.GATEWAY, None, Gateway(owner=more.owner))
    )
    assert (there.gateway, dict(there.bans)) == (gateway, held)
    assert dict(fork.bans) == {**held, more.prefix: more}
    assert (fork.gateway is None) is (gateway is not None)
    there.apply(Made(Verb.BAN, held.get(more.prefix), replace(more, reason="another")))
    assert fork.bans[more.prefix] == more
