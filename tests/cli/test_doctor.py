"""doctor: what is said of findings, what is asked before a remedy, and with which code it ends."""

from __future__ import annotations

from typing import Any

import pytest

from sekimori.cli.session import Session
from sekimori.model.errors import Problem

REMEDY: dict[str, Any] = {
    "id": "a1b2c3d4e5",
    "owner": "Docker",
    "explains": {"en": "Adds rules.", "ja": "規則を加えます。"},
    "files": [{"path": "/etc/ufw/after.rules", "text": "-A one\n-A two"}],
    "commands": [["iptables", "-I", "DOCKER-USER", "a word"]],
    "undo": [["iptables", "-D", "DOCKER-USER", "a word"]],
}
FINDING: dict[str, Any] = {
    "code": "policy-drop",
    "severity": "error",
    "confidence": "certain",
    "mapping": "web",
    "subject": "tcp/8080",
    "title": {"en": "tcp/8080 does not get through", "ja": "tcp/8080 は届きません"},
    "fix": {"en": "Have Docker accept it.", "ja": "Docker に通させてください。"},
    "evidence": {
        "family": "ip",
        "table": "filter",
        "chain": "FORWARD",
        "handle": 0,
        "rule": "policy drop",
        "hook": "forward",
        "owner": "Docker",
    },
    "remedy": REMEDY,
}
NOTICE: dict[str, Any] = FINDING | {
    "code": "wan-private",
    "severity": "notice",
    "mapping": None,
    "subject": "wan0",
    "title": {"en": "another router stands before", "ja": "別のルーターがあります"},
    "evidence": None,
    "remedy": None,
}
APPLIED = REMEDY | {
    "codes": ["policy-drop"],
    "mappings": ["web"],
    "at": "2023-11-14T22:13:20+00:00",
    "by": "person:root",
}


def body(*findings: dict[str, Any], remedies: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"findings": list(findings), "examined": 2, "mappings": 3, "remedies": list(remedies)}


def treatment(
    *findings: dict[str, Any],
    planned: bool = False,
    treated: tuple[dict[str, Any], ...] = (REMEDY,),
    problem: Problem | None = None,
) -> dict[str, Any]:
    told = None if problem is None else problem.body()
    return body(*findings) | {"planned": planned, "treated": [{**each, "problem": told} for each in treated]}


def in_turn(*answers: dict[str, Any]) -> Any:
    """Answers that follow each other."""
    left = list(answers)
    return lambda _body: left.pop(0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Somebody at a terminal who says no; the questions they were asked."""
    questions: list[str] = []

    def agrees(_session: Session, question: str) -> bool:
        questions.append(question)
        return False

    monkeypatch.setattr(Session, "asks", True)
    monkeypatch.setattr(Session, "agrees", agrees)
    return questions


class TestLooking:
    def test_a_finding_says_what_where_and_what_to_do(self, fake, run):
        fake.answers["GET /v1/doctor"] = body(FINDING, NOTICE)
        ran = run("doctor")
        assert (ran.code, ran.err) == (3, "")
        assert ran.out == (
            "× problem: web  [policy-drop, certain]\n"
            "  tcp/8080 does not get through\n"
            "    rule    ip filter FORWARD (hook forward, of Docker): policy drop\n"
            "    to do   Have Docker accept it.\n"
            "    remedy  Adds rules.\n"
            "      + /etc/ufw/after.rules: -A one\n"
            "      + /etc/ufw/after.rules: -A two\n"
            "      $ iptables -I DOCKER-USER 'a word'\n"
            "\n"
            "- to know: this machine  [wan-private, certain]\n"
            "  another router stands before\n"
            "    to do  Have Docker accept it.\n"
            "\n"
            "Problems: 1, warnings: 0 (2 of 3 mappings looked at).\n"
            "'sekimori doctor --fix' shows the remedies again and carries them out.\n"
        )

    def test_in_japanese_with_the_handle_of_a_rule(self, fake, run):
        ruled = FINDING | {"evidence": FINDING["evidence"] | {"handle": 7, "rule": "drop"}}
        fake.answers["GET /v1/doctor"] = body(ruled)
        out = run("doctor", "--lang", "ja").out
        assert "× 問題: web  [policy-drop, 確実]\n  tcp/8080 は届きません\n" in out
        assert "ip filter FORWARD (フック forward、Docker): drop, ハンドル 7" in out
        assert "規則を加えます。" in out

    def test_one_mapping(self, fake, run):
        fake.answers["GET /v1/doctor"] = body()
        assert run("doctor", "web app").code == 0
        assert fake.asked[-1][1] == "/v1/doctor?mapping=web%20app"

    def test_one_rule_that_stops_many_is_told_once(self, fake, run):
        others = [FINDING | {"mapping": f"m{n}", "subject": f"tcp/{n}"} for n in range(7)]
        fake.answers["GET /v1/doctor"] = body(FINDING, *others)
        out = run("doctor").out
        assert out.count("policy-drop") == 1
        assert "also    m0 (tcp/0), m1 (tcp/1), m2 (tcp/2), m3 (tcp/3), m4 (tcp/4) +2\n" in out
        assert "Problems: 8" in out

    @pytest.mark.parametrize(("severity", "code"), [("error", 3), ("warning", 0), ("notice", 0)])
    def test_the_code_is_3_only_where_packets_are_kept_back(self, fake, run, severity, code):
        fake.answers["GET /v1/doctor"] = body(FINDING | {"severity": severity})
        assert run("doctor").code == code
        ran = run("doctor", "--json")
        assert (ran.code, ran.envelope["ok"], ran.envelope["data"]) == (
            code,
            code == 0,
            body(FINDING | {"severity": severity}),
        )

    def test_a_clean_machine_and_what_stands_on_it(self, fake, run):
        fake.answers["GET /v1/doctor"] = body(remedies=(APPLIED,))
        ran = run("doctor")
        assert ran.code == 0
        assert ran.out.splitlines() == [
            "Nothing on this machine keeps packets from what is open (2 of 3 mappings looked at).",
            "Done to Docker 2023-11-14 22:13 for web; to take it back: sekimori doctor --undo",
        ]

    def test_words_of_others_cannot_drive_the_terminal(self, fake, run):
        evil = FINDING | {"evidence": FINDING["evidence"] | {"chain": "a\x1b[2Jb"}}
        fake.answers["GET /v1/doctor"] = body(evil)
        assert "\x1b" not in run("doctor").out


class TestFixing:
    def test_exactly_what_was_shown_is_done(self, fake, run):
        fake.answers["POST /v1/doctor/fix"] = in_turn(treatment(FINDING, planned=True), treatment())
        ran = run("doctor", "web", "--fix", "--why", "a test")
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith("Done to Docker:\n  + /etc/ufw/after.rules: -A one\n")
        assert "Nothing on this machine keeps packets" in ran.out
        words = {"mapping": "web", "why": "a test"}
        assert fake.bodies("POST") == [
            {**words, "remedies": None, "plan": True},
            {**words, "remedies": ["a1b2c3d4e5"], "plan": False},
        ]

    def test_it_is_shown_and_asked_and_no_is_no(self, fake, run, asked):
        fake.answers["POST /v1/doctor/fix"] = in_turn(treatment(FINDING, planned=True))
        ran = run("doctor", "--fix")
        assert ran.code == 130
        (question,) = asked
        assert question.startswith("This would be done to Docker:\n")
        assert "$ iptables -I DOCKER-USER 'a word'" in question
        assert len(fake.bodies("POST")) == 1

    def test_a_plan_shows_and_does_nothing(self, fake, run, asked):
        fake.answers["POST /v1/doctor/fix"] = in_turn(treatment(FINDING, planned=True))
        ran = run("doctor", "--fix", "--plan")
        assert ran.code == 3
        assert "This would be done to Docker:" in ran.out
        assert asked == []

    def test_what_is_still_in_the_way_after_it(self, fake, run):
        fake.answers["POST /v1/doctor/fix"] = in_turn(treatment(FINDING, planned=True), treatment(FINDING))
        assert run("doctor", "--fix").code == 3

    def test_nothing_that_could_be_done(self, fake, run, asked):
        bare = FINDING | {"remedy": None}
        nothing = treatment(bare, treated=())
        fake.answers["POST /v1/doctor/fix"] = in_turn(nothing | {"planned": True}, nothing)
        ran = run("doctor", "--fix")
        assert (ran.code, asked) == (3, [])
        assert ran.out.startswith(
            "There is no remedy that could be carried out for what was found.\n\n× problem"
        )

    def test_what_failed_is_a_problem_and_its_code(self, fake, run):
        problem = Problem("remedy-failed", owner="Docker", step="iptables -I", output="no such chain")
        fake.answers["POST /v1/doctor/fix"] = in_turn(
            treatment(FINDING, planned=True), treatment(FINDING, problem=problem)
        )
        ran = run("doctor", "--fix")
        assert ran.code == 1
        assert "Done to Docker" not in ran.out
        assert problem.title() in ran.err
        assert problem.fix() in ran.err


class TestUndoing:
    def test_it_is_taken_back(self, fake, run):
        fake.answers["POST /v1/doctor/undo"] = in_turn(treatment(planned=True), treatment(FINDING))
        ran = run("doctor", "web", "--undo")
        assert (ran.code, ran.err) == (0, "")
        assert ran.out == (
            "Taken back of Docker:\n"
            "  - /etc/ufw/after.rules: -A one\n"
            "  - /etc/ufw/after.rules: -A two\n"
            "  $ iptables -D DOCKER-USER 'a word'\n"
        )
        assert fake.bodies("POST")[-1]["remedies"] == ["a1b2c3d4e5"]

    def test_it_is_asked_about(self, fake, run, asked):
        fake.answers["POST /v1/doctor/undo"] = in_turn(treatment(planned=True))
        assert run("doctor", "--undo").code == 130
        assert asked[0].startswith("This would be taken back of Docker:\n")

    def test_nothing_stands(self, fake, run):
        fake.answers["POST /v1/doctor/undo"] = treatment(treated=())
        assert run("doctor", "--undo").out == "There is nothing to take back.\n"

    def test_it_excludes_fixing(self, fake, run):
        ran = run("doctor", "--fix", "--undo")
        assert (ran.code, fake.asked) == (2, [])
