"""gateway, ban, unban, bans, kill: what is sent, what is said, and what is asked first."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import pytest

from sekimori.cli.session import Session
from sekimori.doors.api.render import render_change
from sekimori.model.causes import cause
from sekimori.model.decision import Made, Subject, Verb
from sekimori.model.errors import Problem
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.mapping import Owner

ALICE = Owner.parse("person:alice")
GATEWAY = Gateway(owner=ALICE, created_at=1_700_000_000)
BAN = Ban(
    prefix=ipaddress.ip_network("198.51.100.0/24"), owner=ALICE, expires_at=4_102_444_800, reason="scans"
)
STEP = {"kind": "sysctl", "text": "set net.ipv4.ip_forward from 0 to 1", "facts": {}}
VIEW: dict[str, Any] = {
    "enabled": True,
    "masquerade": True,
    "firewall": False,
    "owner": "person:alice",
    "managed_by": None,
    "created_at": "2023-11-14T22:13:20+00:00",
    "found": {"net.ipv4.ip_forward": "0"},
    "forwarding4": True,
    "forwarding6": False,
    "wans": [{"interface": "wan0", "addresses": ["203.0.113.5"], "gateways": ["203.0.113.1"]}],
    "lans": [],
    "obstacle": None,
    "problem": None,
}


def outcome(
    verb: Verb, before: Subject | None, after: Subject | None, *, planned: bool = False
) -> dict[str, Any]:
    return {
        "planned": planned,
        "revision": None if planned else 7,
        "changes": [render_change(Made(verb, before, after))],
        "mappings": [],
        "notices": [],
        "steps": [STEP],
    }


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Somebody at a terminal who answers what this test says; the questions they were asked."""
    questions: list[str] = []

    def agrees(_session: Session, question: str) -> bool:
        questions.append(question)
        return False

    monkeypatch.setattr(Session, "asks", True)
    monkeypatch.setattr(Session, "agrees", agrees)
    return questions


class TestGateway:
    def test_its_status_is_a_page(self, fake, run):
        fake.answers["GET /v1/gateway"] = VIEW
        ran = run("gateway", "status")
        assert ran.code == 0
        lines = ran.out.splitlines()
        assert lines[0] == "This machine is a gateway."
        assert [line.split("  ", 1)[0] for line in lines[2:]] == [
            "masquerade",
            "firewall",
            "owner",
            "since",
            "settings before",
            "forwards IPv4",
            "forwards IPv6",
            "WAN",
            "LAN",
        ]
        assert "wan0 (203.0.113.5)" in ran.out
        assert "none found" in ran.out
        assert run("gateway", "status", "--json").envelope["data"] == VIEW

    def test_why_it_cannot_be_one_and_what_to_do(self, fake, run):
        problem = Problem("needs-net-admin", why=cause("no-gateway-plane"))
        fake.answers["GET /v1/gateway"] = VIEW | {"enabled": False, "obstacle": problem.body("en")}
        out = run("gateway", "status").out
        assert "To make it one: sekimori gateway enable" in out
        assert problem.title() in out
        assert problem.fix() in out

    @pytest.mark.parametrize(
        ("words", "sent"),
        [
            ((), (None, None)),
            (("--firewall",), (None, True)),
            (("--no-firewall", "--masquerade"), (True, False)),
            (("--no-masquerade",), (False, None)),
        ],
    )
    def test_only_what_is_said_is_sent(self, fake, run, words, sent):
        fake.answers["PUT /v1/gateway"] = outcome(Verb.GATEWAY, None, GATEWAY)
        ran = run("gateway", "enable", *words, "--why", "new router")
        assert ran.code == 0
        assert fake.bodies("PUT") == [
            {"masquerade": sent[0], "firewall": sent[1], "plan": False, "why": "new router"}
        ]
        assert ran.out == (
            "This machine is a gateway now (masquerade yes, firewall no). To end it: "
            "sekimori gateway disable\n  - set net.ipv4.ip_forward from 0 to 1\n"
        )

    def test_a_plan_shows_the_steps_and_is_not_asked_about(self, fake, run, asked):
        fake.answers["PUT /v1/gateway"] = outcome(Verb.GATEWAY, None, GATEWAY, planned=True)
        ran = run("gateway", "enable", "--plan")
        assert ran.out == "Plan; nothing was changed:\n  - set net.ipv4.ip_forward from 0 to 1\n"
        assert asked == []

    @pytest.mark.parametrize("verb", ["enable", "disable"])
    def test_the_steps_are_shown_before_they_are_done(self, fake, run, asked, verb):
        method = {"enable": "PUT", "disable": "DELETE"}[verb]
        before, after = (None, GATEWAY) if verb == "enable" else (GATEWAY, None)
        fake.answers[f"{method} /v1/gateway"] = outcome(Verb.GATEWAY, before, after, planned=True)
        ran = run("gateway", verb)
        assert (ran.code, ran.out) == (130, "")
        assert asked == ["This would be done on this machine:\n  - set net.ipv4.ip_forward from 0 to 1\n"]
        assert len(fake.asked) == 1  # the plan, and nothing after it
        assert fake.bodies("PUT") == ([] if verb == "disable" else [fake.bodies("PUT")[0] | {"plan": True}])

    def test_what_changes_nothing_is_not_asked_about(self, fake, run, asked):
        fake.answers["PUT /v1/gateway"] = outcome(Verb.GATEWAY, None, GATEWAY) | {"changes": [], "steps": []}
        assert run("gateway", "enable").out == "Nothing had to be changed.\n"
        assert asked == []

    def test_it_is_ended(self, fake, run):
        fake.answers["DELETE /v1/gateway"] = outcome(Verb.GATEWAY, GATEWAY, None)
        ran = run("gateway", "disable", "--why", "a b")
        assert fake.asked == [("DELETE", "/v1/gateway?why=a%20b", None)]
        assert ran.out.startswith("This machine is no longer a gateway. To take that back: sekimori undo 7\n")

    @pytest.mark.parametrize(
        "words", [("gateway",), ("gateway", "enabel"), ("gateway", "--plan"), ("gatewya",)]
    )
    def test_a_noun_needs_one_of_its_verbs(self, fake, run, words):
        ran = run(*words)
        assert (ran.code, fake.asked) == (2, [])
        assert "gateway" in ran.err

    def test_a_noun_alone_names_its_verbs(self, run):
        assert run("gateway").err.startswith(
            "sekimori: cannot go on: 'gateway' needs one of status, enable, disable after it\n"
        )
        assert "Did you mean 'gateway enable'?" in run("gateway", "enabel").err


class TestBans:
    def test_somebody_is_banned(self, fake, run):
        fake.answers["POST /v1/bans"] = outcome(Verb.BAN, None, BAN)
        ran = run("ban", "198.51.100.0/24", "--for", "1d", "--why", "scans")
        assert fake.bodies("POST") == [
            {"address": "198.51.100.0/24", "for": "1d", "plan": False, "why": "scans"}
        ]
        assert ran.out == (
            "Banned 198.51.100.0/24 until 2100-01-01 00:00. To lift it: sekimori unban 198.51.100.0/24\n"
        )

    def test_without_an_end_it_says_so(self, fake, run):
        fake.answers["POST /v1/bans"] = outcome(Verb.BAN, None, replace(BAN, expires_at=None))
        assert "until it is lifted" in run("ban", "198.51.100.0/24").out
        assert "解除するまで" in run("ban", "198.51.100.0/24", "--lang", "ja").out

    def test_a_plan_tells_before_and_after(self, fake, run):
        after = replace(BAN, expires_at=None)
        fake.answers["POST /v1/bans"] = outcome(Verb.BAN, BAN, after, planned=True)
        assert run("ban", "198.51.100.0/24", "--plan").out == (
            "Plan; nothing was changed:\n~ ban 198.51.100.0/24\n"
            "    until  2100-01-01 00:00 → until it is lifted\n"
        )
        fake.answers["POST /v1/bans"] = outcome(Verb.BAN, None, BAN, planned=True)
        assert run("ban", "198.51.100.0/24", "--plan").out == (
            "Plan; nothing was changed:\n+ ban 198.51.100.0/24\n"
            "    until   2100-01-01 00:00\n    reason  scans\n"
        )

    def test_a_ban_is_lifted(self, fake, run):
        fake.answers["DELETE /v1/bans/198.51.100.0%2F24"] = outcome(Verb.UNBAN, BAN, None)
        assert run("unban", "198.51.100.0/24").out == "198.51.100.0/24 may come in again.\n"

    @pytest.mark.parametrize(("verb", "code"), [("ban", 2), ("unban", 2), ("kill", 2)])
    def test_who_is_meant_must_be_said(self, fake, run, verb, code):
        assert (run(verb).code, fake.asked) == (code, [])

    def test_the_list(self, fake, run):
        fake.answers["GET /v1/bans"] = {"bans": []}
        assert run("bans").out.startswith("Nobody is banned.")
        one = {
            "prefix": "198.51.100.7/32",
            "name": "198.51.100.7",
            "owner": "person:alice",
            "managed_by": None,
            "reason": "tries\x1b[31m passwords",
            "expires_at": None,
            "expires_in": None,
            "created_at": "2023-11-14T22:13:20+00:00",
        }
        fake.answers["GET /v1/bans"] = {"bans": [one]}
        head, row = run("bans").out.splitlines()
        assert head.split() == ["BANNED", "UNTIL", "WHO", "WHEN", "WHY"]
        assert row.startswith("198.51.100.7  until it is lifted  alice  2023-11-14 22:13  tries")
        assert "\x1b" not in row
        assert run("bans", "--json").envelope["data"] == {"bans": [one]}


class TestKill:
    @pytest.mark.parametrize(
        ("words", "sent"),
        [
            (("web",), ("web", None)),
            (("8080",), ("8080", None)),
            (("udp/53",), ("udp/53", None)),
            (("198.51.100.7",), (None, "198.51.100.7")),
            (("2001:db8::/32",), (None, "2001:db8::/32")),
            (("web", "--from", "198.51.100.7"), ("web", "198.51.100.7")),
        ],
    )
    def test_an_address_is_a_source_and_every_other_word_a_mapping(self, fake, run, words, sent):
        fake.answers["POST /v1/kill"] = {"ended": 2}
        ran = run("kill", *words)
        assert (ran.code, ran.out) == (0, "Ended 2 live connections.\n")
        assert fake.bodies("POST") == [{"mapping": sent[0], "source": sent[1]}]

    def test_two_sources_are_one_too_many(self, fake, run):
        assert run("kill", "198.51.100.7", "--from", "192.0.2.1").code == 2
        assert fake.asked == []

    def test_it_is_asked_first_where_somebody_is_there(self, fake, run, asked):
        fake.answers["GET /v1/mappings/web"] = fake.view(fake.mapping("web"), flows_active=5)
        assert run("kill", "web").code == 130
        assert run("kill", "198.51.100.7").code == 130
        assert run("kill", "web", "--from", "198.51.100.7").code == 130
        assert asked == [
            "5 live connections of web would end at once.",
            "Live connections from 198.51.100.7 to everything would end at once.",
            "Live connections from 198.51.100.7 to web would end at once.",
        ]
        assert fake.bodies("POST") == []


def test_history_tells_of_them(fake, run):
    rows = [
        {**render_change(Made(verb, before, after)), "id": "x"}
        for verb, before, after in (
            (Verb.GATEWAY, None, GATEWAY),
            (Verb.BAN, None, BAN),
            (Verb.UNBAN, BAN, None),
        )
    ]
    revision = {
        "number": 3,
        "at": "2023-11-14T22:13:20+00:00",
        "actor": "person:alice",
        "door": "api",
        "why": "",
        "rows": rows,
    }
    fake.answers["GET /v1/history"] = {"revisions": [revision]}
    assert "set gateway, ban 198.51.100.0/24, lift ban 198.51.100.0/24" in run("history").out


def test_the_way_the_asker_came_is_told(fake, run):
    fake.answers["GET /v1/bans"] = {"bans": []}
    run("bans", SSH_CONNECTION="198.51.100.7 50122 203.0.113.5 22")
    run("bans", SSH_CONNECTION="x\r\nEvil: yes")
    run("bans", SSH_CONNECTION="")
    assert fake.callers == ["198.51.100.7 50122 203.0.113.5 22", None, None]
