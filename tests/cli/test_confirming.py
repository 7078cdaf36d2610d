"""A change that could cut off who makes it: what is said, how long it is waited, and how that ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekimori.cli import confirming
from sekimori.cli.whence import find_caller
from sekimori.doors.api.render import render_change
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.gateway import Gateway
from sekimori.model.mapping import Owner

CONFIRM = {
    "revision": 7,
    "deadline": "2026-12-01T09:00:00+00:00",
    "within": 30,
    "source": "198.51.100.10",
    "destination": "203.0.113.5",
    "port": 22,
}
SSH = "198.51.100.10 50122 203.0.113.5 22"


def outcome(**facts: Any) -> dict[str, Any]:
    made = Made(Verb.GATEWAY, None, Gateway(owner=Owner.parse("person:alice"), firewall=True))
    return {
        "planned": False,
        "revision": 7,
        "changes": [render_change(made)],
        "mappings": [],
        "notices": [],
        "steps": [],
        "confirm": CONFIRM,
        **facts,
    }


def settled(how: str, **facts: Any) -> dict[str, Any]:
    end = {"revision": 7, "how": how, "within": 30, "taken_back_by": 8, "left": [], **facts}
    return {"pending": [], "settled": [end]}


PENDING = {"pending": [{**CONFIRM, "actor": "person:alice"}], "settled": []}


@pytest.fixture
def ends(fake: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What the daemon tells of the wait, look by look, the last for ever; `monotonic` moves by 10 s each."""
    fake.answers["PUT /v1/gateway"] = outcome()
    time = [0.0]

    def sleep(_seconds: float) -> None:
        time[0] += 10

    monkeypatch.setattr(confirming, "sleep", sleep)
    monkeypatch.setattr(confirming, "monotonic", lambda: time[0])

    def tell(*looks: Any) -> None:
        left = list(looks)
        fake.answers["GET /v1/pending"] = lambda _body: left.pop(0) if len(left) > 1 else left[0]

    return tell


def test_it_waits_until_it_is_confirmed(fake: Any, run: Any, ends: Any) -> None:
    ends(PENDING, PENDING, settled("confirmed"))
    ran = run("gateway", "enable", "--firewall")
    assert ran.code == 0
    assert ran.out.startswith("This machine is a gateway now")
    assert "you came from 198.51.100.10 to 203.0.113.5 port 22" in ran.err
    assert "log in once more, and run there: sekimori confirm" in ran.err
    assert "taken back after 30 s" in ran.err
    assert ran.err.endswith("Confirmed: revision 7 stays.\n")
    assert "\r" not in ran.err, "no countdown where stderr is no terminal"
    assert [path for _, path, _ in fake.asked].count("/v1/pending") == 3


def test_it_ends_with_9_when_it_was_taken_back(run: Any, ends: Any) -> None:
    ends(PENDING, settled("reverted"))
    ran = run("gateway", "enable", "--firewall")
    assert ran.code == 9
    assert "cannot keep revision 7: it was not confirmed within 30 s, so it was taken back" in ran.err
    ends(settled("reverted", left=["gateway", "web"]))
    assert "changed since: gateway, web." in run("gateway", "enable").err
    assert "そのままにしました: gateway, web。" in run("gateway", "enable", "--lang", "ja").err


def test_under_json_the_one_envelope_comes_after_the_wait(run: Any, ends: Any) -> None:
    ends(PENDING, settled("confirmed"))
    ran = run("gateway", "enable", "--json")
    assert (ran.code, ran.err, ran.envelope["ok"]) == (0, "", True)
    assert ran.envelope["data"]["confirm"] == CONFIRM
    ends(PENDING, settled("reverted"))
    ran = run("gateway", "enable", "--json")
    assert (ran.code, ran.err, ran.envelope["ok"]) == (9, "", False)
    assert [each["code"] for each in ran.envelope["problems"]] == ["reverted"]
    assert ran.envelope["data"]["revision"] == 7


def test_quiet_waits_too_and_says_what_was_taken_back(run: Any, ends: Any) -> None:
    ends(PENDING, settled("confirmed"))
    ran = run("gateway", "enable", "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    ends(settled("reverted"))
    ran = run("gateway", "enable", "-q")
    assert (ran.code, ran.out) == (9, "")
    assert "taken back" in ran.err


def test_a_plan_tells_it_and_waits_for_nothing(fake: Any, run: Any) -> None:
    planned = {**CONFIRM, "revision": None, "deadline": None}
    fake.answers["PUT /v1/gateway"] = outcome(planned=True, revision=None, confirm=planned)
    ran = run("gateway", "enable", "--plan")
    assert ran.code == 0
    assert "taken back after 30 s unless you confirm it from a new login" in ran.err
    assert run("gateway", "enable", "--plan", "--json").envelope["data"]["confirm"] == planned
    assert [path for _, path, _ in fake.asked] == ["/v1/gateway", "/v1/gateway"]


def test_a_daemon_that_starts_again_is_waited_for(run: Any, ends: Any) -> None:
    away = Problem("unreachable", socket="x", why="a test")
    ends(away, away, away, settled("reverted"))
    assert run("gateway", "enable").code == 9
    ends(away)
    assert run("gateway", "enable").code == 7


def test_a_wait_that_nobody_can_tell_of_ends(run: Any, ends: Any) -> None:
    ends({"pending": [], "settled": []})
    ran = run("gateway", "enable")
    assert ran.code == 124
    assert "what became of revision 7" in ran.err
    ends(PENDING)
    assert run("gateway", "enable").code == 124
    ends(Problem("not-permitted", what="x", who="y"))
    assert run("gateway", "enable").code == 6


def test_an_interrupt_tells_that_it_still_waits(run: Any, ends: Any, monkeypatch: Any) -> None:
    ends(PENDING)

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(confirming, "sleep", interrupt)
    ran = run("gateway", "enable")
    assert ran.code == 130
    assert "Revision 7 still waits" in ran.err


def test_every_verb_that_writes_waits(fake: Any, run: Any, ends: Any) -> None:
    ends(settled("reverted"))
    closing = fake.changing(Verb.CLOSE, fake.mapping("ssh"), None) | {"confirm": CONFIRM}
    opening = fake.opening() | {"confirm": CONFIRM}
    fake.answers |= {
        "DELETE /v1/mappings/ssh": closing,
        "DELETE /v1/mappings/web": fake.changing(Verb.CLOSE, fake.mapping("web"), None),
        "POST /v1/mappings": opening,
        "PATCH /v1/mappings/web": opening,
        "POST /v1/bans": closing,
        "POST /v1/undo": opening,
        "POST /v1/apply": opening | {"skipped": []},
        "DELETE /v1/gateway": outcome(),
    }
    for words in (
        ("open", "8080", "--to", "192.168.1.5"),
        ("close", "web", "ssh"),
        ("pause", "web"),
        ("edit", "web", "--from", "lan"),
        ("ban", "198.51.100.7"),
        ("undo",),
        ("apply",),
        ("gateway", "disable"),
    ):
        ran = run(*words, "--yes")
        assert ran.code == 9, (words, ran.err)
    assert run("close", "web", "ssh", "--json").envelope["data"]["confirm"] == CONFIRM
    assert run("close", "web").code == 0


def test_confirm_says_what_stays(fake: Any, run: Any) -> None:
    fake.answers["POST /v1/confirm"] = {"confirmed": [7, 9]}
    ran = run("confirm", SSH_CONNECTION=SSH)
    assert (ran.code, ran.out) == (0, "Confirmed: you can come in. What stays: revision 7, 9\n")
    assert fake.callers == [SSH]
    assert run("confirm", "--json").envelope["data"] == {"confirmed": [7, 9]}
    fake.answers["POST /v1/confirm"] = Problem("confirm-same-connection", revision="7")
    ran = run("confirm")
    assert ran.code == 5
    assert "Log in anew" in ran.err


class TestWhence:
    """Where SSH_CONNECTION is looked for."""

    @pytest.fixture
    def proc(self, tmp_path: Path) -> Callable[..., None]:
        def add(pid: int, parent: int, *environ: str, name: str = "sh") -> None:
            at = tmp_path / str(pid)
            at.mkdir()
            (at / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0")
            (at / "environ").write_bytes("".join(f"{each}\0" for each in environ).encode())

        return add

    def test_in_the_environment_first(self, tmp_path: Path, proc: Any) -> None:
        proc(9, 1, "SSH_CONNECTION=other")
        assert find_caller({"SSH_CONNECTION": SSH}, 9, tmp_path) == SSH
        assert find_caller({"SSH_CONNECTION": ""}, 9, tmp_path) is None

    def test_then_up_the_parents(self, tmp_path: Path, proc: Any) -> None:
        proc(9, 8, "PATH=/bin", name="su) S 1 (x")
        proc(8, 7, "SSH_CONNECTION=", "XSSH_CONNECTION=no")
        proc(7, 6, f"SSH_CONNECTION={SSH}")
        proc(6, 1, "SSH_CONNECTION=further up")
        assert find_caller({}, 9, tmp_path) == SSH

    def test_not_at_the_first_of_all_nor_for_ever(self, tmp_path: Path, proc: Any) -> None:
        proc(1, 0, f"SSH_CONNECTION={SSH}")
        proc(9, 1)
        proc(8, 8)
        assert find_caller({}, 9, tmp_path) is None
        assert find_caller({}, 8, tmp_path) is None
        assert find_caller({}, 7, tmp_path) is None

    def test_what_may_not_be_read_is_passed_over(self, tmp_path: Path, proc: Any) -> None:
        proc(9, 8)
        (tmp_path / "9" / "environ").unlink()
        proc(8, 1, f"SSH_CONNECTION={SSH}")
        assert find_caller({}, 9, tmp_path) == SSH

    def test_with_real_processes(self) -> None:
        code = "from sekimori.cli.whence import find_caller; print(find_caller({}))"
        script = f"env -i {sys.executable} -c '{code}'; exit $?"
        environ = {"PATH": os.environ["PATH"], "SSH_CONNECTION": SSH}
        done = subprocess.run(["sh", "-c", script], env=environ, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == SSH
