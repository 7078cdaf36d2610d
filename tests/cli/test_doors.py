"""door, router, import: what is sent, what is said, and what of a stranger's words reaches the terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from sekimori.cli.changes import describe_plan
from sekimori.cli.options import Options
from sekimori.cli.session import Session
from sekimori.cli.text import wide
from sekimori.doors.api.permissions import render_permissions
from sekimori.doors.api.render import render_change
from sekimori.model.decision import Made, Subject, Verb
from sekimori.model.door import Door, DoorName
from sekimori.model.errors import Problem
from sekimori.model.lease import LeaseProtocol, LeaseTerms, NonceRule
from sekimori.model.mapping import Owner
from sekimori.model.permission import Permission, Permissions

ALICE = Owner.parse("person:alice")
DEVICE = Owner.parse("device:02:00:00:00:00:05")
IGD = Door(door=DoorName.IGD, owner=ALICE, interfaces=("lan0",), created_at=1_700_000_000)
PORTMAP = Door(door=DoorName.PORTMAP, owner=ALICE, interfaces=("lan0", "lan1"), nonce=NonceRule.STRICT)
EVIL = "Xbox\x1b]0;owned\x07\x9b31m\r\nowner  root\u202e"
"""What a device may call what it opened."""
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def permissions(*texts: str) -> Permissions:
    return Permissions(owner=ALICE, rules=tuple(map(Permission.parse, texts)), created_at=1_700_000_000)


def outcome(
    verb: Verb, *pairs: tuple[Subject | None, Subject | None], planned: bool = False
) -> dict[str, Any]:
    return {
        "planned": planned,
        "revision": None if planned else 7,
        "changes": [render_change(Made(verb, before, after)) for before, after in pairs],
        "mappings": [],
        "notices": [],
        "confirm": None,
    }


def a_view(door: Door | None, name: str, leases: int = 0, **problems: Problem) -> dict[str, Any]:
    shut = dict.fromkeys(("version", "nonce", "owner", "managed_by", "created_at"))
    if door is None:
        return {"name": name, "enabled": False, "interfaces": [], **shut, "leases": leases}
    return {
        "name": name,
        "enabled": True,
        "interfaces": [
            {"interface": each, "problem": problems[each].body("en") if each in problems else None}
            for each in door.interfaces
        ],
        "version": door.version if name == "igd" else None,
        "nonce": str(door.nonce) if name == "portmap" else None,
        "owner": str(door.owner),
        "managed_by": None,
        "created_at": "2023-11-14T22:13:20+00:00",
        "leases": leases,
    }


def listing(*doors: dict[str, Any]) -> dict[str, Any]:
    return {"doors": list(doors), "permissions": render_permissions(None)}


class TestDoors:
    @pytest.mark.parametrize(
        ("words", "sent"),
        [
            ("igd --on lan0", {"igd": {"interfaces": ["lan0"]}}),
            (
                "igd portmap igd --on lan0 --on lan1,lan2",
                {name: {"interfaces": ["lan0", "lan1", "lan2"]} for name in ("igd", "portmap")},
            ),
            ("igd --igd-version 2", {"igd": {"version": 2}}),
            (
                "igd portmap --on lan0 --nonce strict --igd-version 1",
                {
                    "igd": {"interfaces": ["lan0"], "version": 1},
                    "portmap": {"interfaces": ["lan0"], "nonce": "strict"},
                },
            ),
        ],
    )
    def test_only_what_is_said_is_sent_and_in_one_call(self, fake, run, words, sent):
        fake.answers["PATCH /v1/doors"] = outcome(Verb.DOOR, (None, IGD), (None, PORTMAP))
        ran = run("door", "enable", *words.split(), "--why", "consoles")
        assert ran.code == 0, ran.err
        assert fake.bodies("PATCH") == [{"doors": sent, "plan": False, "why": "consoles"}]
        assert ran.out == (
            "The door igd is open on lan0. Who may open what: sekimori door rules\n"
            "The door portmap is open on lan0, lan1. Who may open what: sekimori door rules\n"
        )

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ("enable", "DOOR is missing"),
            ("enable upnp --on lan0", "'upnp' is not a value for DOOR; it takes igd, portmap"),
            ("enable igd --on lan0 --igd-version 3", "'3' is not a value for --igd-version; it takes 1, 2"),
            ("enable portmap --nonce odd", "it takes same-source, strict"),
            ("enable portmap --on lan0 --igd-version 2", "--igd-version is of the door igd"),
            ("enable igd --on lan0 --nonce strict", "--nonce is of the door portmap"),
            ("disable", "DOOR is missing"),
            ("disable all", "'all' is not a value for DOOR"),
            ("forget", "NUMBER is missing"),
            ("forget x", "'x' is not a value for NUMBER"),
            ("forget 0", "'0' is not a value for NUMBER"),
            ("forget 99999999999999", "is not a value for NUMBER"),
            ("allow", "WHO is missing"),
            ("deny", "WHO is missing"),
            ("allow all --at first", "'first' is not a value for --at"),
            ("deny all --most 5", "no option --most"),
        ],
    )
    def test_what_is_typed_wrong_is_told_and_not_sent(self, fake, run, words, says):
        ran = run("door", *words.split())
        assert (ran.code, fake.asked) == (2, [])
        assert says in ran.err
        assert f"sekimori door {words.split()[0]} --help" in ran.err
        assert run("door", *words.split(), "--lang", "ja").err != ran.err

    def test_they_are_shut(self, fake, run):
        fake.answers["PATCH /v1/doors"] = outcome(Verb.DOOR, (IGD, None), (PORTMAP, None))
        ran = run("door", "disable", "igd", "portmap")
        assert fake.bodies("PATCH") == [{"doors": {"igd": None, "portmap": None}, "plan": False, "why": ""}]
        assert ran.out.startswith("The door igd is shut.")

    def test_a_plan_tells_before_and_after(self, fake, run):
        after = replace(IGD, interfaces=("lan0", "lan1"), version=2)
        fake.answers["PATCH /v1/doors"] = outcome(Verb.DOOR, (IGD, after), (None, PORTMAP), planned=True)
        assert run("door", "enable", "igd", "--on", "lan0", "--plan").out == (
            "Plan; nothing was changed:\n"
            "~ set door igd\n"
            "    interfaces   lan0 → lan0, lan1\n"
            "    IGD version  1 → 2\n"
            "+ set door portmap\n"
            "    interfaces  lan0, lan1\n"
            "    nonce       strict\n"
        )
        assert fake.bodies("PATCH")[0]["plan"] is True

    def test_a_list_with_what_keeps_them_from_answering(self, fake, run):
        problem = Problem("door-not-open", door="portmap", interface="lan1", why="in use")
        fake.answers["GET /v1/doors"] = listing(
            a_view(IGD, "igd", 3), a_view(PORTMAP, "portmap", 12, lan1=problem)
        )
        ran = run("door", "ls")
        assert ran.code == 0
        lines = ran.out.splitlines()
        assert [line.split() for line in lines[:3]] == [
            ["DOOR", "STATE", "ON", "ANSWERS", "AS", "LEASES", "MANAGED", "BY"],
            ["igd", "●", "open", "lan0", "IGD:1", "3", "alice"],
            ["portmap", "×", "failed", "lan0,", "lan1", "nonce", "strict", "12", "alice"],
        ]
        assert lines[3:] == [f"portmap (lan1): {problem.title()}", f"  {problem.fix()}"]
        assert run("door", "ls", "--json").envelope["data"]["doors"][1]["leases"] == 12

    def test_while_all_are_shut_it_says_how_to_open_one(self, fake, run):
        fake.answers["GET /v1/doors"] = listing(a_view(None, "igd"), a_view(None, "portmap"))
        assert "sekimori door enable igd portmap --on lan0" in run("door", "ls").out
        assert "閉" in run("door", "ls", "--lang", "ja").out

    def test_what_was_refused_lately_and_why(self, fake, run):
        why = Problem("lease-quota", who=DEVICE.label, most=64)
        one = {
            "at": "2023-11-14T22:13:20+00:00",
            "device": "02:00:00:00:00:05",
            "address": "192.168.1.5",
            "door": "igd",
            "ports": "udp/80:3074",
            "to": "192.168.1.5",
            "description": EVIL,
            "times": 12,
            "problem": why.body("en"),
        }
        fake.answers["GET /v1/doors"] = listing(a_view(IGD, "igd")) | {"refusals": [one]}
        ran = run("door", "ls")
        head, row = ran.out.splitlines()[-2:]
        assert head.split() == ["LAST", "DEVICE", "DOOR", "ASKED", "FOR", "TIMES", "WHY", "NOT"]
        assert "02:00:00:00:00:05  igd   udp/80:3074 → 192.168.1.5 'Xbox" in row
        assert re.search(rf" 12  {re.escape(why.title())}$", row)
        assert UNSEEN.search(ran.out.replace("\n", "")) is None
        fake.answers["GET /v1/doors"] = listing(a_view(IGD, "igd"))  # of an older daemon
        assert "Refused" not in run("door", "ls").out


class TestRules:
    def test_a_list(self, fake, run):
        fake.answers["GET /v1/permissions"] = render_permissions(permissions("deny on:guest0", "allow all"))
        assert run("door", "rules").out == (
            "NO  RULE\n 1  deny on:guest0\n 2  allow all\n\n"
            "The first rule that fits decides; what none fits is denied.\n"
            "Unless it says otherwise, a rule that allows is about ports 1024-65535 (outside and inside), "
            "to the device itself, 64 leases of each and 7d at most.\n"
        )
        assert run("door", "rules", "--json").envelope["data"]["rules"][0]["number"] == 1

    def test_where_nobody_wrote_any_and_where_there_is_none(self, fake, run):
        fake.answers["GET /v1/permissions"] = render_permissions(None)
        assert run("door", "rules").out.startswith(
            "Nobody wrote rules; this one holds unless somebody does:\n\n"
        )
        fake.answers["GET /v1/permissions"] = render_permissions(permissions())
        assert run("door", "rules").out == (
            "There is no rule, so everything is denied. The usual rule: sekimori door allow all\n"
        )
        fake.answers["GET /v1/permissions"] = render_permissions(permissions("deny all"))
        assert "Unless it says otherwise" not in run("door", "rules").out

    @pytest.mark.parametrize(
        ("words", "rule"),
        [
            (["allow", "all"], "allow all"),
            (["allow", "192.168.1.0/24", "tcp"], "allow 192.168.1.0/24 tcp"),
            (
                [
                    *("allow", "aa:bb:cc:dd:ee:ff", "tcp+udp", "--outside", "80-90", "--inside", "80"),
                    *("--most", "any", "--for", "24h", "--others", "--matching", "a b"),
                ],
                "allow aa:bb:cc:dd:ee:ff tcp+udp outside 80-90 inside 80 most any for 24h others "
                'matching "a b"',
            ),
            (["deny", "on:guest0,192.168.2.0/24"], "deny on:guest0,192.168.2.0/24"),
            (
                ["deny", "all", "--outside", "1-99", "--matching", "x.*"],
                'deny all outside 1-99 matching "x.*"',
            ),
        ],
    )
    def test_words_become_a_rule(self, fake, run, words, rule):
        before, after = permissions("allow all"), permissions("deny on:guest0", "allow all")
        fake.answers["POST /v1/permissions"] = outcome(Verb.PERMIT, (before, after))
        ran = run("door", *words, "--at", "2", "--why", "x")
        assert ran.code == 0, ran.err
        assert fake.bodies("POST") == [{"rule": rule, "at": 2, "plan": False, "why": "x"}]
        Permission.parse(rule)
        assert ran.out == "Changed the permission rules:\n  + deny on:guest0\n"

    @pytest.mark.parametrize(
        "words",
        [
            ["allow", "all most 5"],
            ["allow", "all", "tcp udp"],
            ["allow", "all", "--outside", "80 most 5"],
            ["deny", 'all"'],
            ["deny", "all", "--inside", ""],
        ],
    )
    def test_one_value_cannot_bring_in_another(self, fake, run, words):
        ran = run("door", *words)
        assert (ran.code, fake.asked) == (2, [])

    def test_a_plan_shows_the_rules_around(self, fake, run):
        before, after = permissions("deny on:guest0", "allow all"), permissions("allow all")
        fake.answers["DELETE /v1/permissions/1"] = outcome(Verb.PERMIT, (before, after), planned=True)
        ran = run("door", "forget", "1", "--plan", "--why", "a b")
        assert fake.asked == [("DELETE", "/v1/permissions/1?plan=true&why=a%20b", None)]
        assert ran.out == (
            "Plan; nothing was changed:\n~ set permissions\n  - deny on:guest0\n    allow all\n"
        )

    def test_a_notice_of_the_daemon_is_passed_on(self, fake, run):
        answer = outcome(Verb.PERMIT, (None, permissions("allow all")))
        answer["notices"] = [{"code": "usual-rule", "text": "it is rule 1"}]
        fake.answers["POST /v1/permissions"] = answer
        assert run("door", "allow", "all").err == "note: it is rule 1\n"

    def test_back_to_the_usual_one(self, fake, run):
        fake.answers["POST /v1/undo"] = outcome(Verb.PERMIT, (permissions("deny all"), None))
        assert run("undo").out.startswith("No rules are written any more; the usual one holds")


class TestLeases:
    @pytest.fixture
    def held(self, fake):
        terms = LeaseTerms(protocol=LeaseProtocol.IGD, description=EVIL, lasting=True)
        view = fake.view(fake.mapping("udp-3074", "udp/3074", owner=DEVICE, lease=terms))
        fake.answers |= {
            "GET /v1/mappings": {"mappings": [view, fake.view(fake.mapping("web"))]},
            "GET /v1/mappings/udp-3074": view,
            "GET /v1/mappings/udp-3074/who": {"mapping": view, "sources": [], "flows": []},
        }
        return fake

    def test_a_list_of_what_devices_opened(self, held, run):
        ran = run("router", "ls")
        head, row = ran.out.splitlines()
        assert (
            head.split()
            == ["NAME", "DEVICE", "OPEN", "→", "TARGET", "BY", "DESCRIPTION", "LEFT", "LAST", "USE"][:-1]
        )
        assert row.startswith("udp-3074  02:00:00:00:00:05  udp/3074 → 192.168.1.5")
        assert "UPnP" in row
        assert "never" in row
        data = run("router", "ls", "--json").envelope["data"]
        assert [view["name"] for view in data["leases"]] == ["udp-3074"]

    def test_where_there_is_none(self, fake, run):
        fake.answers["GET /v1/mappings"] = {"mappings": [fake.view(fake.mapping("web"))]}
        assert run("router", "ls").out.startswith("No device has opened a port by itself.")
        assert run("router", "ls", "--json").envelope["data"] == {"leases": []}

    def test_everywhere_it_is_seen_whose_it_is(self, held, run):
        assert "the device 02:00:00:00:00:05" in run("ls").out
        assert "the device 02:00:00:00:00:05" in run("ls", COLUMNS="70").out
        shown = run("show", "udp-3074").out
        assert re.search(r"^owner +the device 02:00:00:00:00:05$", shown, re.MULTILINE)
        assert re.search(r"^asked for by +UPnP: 'Xbox.*', without an end$", shown, re.MULTILINE)
        assert re.search(
            r"^機器の求め +UPnP「Xbox", run("show", "udp-3074", "--lang", "ja").out, re.MULTILINE
        )

    @pytest.mark.parametrize("words", ["router ls", "ls", "show udp-3074", "who udp-3074", "history"])
    @pytest.mark.parametrize("more", [[], ["--json"], ["--lang", "ja"]])
    def test_no_word_of_a_device_drives_the_terminal(self, held, run, words, more):
        view = held.answers["GET /v1/mappings/udp-3074"]
        row = {"verb": "open", "subject": "mapping", "name": view["name"], "changed": [], "id": "m"}
        revision = {"number": 7, "at": view["created_at"], "actor": view["owner"], "door": "igd", "why": EVIL}
        held.answers["GET /v1/history"] = {
            "revisions": [{**revision, "rows": [{**row, "before": None, "after": None}]}]
        }
        ran = run(*words.split(), *more)
        assert ran.code == 0
        assert not UNSEEN.search(ran.out)
        if not more:
            assert not re.search(r"^owner +root", ran.out, re.MULTILINE)

    @pytest.mark.parametrize("letter", ["A", "関", "<&>'"])
    @pytest.mark.parametrize("words", ["router ls", "door ls", "ls", "history"])
    def test_a_long_description_leaves_the_table_readable(self, held, run, words, letter):
        long = (letter * 250)[:250]
        terms = LeaseTerms(protocol=LeaseProtocol.IGD, description=long)
        view = held.view(held.mapping("udp-3074", "udp/3074", owner=DEVICE, lease=terms))
        why = Problem("lease-quota", who=DEVICE.label, most=64).body("en")
        one = {"at": view["created_at"], "device": DEVICE.id, "address": "192.168.1.5", "door": "igd"}
        one |= {"ports": "udp/1", "to": "192.168.1.5", "description": long, "times": 1, "problem": why}
        revision = {"number": 7, "at": view["created_at"], "actor": view["owner"], "door": "igd", "why": long}
        row = {"verb": "open", "subject": "mapping", "name": view["name"], "changed": [], "id": "m"}
        held.answers |= {
            "GET /v1/mappings": {"mappings": [view]},
            "GET /v1/doors": listing(a_view(IGD, "igd")) | {"refusals": [one]},
            "GET /v1/history": {
                "revisions": [{**revision, "rows": [{**row, "before": None, "after": None}]}]
            },
        }
        lines = run(*words.split(), COLUMNS="100").out.splitlines()
        assert max(map(wide, lines)) <= 100
        assert any("02:00:00:00:00:05" in line.replace(" ", "") for line in lines)

    def test_what_json_says_is_what_it_was(self, held, run):
        assert run("show", "udp-3074", "--json").envelope["data"]["lease"]["description"] == EVIL

    @pytest.mark.parametrize(
        ("words", "sent"),
        [([], {}), (["--for", "30d"], {"for": "30d"}), (["--permanent", "mine"], {"permanent": "mine"})],
    )
    def test_one_is_adopted(self, held, run, words, sent):
        before = held.mapping(
            "udp-3074", "udp/3074", owner=DEVICE, lease=LeaseTerms(protocol=LeaseProtocol.PCP)
        )
        after = replace(before, owner=ALICE, lease=None)
        held.answers["POST /v1/mappings/udp-3074/adopt"] = held.changing(Verb.ADOPT, before, after)
        ran = run("router", "adopt", "udp-3074", *words, "--why", "mine")
        assert held.bodies("POST") == [{**sent, "plan": False, "why": "mine"}]
        assert re.fullmatch(r"udp-3074 is yours now, until .*; its device can no longer .*\n", ran.out)
        held.answers["POST /v1/mappings/udp-3074/adopt"] = held.changing(
            Verb.ADOPT, before, after, planned=True
        )
        planned = run("router", "adopt", "udp-3074", "--plan").out
        assert "~ adopt udp-3074\n    owner  the device 02:00:00:00:00:05 → alice\n" in planned

    def test_one_needs_a_name(self, fake, run):
        assert run("router", "adopt").code == 2
        assert fake.asked == []


class TestImport:
    @pytest.fixture
    def answered(self, fake):
        def answer(body: Any) -> dict[str, Any]:
            made = outcome(Verb.DOOR, (None, IGD), planned=body["plan"])
            made["changes"] += outcome(Verb.PERMIT, (None, permissions("deny all")))["changes"]
            return {**made, "skipped": [{"code": "left-out", "text": "uuid: left out"}]}

        fake.answers["POST /v1/import/miniupnpd"] = answer
        return fake

    def test_the_file_is_read_here_and_sent(self, answered, run, tmp_path):
        file = tmp_path / "miniupnpd.conf"
        file.write_text("listening_ip=lan0\n")
        ran = run("import", str(file), "--why", "moved")
        assert ran.code == 0
        assert answered.bodies("POST") == [
            {"file": str(file), "text": "listening_ip=lan0\n", "plan": False, "why": "moved"}
        ]
        assert ran.out.startswith("The door igd is open on lan0.")
        assert "  + deny all\n" in ran.out
        assert ran.err == "note: uuid: left out\n"
        planned = run("import", str(file), "--plan")
        assert planned.out.startswith("Plan; nothing was changed:\n+ set door igd\n")
        assert planned.out.endswith("+ set permissions\n  + deny all\n")
        assert run("import", str(file), "--json").envelope["warnings"] == [
            {"code": "left-out", "text": "uuid: left out"}
        ]

    def test_it_is_shown_before_it_is_done(self, answered, run, tmp_path, monkeypatch):
        questions: list[str] = []

        def agrees(_session: Session, question: str) -> bool:
            questions.append(question)
            return False

        monkeypatch.setattr(Session, "asks", True)
        monkeypatch.setattr(Session, "agrees", agrees)
        file = tmp_path / "miniupnpd.conf"
        file.write_text("")
        ran = run("import", str(file))
        assert (ran.code, ran.out) == (130, "")
        assert [body["plan"] for body in answered.bodies("POST")] == [True]
        assert "+ set door igd" in questions[0]
        assert "uuid: left out" in questions[0]

    @pytest.mark.parametrize("words", [(), ("/nowhere/at.conf",), ("--frob",)])
    def test_what_cannot_be_read_is_not_sent(self, fake, run, words):
        ran = run("import", *words)
        assert ran.code in (2, 4)
        assert fake.asked == []


@pytest.mark.parametrize("language", ["en", "ja"])
def test_rules_that_swap_places_are_shown_as_moved(language):
    """Two lists that hold the same rules in another order are not the same."""
    before, after = permissions("allow all", "deny on:guest0"), permissions("deny on:guest0", "allow all")
    changes = [render_change(Made(Verb.PERMIT, before, after))]
    text = describe_plan(Session(Options(language=language)), changes)
    assert sorted(line[:3] for line in text.splitlines()[2:]) == ["   ", "  +", "  -"]
