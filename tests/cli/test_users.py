"""user, key, door enable ssh: what is sent, and that no private key ever is."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sekimori.doors.api.render import render_change
from sekimori.model.decision import Made, Subject, Verb
from sekimori.model.door import Door, DoorName
from sekimori.model.errors import Problem
from sekimori.model.grantwords import parse_grant
from sekimori.model.mapping import Owner
from sekimori.model.user import Grant, User

ALICE = Owner.parse("person:alice")
LINE = f"ssh-ed25519 {'A' * 60}tailtail alice@laptop"
USER = User(
    name="alice",
    owner=ALICE,
    keys=(LINE,),
    grant=parse_grant({"ports": "8000-8999", "from": "anyone"}),
    created_at=1_700_000_000,
)
GRANT = {**Grant().to_document(), "hold": "1h"}
EVIL = "SSH-2.0-x\x1b]0;owned\x07\r\nroot"


def outcome(verb: Verb, before: Subject | None, after: Subject | None, **facts: Any) -> dict[str, Any]:
    whole = {
        "planned": False,
        "revision": 7,
        "changes": [render_change(Made(verb, before, after))],
        "mappings": [],
        "notices": [],
        "confirm": None,
    }
    return {**whole, **facts}


def view(**facts: Any) -> dict[str, Any]:
    whole = {
        "name": "alice",
        "owner": "person:alice",
        "managed_by": None,
        "created_at": "2023-11-14T22:13:20+00:00",
        "expires_at": None,
        "keys": [
            {
                "fingerprint": "SHA256:abc",
                "algorithm": "ssh-ed25519",
                "options": "restrict",
                "comment": "a@b",
                "problem": None,
            }
        ],
        "grant": {**GRANT, "ports": "8000-8999", "quota": 10 << 30},
        "mappings": ["web"],
        "sessions": [],
    }
    return {**whole, **facts}


def session(**facts: Any) -> dict[str, Any]:
    whole = {
        "user": "alice",
        "fingerprint": "SHA256:abc",
        "source": "198.51.100.7:50022",
        "since": "2023-11-14T22:13:20+00:00",
        "client": EVIL,
        "mappings": ["web"],
        "channels": 2,
        "bytes_in": 2048,
        "bytes_out": 0,
    }
    return {**whole, **facts}


@pytest.fixture
def answering(fake):
    fake.answers["POST /v1/users"] = outcome(Verb.USER, None, USER)
    fake.answers["PATCH /v1/users/alice"] = outcome(Verb.USER, replace(USER, grant=Grant()), USER)
    fake.answers["POST /v1/users/alice/keys"] = outcome(Verb.USER, replace(USER, keys=()), USER)
    return fake


@pytest.fixture
def pair(tmp_path):
    """A private key, with its public one beside it."""
    file = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a b", "-f", str(file)], check=True)
    return file


class TestKeys:
    def test_a_file_and_a_line_are_sent_as_lines(self, answering, run, pair):
        ran = run("user", "add", "alice", f"{pair}.pub", LINE)
        assert ran.code == 0, ran.err
        (body,) = answering.bodies("POST")
        assert body["keys"] == [pair.with_suffix(".pub").read_text().strip(), LINE]

    def test_a_file_of_several_is_several(self, answering, run, tmp_path):
        file = tmp_path / "keys of mine"
        file.write_text(f"# mine\n\n{LINE}\n  {LINE}2\n")
        run("user", "add", "alice", str(file))
        assert answering.bodies("POST")[0]["keys"] == [LINE, f"{LINE}2"]
        ran = run("key", "add", "alice", str(file))
        assert (ran.code, len(answering.asked)) == (2, 1)
        assert "more than one key" in ran.err

    @pytest.mark.parametrize("verb", [("user", "add"), ("key", "add")])
    def test_a_private_key_is_refused_and_never_sent(self, fake, run, pair, verb):
        ran = run(*verb, "alice", str(pair))
        assert (ran.code, fake.asked) == (2, [])
        assert "holds a private key" in ran.err
        assert f"{pair}.pub" in ran.err
        pair.with_suffix(".pub").unlink()
        assert f"ssh-keygen -y -f {pair} > {pair}.pub" in run(*verb, "alice", str(pair)).err

    @pytest.mark.parametrize("text", ["/nonexistent.pub", "/dev/null", "/"])
    def test_what_holds_no_key_is_refused(self, fake, run, text):
        ran = run("user", "add", "alice", text)
        assert (ran.code, fake.asked) == (2, [])
        assert ".pub" in ran.err

    def test_options_come_before_the_line(self, answering, run):
        run("key", "add", "alice", LINE, "--options", "restrict,port-forwarding")
        assert answering.bodies("POST")[0]["key"] == f"restrict,port-forwarding {LINE}"

    def test_a_list(self, fake, run):
        fake.answers["GET /v1/users"] = {"users": [view()]}
        fake.answers["GET /v1/users/alice"] = view()
        for words in ((), ("alice",)):
            assert [line.split() for line in run("key", "ls", *words).out.splitlines()] == [
                ["USER", "FINGERPRINT", "KIND", "OPTIONS", "COMMENT"],
                ["alice", "SHA256:abc", "ed25519", "restrict", "a@b"],
            ]

    def test_a_line_that_cannot_be_read_says_why(self, fake, run):
        why = "cannot use the key line 'old …': 'old' is no option that is known here"
        unread = {"fingerprint": "", "algorithm": "", "options": "", "comment": "old …"}
        fake.answers["GET /v1/users"] = {"users": [view(keys=[{**unread, "problem": {"title": why}}])]}
        fake.answers["GET /v1/users/alice"] = view(keys=[{**unread, "problem": {"title": why}}])
        for words in (("key", "ls"), ("user", "show", "alice")):
            assert "'old' is no option that is known here" in run(*words, COLUMNS="200").out

    def test_a_fingerprint_is_never_broken(self, fake, run):
        seal = "SHA256:yj5JKTnCHQOEVtKoYWQS4c97oNnlN2wz0z2IRiOng28"
        key = {**view()["keys"][0], "fingerprint": seal, "options": "", "comment": "bob@laptop"}
        fake.answers["GET /v1/users"] = {"users": [view(keys=[key])]}
        assert len(run("key", "ls", COLUMNS="80").out.splitlines()) == 2

    def test_one_is_taken_away(self, fake, run):
        fake.answers["DELETE /v1/users/alice/keys/SHA256%3Aab%2Fc"] = outcome(Verb.USER, USER, USER)
        assert run("key", "rm", "alice", "SHA256:ab/c").code == 0


class TestUsers:
    @pytest.mark.parametrize(
        ("words", "grant"),
        [
            ("", {}),
            (
                "--ports 8000-8999 --ports 9443 --on 192.0.2.1 --most 3 --from anyone --for 2h --hold none",
                {
                    "ports": ["8000-8999", "9443"],
                    "on": ["192.0.2.1"],
                    "most": "3",
                    "from": ["anyone"],
                    "for": "2h",
                    "hold": "none",
                },
            ),
            (
                "--limit 20/min --limit-total 200/min --max-connections 5 --quota 10G --quota-every 7d "
                "--to db:5432,*:443 --sessions 2 --accept-risk exposed-admin",
                {
                    "limit": "20/min",
                    "limit_total": "200/min",
                    "max_connections": "5",
                    "quota": "10G",
                    "quota_every": "7d",
                    "to": ["db:5432,*:443"],
                    "sessions": "2",
                    "accept_risk": ["exposed-admin"],
                },
            ),
        ],
    )
    def test_only_what_is_said_is_sent(self, answering, run, words, grant):
        ran = run("user", "add", "alice", LINE, *words.split(), "--until", "2030-01-01")
        assert ran.code == 0, ran.err
        (body,) = answering.bodies("POST")
        assert (body["grant"], body["until"]) == (grant, "2030-01-01")
        assert ran.out == (
            "alice may come in by the SSH door: keys ssh-ed25519 …tailtail alice@laptop; "
            "grant ports 8000-8999, from anyone.\n"
        )

    def test_what_is_edited(self, answering, run):
        ran = run("user", "edit", "alice", "--most", "3", "--plan")
        assert answering.bodies("PATCH") == [{"grant": {"most": "3"}, "plan": True, "why": ""}]
        assert ran.code == 0
        assert run("user", "edit", "alice").code == 2

    def test_a_plan_tells_the_grant_before_and_after(self, answering, run):
        answering.answers["PATCH /v1/users/alice"] |= {"planned": True}
        assert run("user", "edit", "alice", "--ports", "8000-8999", "--plan").out == (
            "Plan; nothing was changed:\n"
            "~ set user alice\n"
            "    grant  not set → ports 8000-8999, from anyone\n"
        )

    def test_a_list_and_who_is_connected(self, fake, run):
        fake.answers["GET /v1/users"] = {"users": [view(sessions=[session()]), view(name="bob", grant=GRANT)]}
        ran = run("user", "ls")
        rows = [line.split() for line in ran.out.splitlines()]
        assert rows[1] == ["alice", "1", "8000-8999", "LAN", "-", "permanent", "1"]
        assert rows[2] == ["bob", "1", "-", "-", "-", "permanent", "0"]
        assert rows[-1][:2] == ["alice", "198.51.100.7:50022"]
        assert re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", ran.out.replace("\n", "")) is None
        fake.answers["GET /v1/users"] = {"users": []}
        assert "sekimori user add" in run("user", "ls").out

    def test_sessions_fit_a_terminal_of_80_columns_with_nothing_broken(self, fake, run):
        one = session(client="SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10", since=datetime.now(UTC).isoformat())
        fake.answers["GET /v1/users"] = {"users": [view(sessions=[one])]}
        last = run("user", "ls", COLUMNS="80").out.splitlines()[-1]
        assert last.split()[:2] == ["alice", "198.51.100.7:50022"]
        assert last.endswith("  OpenSSH_9.2p1")

    def test_everything_about_one(self, fake, run):
        fake.answers["GET /v1/users/alice"] = view(sessions=[session()])
        lines = run("user", "show", "alice").out.splitlines()
        rows = dict(re.split(r"  +", line, maxsplit=1) for line in lines[: lines.index("")])
        assert (rows["may open ports"], rows["quota"], rows["may reach"]) == (
            "8000-8999",
            "10.0 GiB every 30d",
            "nowhere",
        )
        assert rows["key"] == "SHA256:abc a@b"

    def test_one_is_removed(self, fake, run):
        fake.answers["DELETE /v1/users/alice"] = outcome(Verb.USER, USER, None)
        assert run("user", "rm", "alice").out.startswith("alice may come in no more")

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ("user add", "NAME is missing"),
            ("user add alice", "KEY is missing"),
            ("user rm", "NAME is missing"),
            ("user show", "NAME is missing"),
            ("key add", "USER is missing"),
            ("key add alice", "KEY is missing"),
            ("key rm alice", "FINGERPRINT is missing"),
            ("user add alice x --shell", "no option --shell"),
        ],
    )
    def test_what_is_typed_wrong_is_told_and_not_sent(self, fake, run, words, says):
        ran = run(*words.split())
        assert (ran.code, fake.asked) == (2, [])
        assert says in ran.err


class TestDoor:
    DOOR = Door(door=DoorName.SSH, owner=ALICE, interfaces=(), listen=("192.168.1.1:2222",))

    def test_it_is_opened(self, fake, run):
        fake.answers["PATCH /v1/doors"] = outcome(Verb.DOOR, None, self.DOOR)
        ran = run(
            *("door", "enable", "ssh", "--on", "192.168.1.1:2222", "--authorized-keys", "/k"),
            *("--ports", "8000-8999", "--ports-on", "192.0.2.1"),
        )
        assert ran.code == 0, ran.err
        assert fake.bodies("PATCH")[0]["doors"] == {
            "ssh": {
                "listen": ["192.168.1.1:2222"],
                "authorized_keys": "/k",
                "grant": {"ports": ["8000-8999"], "on": ["192.0.2.1"]},
            }
        }
        assert "The door ssh is open on 192.168.1.1:2222." in ran.out

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ("ssh igd --on lan0", "ssh and igd --on exclude each other"),
            ("igd --on lan0 --authorized-keys /k", "--authorized-keys is of the door ssh"),
            ("igd --on lan0 --ports 80", "--ports is of the door ssh"),
            ("igd --on lan0 --ports-on 192.0.2.1", "--ports-on is of the door ssh"),
            ("ssh --on 192.0.2.1:22 --nonce strict", "--nonce is of the door portmap"),
        ],
    )
    def test_words_of_other_doors_are_refused(self, fake, run, words, says):
        ran = run("door", "enable", *words.split())
        assert (ran.code, fake.asked) == (2, [])
        assert says in ran.err

    def test_a_list_has_its_host_keys_and_who_is_connected(self, fake, run):
        door = {
            "name": "ssh",
            "enabled": True,
            "interfaces": [{"interface": "192.168.1.1:2222", "problem": None}],
            "version": None,
            "nonce": None,
            "owner": "person:alice",
            "managed_by": None,
            "created_at": "2023-11-14T22:13:20+00:00",
            "leases": 1,
            "authorized_keys": "/etc/keys",
            "grant": {**GRANT, "ports": "8000-8999"},
            "keys_refused": [
                {"place": "/etc/keys:3", "problem": Problem("bad-key", text="x y", why="a test").body()}
            ],
            "host_keys": ["ssh-ed25519 SHA256:abc"],
            "sessions": [session()],
        }
        fake.answers["GET /v1/doors"] = {"doors": [door], "permissions": {}}
        out = run("door", "ls").out
        assert re.search(r"ssh +● open +192.168.1.1:2222 +1 connected +1 +alice", out)
        assert "ssh's host key: ssh-ed25519 SHA256:abc\n" in out
        assert "takes the keys of /etc/keys; ports they may open: 8000-8999" in out
        assert "198.51.100.7:50022" in out
        assert "/etc/keys:3: cannot use the key line 'x y': a test\n  Write it as in authorized_keys" in out
