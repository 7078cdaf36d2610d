"""link: what is sent, how an unknown host key is confirmed, and what is said of how a link is."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from sekimori.doors.api.render import render_change
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.link import Link, SshPlace
from sekimori.model.mapping import Owner

PLACE = "ssh://alice@vps.example"
SEAL = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
LINK = Link(
    name="vps",
    owner=Owner.parse("person:alice"),
    place=SshPlace.parse(PLACE),
    host_keys=(f"{PLACE} ssh-ed25519 {'A' * 60}tailtail",),
    created_at=1_700_000_000,
)
EVIL = "SSH-2.0-x\x1b]0;owned\x07\r\nup"
"""What a server may call itself."""
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def outcome(
    before: Link | None, after: Link | None, standing: str = "unknown", **facts: Any
) -> dict[str, Any]:
    key = {"place": PLACE, "algorithm": "ssh-ed25519", "fingerprint": SEAL, "standing": standing}
    whole = {
        "planned": False,
        "revision": 7,
        "changes": [render_change(Made(Verb.LINK, before, after))],
        "mappings": [],
        "notices": [],
        "confirm": None,
        "shown": [key],
    }
    return {**whole, **facts}


def outcome_of_trying(**facts: Any) -> dict[str, Any]:
    whole = {
        "ok": True,
        "problem": None,
        "tried": ["publickey"],
        "local": True,
        "local_why": "",
        "remote": True,
        "remote_why": "",
        "sekimori": False,
        "rtt": 0.0123,
        "server": "SSH-2.0-OpenSSH_9.2",
        "algorithms": {"kex": "mlkem768x25519-sha256", "cipher": "aes128-gcm@openssh.com"},
    }
    return {**whole, **facts}


def view(**facts: Any) -> dict[str, Any]:
    whole = {
        "name": "vps",
        "to": PLACE,
        "jump": [],
        "identity": [],
        "config": "",
        "host_keys": [{"place": PLACE, "algorithm": "ssh-ed25519", "fingerprint": SEAL, "standing": None}],
        "connections": 1,
        "owner": "person:alice",
        "managed_by": None,
        "created_at": "2023-11-14T22:13:20+00:00",
        "phase": "up",
        "since": "2023-11-14T22:13:20+00:00",
        "problem": None,
        "next_try": None,
        "rtt": 0.0123,
        "server": "SSH-2.0-OpenSSH_9.2",
        "algorithms": {},
        "sekimori": False,
        "flows": 3,
        "mappings": ["db", "web"],
    }
    return {**whole, **facts}


def unknown() -> Problem:
    key = {"place": PLACE, "algorithm": "ssh-ed25519", "fingerprint": SEAL}
    return Problem("host-key-unknown", link="vps", keys=[key], **key)


@pytest.fixture
def answering(fake):
    fake.answers["PUT /v1/links/vps"] = outcome(None, LINK)
    fake.answers["POST /v1/links/vps/test"] = outcome_of_trying()
    return fake


class TestAdd:
    @pytest.mark.parametrize(
        ("words", "sent"),
        [
            ("vps ssh://alice@vps.example", {"to": PLACE}),
            (
                "vps alice@vps.example --jump a,b@c --jump d --connections 4 --ssh-config none",
                {"to": "alice@vps.example", "jump": ["a", "b@c", "d"], "connections": 4, "config": "none"},
            ),
            ("vps --identity /k/a --identity /k/b", {"identity": ["/k/a", "/k/b"]}),
        ],
    )
    def test_only_what_is_said_is_sent(self, answering, run, words, sent):
        ran = run("link", "add", *words.split(), "--why", "office")
        assert ran.code == 0, ran.err
        assert answering.bodies("PUT") == [{**sent, "host_keys": [], "plan": False, "why": "office"}]

    def test_files_are_sent_as_whole_paths(self, answering, run, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", "/home/alice")
        run("link", "add", "vps", "--identity", "key", "--ssh-config", "~/.ssh/other")
        (body,) = answering.bodies("PUT")
        assert (body["identity"], body["config"]) == ([f"{tmp_path}/key"], "/home/alice/.ssh/other")

    def test_it_tells_what_works(self, answering, run):
        answering.answers["POST /v1/links/vps/test"] = outcome_of_trying(
            remote=False, remote_why="prohibited"
        )
        ran = run("link", "add", "vps", PLACE, "--host-key", SEAL)
        assert ran.code == 0
        assert ran.out == (
            f"The link vps goes to {PLACE}.\n"
            "vps lets us in (SSH-2.0-OpenSSH_9.2, 12.3 ms).\n"
            "  on from there (--via)  yes\n"
            "  ports there (--at)     no (prohibited)\n"
            "  UDP                    no: Sekimori does not answer there\n"
            "  algorithms             mlkem768x25519-sha256, aes128-gcm@openssh.com\n"
        )
        assert answering.bodies("PUT")[0]["host_keys"] == [SEAL]
        envelope = run("link", "add", "vps", PLACE, "--json").envelope
        assert (envelope["data"]["test"]["remote"], envelope["data"]["shown"][0]["fingerprint"]) == (
            False,
            SEAL,
        )

    def test_a_key_of_known_hosts_is_taken_and_told(self, answering, run):
        answering.answers["PUT /v1/links/vps"] = outcome(None, LINK, "known")
        assert f"{SEAL}, is the one in known_hosts" in run("link", "add", "vps", PLACE).out

    def test_one_that_cannot_connect_now_is_added_all_the_same(self, answering, run):
        why = Problem("no-such-host", host="vps.example", why="nobody knows it")
        answering.answers["POST /v1/links/vps/test"] = outcome_of_trying(
            ok=False, problem=why.body(), local=None
        )
        ran = run("link", "add", "vps", PLACE)
        assert ran.code == 0
        assert f"vps does not work now: {why.title()}\n  {why.fix()}" in ran.out

    def test_a_key_that_another_link_names_is_taken_and_told(self, answering, run):
        answering.answers["PUT /v1/links/vps"] = outcome(None, LINK, "confirmed")
        told = run("link", "add", "vps", PLACE).out
        assert f"The host key of {PLACE}, {SEAL}, is the one that another link has confirmed." in told

    def test_of_one_that_stands_it_tells_what_is_new(self, answering, run):
        answering.answers["PUT /v1/links/vps"] = outcome(LINK, replace(LINK, connections=4))
        told = run("link", "add", "vps", "--connections", "4").out
        assert told.startswith("Changed vps: connections 1 → 4.\n")

    @pytest.mark.parametrize("nothing", ["none", ""])
    def test_what_it_had_of_files_and_jumps_can_be_taken_away(self, answering, run, nothing):
        run("link", "add", "vps", "--identity", nothing, "--jump", nothing)
        (body,) = answering.bodies("PUT")
        assert (body["identity"], body["jump"]) == ([], [])

    def test_a_plan_tries_nothing(self, answering, run):
        answering.answers["PUT /v1/links/vps"] = outcome(None, LINK, planned=True, revision=None)
        ran = run("link", "add", "vps", PLACE, "--plan")
        assert ran.out == (
            "Plan; nothing was changed:\n"
            "+ set link vps\n"
            f"    server     {PLACE}\n"
            f"    host keys  {PLACE} ssh-ed25519 …tailtail\n"
        )
        assert [method for method, _, _ in answering.asked] == ["PUT"]

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ("add", "NAME is missing"),
            ("add vps x y", "'y' is one word too many"),
            ("add vps x --connections many", "'many' is not a value for --connections"),
            ("show", "NAME is missing"),
            ("test", "NAME is missing"),
            ("rm", "NAME is missing"),
        ],
    )
    def test_what_is_typed_wrong_is_told_and_not_sent(self, fake, run, words, says):
        ran = run("link", *words.split())
        assert (ran.code, fake.asked) == (2, [])
        assert says in ran.err


class TestUnknownKey:
    @pytest.mark.parametrize("more", [(), ("--yes",), ("--json",)])
    def test_where_nobody_is_asked_it_is_refused_with_the_command(self, fake, run, more):
        fake.answers["PUT /v1/links/vps"] = unknown()
        ran = run("link", "add", "vps", PLACE, "--jump", "a b", "--identity", "/k", *more)
        assert ran.code == 8
        command = f"sekimori link add vps {PLACE} --jump 'a b' --identity /k --host-key {SEAL}"
        told = ran.envelope["problems"][0]["detail"] if "--json" in more else ran.err
        assert command in told
        assert told.count("--host-key") == 1
        assert len(fake.bodies("PUT")) == 1

    @pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 130), ("\n", 130)])
    def test_on_a_terminal_somebody_is_asked(self, answering, answer, code):
        def put(body: Any) -> Any:
            return outcome(None, LINK) if SEAL in body["host_keys"] else unknown()

        answering.answers["PUT /v1/links/vps"] = put
        told, status = on_terminal(answering, answer, "link", "add", "vps", PLACE)
        assert (status, f"ssh-ed25519 {SEAL}" in told) == (code, True), told
        assert told.count("?") == 1, told
        assert "\r\nIs it the same? [y/N] " in told  # on a line of its own, which no terminal breaks
        assert [body["host_keys"] for body in answering.bodies("PUT")][1:] == ([[SEAL]] if code == 0 else [])

    def test_a_changed_key_is_never_asked_about(self, answering):
        key = {"place": PLACE, "algorithm": "ssh-ed25519", "fingerprint": SEAL}
        changed = Problem("host-key-changed", link="vps", expected="SHA256:old", keys=[key], **key)
        answering.answers["PUT /v1/links/vps"] = changed
        told, status = on_terminal(answering, "y\n", "link", "add", "vps", PLACE)
        assert status == 8
        assert "SHA256:old was expected" in told.replace("\r\n", "\n")


def on_terminal(fake: Any, answer: str, *words: str) -> tuple[str, int]:
    """Run the CLI on a terminal of its own, and type an answer to what it asks."""
    ours, theirs = pty.openpty()
    env = {"PATH": os.environ["PATH"], "SEKIMORI_SOCKET": str(fake.socket), "SEKIMORI_LANG": "en"}
    with subprocess.Popen(
        [sys.executable, "-m", "sekimori", *words], stdin=theirs, stdout=theirs, stderr=theirs, env=env
    ) as process:
        os.close(theirs)
        said = b""
        asked = False
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux tells the end of the other side so
                break
            said += piece
            if not asked and b"[y/N]" in said:
                asked = True
                os.write(ours, answer.encode())
        os.close(ours)
        return said.decode(), process.wait(20)


class TestLook:
    def test_a_list_with_why_one_is_down(self, fake, run):
        why = Problem("no-such-host", host="x", why="y")
        down = view(
            name="old",
            phase="waiting",
            problem=why.body(),
            next_try="2023-11-14T22:13:50+00:00",
            mappings=[],
            flows=0,
            jump=["ssh://jump"],
        )
        fake.answers["GET /v1/links"] = {"links": [view(), down]}
        ran = run("link", "ls")
        assert ran.code == 0
        head, up, other, *rest = ran.out.splitlines()
        assert head.split() == ["NAME", "SERVER", "STATE", "SINCE", "MAPPINGS", "FLOWS"]
        place = PLACE.removeprefix("ssh://")
        assert re.search(rf"vps +{place} +● up +2023-11-14 22:13 +db, web +3$", up)
        assert re.search(rf"old +jump → {place} +× down +2023-11-14 22:13 +0$", other)
        assert rest == [f"old: {why.title()}", f"  {why.fix()}", "  It is tried again in 0s."]
        assert "切断" in run("link", "ls", "--lang", "ja").out

    def test_a_list_that_a_file_has_part_in_tells_whose_each_is(self, fake, run):
        managed = view(name="filed", owner="file:/etc/ports.toml", managed_by="/etc/ports.toml")
        fake.answers["GET /v1/links"] = {"links": [view(), managed]}
        head, mine, filed = run("link", "ls").out.splitlines()
        assert head.split()[-2:] == ["MANAGED", "BY"]
        assert (mine.split()[-1], filed.split()[-1]) == ("alice", "ports.toml")

    def test_a_list_fits_a_terminal_of_80_columns_with_nothing_broken(self, fake, run):
        long = view(name="vps", to="ssh://alice@vps.example.net", mappings=["web"], flows=0)
        fake.answers["GET /v1/links"] = {"links": [long]}
        lines = run("link", "ls", COLUMNS="80").out.splitlines()
        assert len(lines) == 2
        assert "alice@vps.example.net" in lines[1]

    def test_where_there_is_none_it_says_how_to_add_one(self, fake, run):
        fake.answers["GET /v1/links"] = {"links": []}
        assert "sekimori link add vps ssh://user@host" in run("link", "ls").out
        assert run("link", "ls", "--json").envelope["data"] == {"links": []}

    def test_everything_about_one_on_lines_of_ours(self, fake, run):
        fake.answers["GET /v1/links/vps"] = view(server=EVIL, identity=["/k"], connections=4)
        ran = run("link", "show", "vps")
        assert ran.code == 0
        lines = dict(re.split(r"  +", line, maxsplit=1) for line in ran.out.splitlines())
        assert lines["server"] == PLACE
        assert lines["state"] == "up since 2023-11-14 22:13"
        assert lines["host key"] == f"ssh-ed25519 {SEAL}"
        assert (lines["round trip"], lines["connections"], lines["mappings"]) == ("12.3 ms", "4", "db, web")
        assert UNSEEN.search(ran.out.replace("\n", "")) is None

    @pytest.mark.parametrize(
        ("facts", "code"),
        [
            ({}, 0),
            ({"remote": False, "remote_why": "no"}, 0),
            ({"local": False, "remote": False}, 3),
            ({"local": None, "remote": False, "sekimori": True}, 0),
            ({"ok": False, "problem": Problem("no-such-host", host="x", why="y").body()}, 3),
        ],
    )
    def test_a_test_is_a_question(self, fake, run, facts, code):
        fake.answers["POST /v1/links/vps/test"] = outcome_of_trying(**facts)
        assert run("link", "test", "vps").code == code
        assert run("link", "test", "vps", "--json").envelope["ok"] is (code == 0)

    @pytest.mark.parametrize(
        ("facts", "line"),
        [
            ({"sekimori": True, "local": None}, "on from there (--via)  to what its users are granted"),
            ({"outside": False}, "ports there (--at)     yes, but others cannot come in"),
            ({"outside": True}, "ports there (--at)     yes\n"),
            ({"outside": None}, "ports there (--at)     yes\n"),
        ],
    )
    def test_what_may_be_done_there_is_told_as_it_is(self, fake, run, facts, line):
        fake.answers["POST /v1/links/vps/test"] = outcome_of_trying(**facts)
        assert line in run("link", "test", "vps").out

    def test_it_is_removed(self, fake, run):
        fake.answers["DELETE /v1/links/vps"] = outcome(LINK, None)
        ran = run("link", "rm", "vps", "--why", "moved")
        assert (ran.code, ran.out) == (0, "Removed the link vps.\n")
        assert fake.asked[-1][1] == "/v1/links/vps?why=moved"
