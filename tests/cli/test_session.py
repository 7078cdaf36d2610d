"""The envelope of --json: its keys are a promise, only ever added to."""

from __future__ import annotations

import io
import os
import pty
import sys

import pytest

from sekimori.cli.options import Options, scan
from sekimori.cli.session import Session
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem

ENVELOPE = ["schema", "ok", "data", "warnings", "problems"]
PROBLEM = ["type", "title", "status", "detail", "code", "kind", "facts", "fixes"]
OUTCOME = {"planned", "revision", "changes", "mappings", "notices", "confirm"}
CHANGE = {"verb", "subject", "name", "before", "after", "changed"}
MAPPING = {
    *("id", "name", "kind", "owner", "managed_by", "lease", "ports", "to"),
    *("trigger", "hold", "except", "log", "at", "socks_users", "reach"),
    *("host", "from", "expires_at", "expires_in", "permanent", "asked"),
    *("hours", "zone", "on", "via", "path", "limit"),
    *("limit_total", "max_connections", "proxy_protocol", "idle", "accept_risk", "preset"),
    *("title", "risk", "paused", "created_at", "revision", "opens_at"),
    *("closes_at", "status", "counters"),
}
STATUS = {"state", "since", "checked_at", "problem", "targets", "hops"}
COUNTERS = {
    *("flows_active", "flows_total", "bytes_in", "bytes_out", "packets_in", "packets_out"),
    *("refused", "failed", "dropped", "last_flow_at"),
}


@pytest.fixture
def everything(fake):
    view, web = fake.view(fake.mapping()), fake.mapping()
    closed = fake.outcome(Made(Verb.CLOSE, web, None))
    fake.answers |= {
        "GET /v1/mappings": {"mappings": [view]},
        "GET /v1/mappings/web": view,
        "GET /v1/mappings/web/who": {"mapping": view, "sources": [], "flows": []},
        "GET /v1/history": {"revisions": []},
        "GET /v1/status": {"version": "1"},
        "GET /v1/presets": {"presets": []},
        "GET /v1/export": "",
        "POST /v1/mappings": fake.opening(),
        "PATCH /v1/mappings/web": fake.changing(Verb.PAUSE, web, web),
        "POST /v1/mappings/web/extend": fake.changing(Verb.EXTEND, web, web),
        "DELETE /v1/mappings/web": closed,
        "POST /v1/undo": fake.opening(),
        "POST /v1/apply": {**closed, "skipped": []},
    }
    return fake


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("open 8080 --to x", OUTCOME),
        ("close web", OUTCOME),
        ("extend web 2h", OUTCOME),
        ("pause web", OUTCOME),
        ("resume web", OUTCOME),
        ("edit web --idle 1m", OUTCOME),
        ("undo", OUTCOME),
        ("apply", OUTCOME | {"skipped"}),
        ("diff", OUTCOME | {"skipped"}),
        ("ls", {"mappings"}),
        ("show web", MAPPING),
        ("who web", {"mapping", "sources", "flows"}),
        ("history", {"revisions"}),
        ("status", {"version"}),
        ("presets", {"presets"}),
        ("export", {"toml"}),
        ("version", {"version"}),
    ],
)
def test_every_verb_answers_in_one_envelope(everything, run, words, keys):
    ran = run(*words.split(), "--json")
    envelope = ran.envelope
    assert list(envelope) == ENVELOPE
    assert envelope["schema"] == "sekimori/1"
    assert envelope["ok"] is (ran.code == 0)
    assert (envelope["warnings"], envelope["problems"], ran.err) == ([], [], "")
    assert set(envelope["data"]) == keys
    assert ran.out.count("\n") == 1
    assert run(*words.split(), "--json", "--quiet").out == ran.out


def test_what_is_inside(everything, run):
    view = run("show", "web", "--json").envelope["data"]
    assert set(view["status"]) == STATUS
    assert set(view["counters"]) == COUNTERS
    outcome = run("open", "8080", "--to", "x", "--json").envelope["data"]
    assert set(outcome["changes"][0]) == CHANGE
    assert set(outcome["mappings"][0]) == MAPPING


def test_a_problem_is_the_body_of_the_api(fake, run):
    problem = Problem("no-such-mapping", ref="web", near="")
    fake.answers["GET /v1/mappings/web"] = problem
    envelope = run("show", "web", "--json", "--lang", "ja").envelope
    assert list(envelope) == ENVELOPE
    assert list(envelope["problems"][0]) == PROBLEM
    assert envelope["problems"][0] == problem.body("ja")


def test_the_language_is_asked_of_the_daemon(everything, run):
    run("ls", "--lang", "ja")
    run("ls")
    assert everything.languages == ["ja", "en"]


def test_options_are_read_from_anywhere_but_after_two_dashes():
    options, rest = scan(
        ["--json", "close", "-q", "a", "--socket=/s", "--", "--yes"], {"LANG": "ja_JP.UTF-8"}
    )
    assert rest == ["close", "a", "--", "--yes"]
    assert (options.json, options.quiet, options.yes, options.socket) == (True, True, False, "/s")
    assert options.language == "ja"


@pytest.fixture
def terminal(monkeypatch):
    """Make stdin and stderr a terminal where something is typed."""

    class Typed(io.StringIO):
        def isatty(self) -> bool:
            return True

    def type_(text):
        monkeypatch.setattr(sys, "stdin", Typed(text))
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    return type_


@pytest.mark.parametrize(
    ("typed", "agrees"),
    [("y\n", True), ("YES\n", True), ("はい\n", True), ("\n", False), ("n\n", False), ("", False)],
)
def test_a_question_is_answered(terminal, capsys, typed, agrees):
    terminal(typed)
    assert Session(Options()).agrees("Really?") is agrees
    assert capsys.readouterr().err == "Really? Go on? [y/N] "


def test_no_question_with_yes_or_json_or_without_a_terminal(terminal, monkeypatch):
    terminal("n\n")
    assert Session(Options(yes=True)).agrees("Really?")
    assert Session(Options(json=True)).agrees("Really?")
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert Session(Options()).agrees("Really?")


def test_close_now_asks_before_it_cuts(everything, run, terminal):
    everything.answers["GET /v1/mappings/web"] = everything.view(everything.mapping(), flows_active=3)
    terminal("n\n")
    assert run("close", "web", "--now").code == 130
    assert "DELETE" not in [method for method, _, _ in everything.asked]
    terminal("y\n")
    assert run("close", "web", "--now").code == 0
    terminal("n\n")
    assert run("close", "web", "--now", "--yes").code == 0
    assert run("close", "web").code == 0


def test_apply_asks_before_it_closes(everything, run, terminal):
    terminal("n\n")
    assert run("apply").code == 130
    assert [body["plan"] for body in everything.bodies("POST")] == [True]
    terminal("y\n")
    assert run("apply").code == 0
    assert [body["plan"] for body in everything.bodies("POST")] == [True, True, False]


def test_colour_on_a_terminal_unless_told_not_to(everything):
    for environ, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        leader, follower = pty.openpty()
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "sekimori", "ls"],
            {"SEKIMORI_SOCKET": str(everything.socket), "TERM": "xterm-256color", **environ},
            file_actions=[(os.POSIX_SPAWN_DUP2, follower, 1), (os.POSIX_SPAWN_DUP2, follower, 2)],
        )
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        text = os.read(leader, 65536).decode()
        os.close(follower)
        os.close(leader)
        assert "● open" in text
        assert ("\x1b[32m" in text) is coloured
