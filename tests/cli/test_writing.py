"""The verbs that change mappings: what they send, what they say."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace

import pytest

from sekimori.model.actual import State
from sekimori.model.address import parse_spans
from sekimori.model.decision import Made, Verb
from sekimori.model.defaults import WHOEVER_TRIGGERS
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Trigger
from sekimori.model.source import Sources
from sekimori.model.words import FIELDS

MADE = "scrypt$1024$" + "00" * 16 + "$" + "00" * 32
"""What an export writes in the place of a password."""
ALL_FLAGS = {
    "name": "web",
    "to": "192.168.1.5:80",
    "from": "10.0.0.0/8",
    "for": "2h",
    "until": "18:00",
    "permanent": "ours",
    "hours": "daily/09:00-18:00",
    "on": "192.0.2.1",
    "via": "relay",
    "at": "vps",
    "limit": "20/min",
    "limit_total": "200/min",
    "max_connections": "none",
    "proxy_protocol": "2",
    "idle": "10m",
    "trigger": "tcp/6667",
    "hold": "5m",
    "except": "tcp/443",
    "socks_user": f"alice:{MADE}",
    "reach": "db:5432",
    "accept_risk": "exposed-admin",
}


def test_open_sends_every_field_as_it_was_typed(fake, run):
    fake.answers["POST /v1/mappings"] = fake.opening()
    flags = [word for name, value in ALL_FLAGS.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert run("open", "8080:80", *flags, "--log", "--socks", "--why", "party").code == 0
    sent = fake.bodies("POST")[0]
    expected = {
        **ALL_FLAGS,
        "ports": "8080:80",
        "accept_risk": ["exposed-admin"],
        "socks_user": [f"alice:{MADE}"],
        "socks": True,
        "log": True,
        "plan": False,
        "why": "party",
    }
    assert sent == expected
    assert set(FIELDS) <= set(sent)


def test_open_sends_only_what_was_said(fake, run):
    fake.answers["POST /v1/mappings"] = fake.opening()
    run("open", "minecraft", "--to", "kids-pc")
    assert fake.bodies("POST") == [{"ports": "minecraft", "to": "kids-pc", "plan": False, "why": ""}]


def test_a_trigger_takes_the_place_of_the_target(fake, run):
    trigger = Trigger(parse_spans("tcp/6667"), 600)
    mapping = fake.mapping(target=WHOEVER_TRIGGERS, trigger=trigger, path=())
    fake.answers["POST /v1/mappings"] = fake.opening(mapping)
    ran = run("open", "tcp/113", "--trigger", "tcp/6667")
    assert fake.bodies("POST") == [{"ports": "tcp/113", "trigger": "tcp/6667", "plan": False, "why": ""}]
    assert "leads to whoever uses tcp/6667" in ran.out
    assert "tcp/6667 を使った機器" in run("open", "113", "--trigger", "tcp/6667", "--lang", "ja").out
    assert run("open", "tcp/113").code == 2
    assert run("open", "tcp/113", "--hold", "5m").code == 2


def test_a_log_is_turned_on_and_off(fake, run):
    web = fake.mapping()
    fake.answers["PATCH /v1/mappings/web"] = fake.changing(Verb.CHANGE, web, replace(web, log=True))
    ran = run("edit", "web", "--log")
    assert "log no → yes" in ran.out
    run("edit", "web", "--no-log")
    run("edit", "web", "--except", "443,80", "--except", "gre", "--trigger", "none", "--hold", "none")
    assert [body.get("log") for body in fake.bodies("PATCH")] == [True, False, None]
    assert (
        fake.bodies("PATCH")[2] | {"except": "443,80,gre", "trigger": "none", "hold": "none"}
        == (fake.bodies("PATCH")[2])
    )
    assert run("edit", "web", "--log", "--no-log").code == 2


def test_a_plan_shows_a_trigger_and_exceptions(fake, run):
    trigger = Trigger(parse_spans("tcp/6667"), 600)
    old = fake.mapping(excepted=parse_spans("443"))
    new = fake.mapping(excepted=(), trigger=trigger, target=WHOEVER_TRIGGERS)
    answer = {**fake.changing(Verb.CHANGE, old, new), "planned": True}
    fake.answers["PATCH /v1/mappings/web"] = answer
    shown = run("edit", "web", "--trigger", "6667", "--plan").out
    for line in ("trigger  not set → tcp/6667", "hold     not set → 10m", "except   tcp/443 → not set"):
        assert line in shown


def test_what_may_be_repeated_adds_up(fake, run):
    fake.answers["POST /v1/mappings"] = fake.opening()
    run("open", "80", "--to", "x", "--from", "a,b", "--from", "c", "--accept-risk", "p", "--accept-risk", "q")
    assert fake.bodies("POST")[0]["from"] == "a,b,c"
    assert fake.bodies("POST")[0]["accept_risk"] == ["p", "q"]


def test_open_says_what_to_whom_until_when_and_how_to_close(fake, run):
    mapping = fake.mapping(sources=Sources.parse("198.51.100.0/24,lan"))
    fake.answers["POST /v1/mappings"] = fake.opening(
        mapping, notices=[{"code": "x", "text": "mind the \x07gap"}]
    )
    ran = run("open", "8080", "--to", "192.168.1.5")
    assert re.fullmatch(
        r"web: tcp/8080 on all addresses leads to 192\.168\.1\.5:8080, for 198\.51\.100\.0/24, LAN, "
        r"until tomorrow \d\d:\d\d\. To close it: sekimori close web\n",
        ran.out,
    )
    assert ran.err == "note: mind the \ufffdgap\n"
    quiet = run("open", "8080", "--to", "192.168.1.5", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    told = run("open", "8080", "--to", "192.168.1.5", "--json").envelope
    assert told["warnings"] == [{"code": "x", "text": "mind the \x07gap"}]
    assert told["data"]["mappings"][0]["name"] == "web"


def test_open_in_japanese(fake, run):
    fake.answers["POST /v1/mappings"] = fake.opening(fake.mapping(lifetime=Lifetime.permanent("本番")))
    out = run("open", "8080", "--to", "192.168.1.5", SEKIMORI_LANG="ja").out
    assert out == (
        "web: 全アドレスの tcp/8080 を 192.168.1.5:8080 につなぎました。"
        "接続元はだれでも、無期限（本番）です。閉じるには: sekimori close web\n"
    )


@pytest.mark.parametrize(
    ("state", "extra", "says"),
    [
        (State.OUTSIDE_HOURS, {"opens_at": "2030-01-01T09:00:00Z"}, "opens 2030-01-01 09:00"),
        (State.STARTING, {}, "still starting"),
        (State.FAILED, {}, "not served yet: cannot find the host 'x'"),
    ],
)
def test_open_says_when_it_is_not_open_yet(fake, run, state, extra, says):
    outcome = fake.opening()
    problem = Problem("no-such-host", host="x", why="y") if state is State.FAILED else None
    outcome["mappings"] = [{**fake.view(fake.mapping(), state, problem=problem), **extra}]
    fake.answers["POST /v1/mappings"] = outcome
    assert says in run("open", "8080", "--to", "x").out


def test_a_plan_shows_before_and_after_and_is_0(fake, run):
    web = fake.mapping()
    fake.answers["POST /v1/mappings"] = fake.opening(planned=True)
    ran = run("open", "8080", "--to", "192.168.1.5", "--plan")
    assert ran.code == 0
    assert fake.bodies("POST")[0]["plan"] is True
    lines = ran.out.splitlines()
    assert lines[:5] == [
        "Plan; nothing was changed:",
        "+ open web",
        "    ports  tcp/8080",
        "    to     192.168.1.5",
        "    from   anyone",
    ]
    assert re.fullmatch(r"    until  tomorrow \d\d:\d\d", lines[5])
    assert len(lines) == 6
    changed = replace(web, sources=Sources.parse("lan"), accepted_risks=("exposed-admin",), name="site")
    fake.answers["PATCH /v1/mappings/web"] = fake.changing(Verb.CHANGE, web, changed, planned=True)
    assert run("edit", "web", "--from", "lan", "--plan").out.splitlines()[1:] == [
        "~ change site",
        "    name           web → site",
        "    from           anyone → LAN",
        "    accepted risk  not set → exposed-admin",
    ]
    fake.answers["DELETE /v1/mappings/web"] = fake.changing(Verb.CLOSE, web, None, planned=True)
    assert run("close", "web", "--plan").out.splitlines()[1:] == ["- close web  tcp/8080 → 192.168.1.5"]
    assert fake.asked[-1][1] == "/v1/mappings/web?plan=true"
    fake.answers["PATCH /v1/mappings/web"] = fake.outcome(planned=True)
    assert run("edit", "web", "--from", "lan", "--plan").out == "Plan: nothing would change.\n"


def test_edit_sends_none_to_clear(fake, run):
    web = fake.mapping()
    fake.answers["PATCH /v1/mappings/web"] = fake.changing(Verb.CHANGE, web, replace(web, idle=None))
    run("edit", "web", "--idle", "none", "--accept-risk", "none", "--ports", "9000", "--hours", "none")
    sent = fake.bodies("PATCH")[0]
    assert sent == {
        "idle": "none",
        "accept_risk": [],
        "ports": "9000",
        "hours": "none",
        "paused": None,
        "plan": False,
        "why": "",
    }


def test_edit_says_what_changed(fake, run):
    web = fake.mapping()
    fake.answers["PATCH /v1/mappings/web"] = fake.changing(
        Verb.CHANGE, web, replace(web, sources=Sources.parse("lan"), proxy_protocol=2)
    )
    assert run("edit", "web", "--from", "lan").out == (
        "Changed web: from anyone → LAN, PROXY protocol not set → 2.\n"
    )


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (("extend", "web"), {}),
        (("extend", "web", "2h"), {"add": "2h"}),
        (("extend", "web", "--for", "3h"), {"for": "3h"}),
        (("extend", "web", "--until", "18:00"), {"until": "18:00"}),
        (("extend", "web", "--permanent", "ours"), {"permanent": "ours"}),
    ],
)
def test_extend(fake, run, words, sent):
    web = fake.mapping()
    fake.answers["POST /v1/mappings/web/extend"] = fake.changing(Verb.EXTEND, web, web)
    assert re.fullmatch(r"Extended web: until tomorrow \d\d:\d\d\.\n", run(*words).out)
    assert fake.bodies("POST") == [{**sent, "plan": False, "why": ""}]


@pytest.mark.parametrize(("verb", "paused"), [("pause", True), ("resume", False)])
def test_pause_and_resume(fake, run, verb, paused):
    web = fake.mapping()
    fake.answers["PATCH /v1/mappings/web"] = fake.changing(Verb(verb), web, replace(web, paused=paused))
    ran = run(verb, "web", "--why", "night")
    assert ran.out.startswith(f"{verb.capitalize()}d web")
    assert fake.bodies("PATCH") == [{"paused": paused, "plan": False, "why": "night"}]


def test_close_says_how_to_take_it_back(fake, run):
    fake.answers["DELETE /v1/mappings/web"] = fake.changing(Verb.CLOSE, fake.mapping(), None)
    assert (
        run("close", "web", "--now", "--why", "a b").out == "Closed web. To take that back: sekimori undo 7\n"
    )
    assert fake.asked[-1][1] == "/v1/mappings/web?now=true&why=a%20b"


def test_one_name_that_fails_keeps_no_other_from_being_closed(fake, run):
    fake.answers["DELETE /v1/mappings/web"] = fake.changing(Verb.CLOSE, fake.mapping(), None)
    fake.answers["DELETE /v1/mappings/gone"] = Problem("no-such-mapping", ref="gone", near="")
    ran = run("close", "gone", "web")
    assert ran.code == 4
    assert ran.out.startswith("Closed web.")
    assert ran.err.startswith("sekimori: cannot find a mapping 'gone'")
    told = run("close", "gone", "web", "--json").envelope
    assert not told["ok"]
    assert [change["name"] for change in told["data"]["changes"]] == ["web"]
    assert [problem["code"] for problem in told["problems"]] == ["no-such-mapping"]
    assert run("close", "gone", "--json").envelope["data"] is None


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (("undo",), {"revision": None, "for": None}),
        (("undo", "12", "--for", "24h"), {"revision": 12, "for": "24h"}),
    ],
)
def test_undo(fake, run, words, sent):
    web = fake.mapping()
    fake.answers["POST /v1/undo"] = fake.outcome(Made(Verb.UNDO, None, web))
    assert run(*words).out.startswith("Opened web: tcp/8080 leads to 192.168.1.5:8080, until tomorrow ")
    assert fake.bodies("POST") == [{**sent, "plan": False, "why": ""}]
    fake.answers["POST /v1/undo"] = fake.outcome(Made(Verb.UNDO, web, None))
    assert run("undo").out.startswith("Closed web.")
    shorter = replace(web, lifetime=Lifetime.lasting(60, web.created_at))
    fake.answers["POST /v1/undo"] = fake.changing(Verb.EXTEND, web, shorter)
    assert run("undo").out.startswith("Changed web: until tomorrow ")


def test_a_refusal_prints_the_flag_that_accepts_the_risk(fake, run):
    problem = Problem(
        "risk-not-accepted", what="SSH", sources="anyone", note="guessed in hours", risk="exposed-admin"
    )
    fake.answers["POST /v1/mappings"] = problem
    ran = run("open", "22", "--to", "x", "--from", "anyone")
    assert ran.code == 8
    assert "--accept-risk exposed-admin" in ran.err
    assert "危険を承知で開ける場合: --accept-risk" in run("open", "22", "--to", "x", "--lang", "ja").err


@pytest.mark.parametrize(
    ("far", "link", "told"),
    [
        ({"at": "vps"}, {"sekimori": False}, True),
        ({"at": "vps"}, {"sekimori": None}, True),
        ({"at": "vps", "on": ipaddress.ip_address("192.0.2.1")}, {"sekimori": False}, True),
        ({"at": "vps"}, {"sekimori": True}, False),
        ({"at": "vps", "on": ipaddress.ip_address("127.0.0.1")}, {"sekimori": False}, False),
        ({"at": "vps"}, Problem("no-such-link", name="vps", near=""), False),
        ({}, {"sekimori": False}, False),
    ],
)
def test_what_an_sshd_may_not_let_others_into_is_told(fake, run, far, link, told):
    fake.answers["POST /v1/mappings"] = fake.opening(fake.mapping(**far))
    fake.answers["GET /v1/mappings"] = {"mappings": []}
    fake.answers["GET /v1/links/vps"] = {"name": "vps", **link} if isinstance(link, dict) else link
    ran = run("open", "8080", "--to", "192.168.1.5")
    assert ran.code == 0
    assert ("the sshd of 'vps' needs 'GatewayPorts clientspecified'" in ran.err) is told
    assert run("open", "8080", "--to", "192.168.1.5", "--quiet").err == ""


def test_an_address_in_japanese_stands_apart(fake, run):
    at_one = fake.mapping(on=ipaddress.ip_address("127.0.0.1"))
    fake.answers["POST /v1/mappings"] = fake.opening(at_one)
    assert "web: 127.0.0.1 の tcp/8080 を" in run("open", "8080", "--to", "x", SEKIMORI_LANG="ja").out
