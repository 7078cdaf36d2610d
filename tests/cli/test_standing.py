"""Links and open doors in `status`: up or why not, since when, for whom, and who is there."""

from __future__ import annotations

from typing import Any

import pytest

from sekimori.cli.text import path_phrase, wide
from sekimori.model.errors import Problem

SINCE = "2026-11-20T07:00:00+00:00"


def link(name: str = "vps", **facts: Any) -> dict[str, Any]:
    whole = {"name": name, "to": "ssh://a@vps", "phase": "up", "since": SINCE, "problem": None}
    return {**whole, "next_try": None, "flows": 2, "mappings": ["web", "db"], **facts}


def door(name: str = "ssh", place: str = "203.0.113.30:2222", **facts: Any) -> dict[str, Any]:
    whole = {
        "name": name,
        "interfaces": [{"interface": place, "problem": None}],
        "outside": True,
        "leases": 4,
        "users": [],
        "authorized_keys": None,
        "keys_refused": 0,
        "sessions": [],
    }
    return {**whole, **facts}


def told(run: Any, *words: str) -> str:
    """The page, its lines joined where they were wrapped."""
    return " ".join(run("status", *words, COLUMNS="80").out.split())


def test_a_link_that_is_up_tells_what_goes_through_it(fake, run):
    fake.answers["GET /v1/status"] = {
        "version": "1",
        "links": [link(), link("idle", mappings=[])],
        "doors": [],
    }
    text = told(run)
    assert "Links vps up since 2026-11-20 " in text
    assert "; web, db through it, 2 connected now" in text
    assert "; nothing goes through it" in text
    assert "Doors" not in text
    assert "通るもの: web, db（接続中 2）" in run("status", "--lang", "ja").out


def test_a_link_that_is_down_tells_why_and_what_waits(fake, run):
    problem = Problem("link-no-such-host", place="ssh://a@vps", link="vps", why="nobody knows it").body()
    down = link(phase="waiting", problem=problem, next_try="2099-01-01T00:00:00+00:00")
    fake.answers["GET /v1/status"] = {"links": [down]}
    text = told(run)
    assert "vps down since" in text
    assert "; web, db waiting for it" in text
    assert f"{problem['title']}. It is tried again in " in text


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({}, "from the internet too, for nobody yet (sekimori user add), by key alone"),
        ({"outside": False, "users": ["bob", "eve"]}, "at 203.0.113.30:2222, for bob, eve, by key alone"),
        ({"users": list("abcdef")}, "for a, b, c, d and 2 more, by key alone, until it is disabled"),
        ({"users": ["bob"], "authorized_keys": "/etc/k"}, "for bob and the keys of /etc/k, by key alone"),
        ({}, "nobody is connected"),
        ({"sessions": [{"user": "bob", "source": "192.0.2.7:5"}]}, "connected now: bob (192.0.2.7:5)"),
        ({"keys_refused": 3}, "faults in its key file: 3 (sekimori door ls tells them)"),
    ],
)
def test_the_ssh_door_answers_the_questions(fake, run, facts, says):
    fake.answers["GET /v1/status"] = {"doors": [door(**facts)]}
    assert says in told(run)


def test_a_door_that_does_not_answer_says_why(fake, run):
    problem = Problem("no-such-host", host="x", why="y").body()
    shut = door("igd", outside=False, interfaces=[{"interface": "lan0", "problem": problem}])
    fake.answers["GET /v1/status"] = {"doors": [shut]}
    text = told(run)
    assert "igd on lan0, for devices as 'sekimori door rules' says, until it is disabled; 4 leases" in text
    assert f"lan0: {problem['title']}" in text


def test_nothing_is_wider_than_the_terminal_and_strangers_drive_none(fake, run):
    evil = {"user": "bob\x1b[2J", "source": "192.0.2.7:5\nroot"}
    many = [link(mappings=[f"mapping-{number}" for number in range(40)])]
    about = {"links": many, "doors": [door(users=["bob"], sessions=[evil] * 9, authorized_keys="/etc/k" * 4)]}
    fake.answers["GET /v1/status"] = about
    for language in ("en", "ja"):
        out = run("status", "--lang", language, COLUMNS="80").out
        assert max(wide(line) for line in out.splitlines()[1:]) <= 80  # the first has the test's own path
        assert "\x1b" not in out
        assert "\nroot" not in out
    assert run("status", "--json").envelope["data"] == about


def test_nothing_is_told_where_there_are_none(fake, run):
    fake.answers["GET /v1/status"] = {"version": "1", "links": [], "doors": []}
    assert "inks" not in run("status").out
    assert "oors" not in run("status").out


@pytest.mark.parametrize(
    ("path", "english", "japanese"),
    [
        (["relay"], "by the relay", "リレー"),
        (["router", "kernel"], "by the router above, by the kernel", "上位のルーター → カーネル"),
        (["relay", "link@vps"], "by the relay, through the link vps", "リレー → リンク vps"),
        (["link@vps", "relay"], "from the far end of the link vps, by the relay", "リンク vps の先 → リレー"),
        (
            ["relay", "link@@ssh"],
            "by the relay, to the client of the SSH door",
            "リレー → SSH の窓口のクライアント",
        ),
        (["warp"], "warp", "warp"),  # a newer daemon may know more planes
        ([], "", ""),
    ],
)
def test_a_path_in_words(path, english, japanese):
    assert (path_phrase(path, "en"), path_phrase(path, "ja")) == (english, japanese)


FAR = {"at": "vps"}


def far(fake: Any, outside: bool | None, *names: str) -> None:
    """Mappings at the far end of a link of which this is known."""
    views = [fake.view(fake.mapping(name, **FAR)) for name in names]
    fake.answers["GET /v1/mappings"] = {"mappings": views}
    fake.answers |= {f"GET /v1/mappings/{each['name']}": each for each in views}
    fake.answers["POST /v1/mappings"] = fake.opening(fake.mapping("web", **FAR))
    known = {"name": "vps", "sekimori": False, "outside": outside}
    fake.answers |= {"GET /v1/links": {"links": [known]}, "GET /v1/links/vps": known}


def test_a_port_that_only_the_far_machine_reaches_says_so_everywhere(fake, run):
    far(fake, False, "web", "db")
    assert "nobody but 'vps' itself gets in there" in run("open", "8080", "--to", "192.168.1.5").err
    assert "web, db: nobody but 'vps' itself gets in" in run("ls").out
    assert "from outside  no: nobody but the far machine itself gets in" in run("show", "web").out
    assert "自身のほかは接続できません" in run("ls", "--lang", "ja").out
    assert "届きません" in run("show", "web", "--lang", "ja").out


def test_where_others_come_in_nothing_is_said(fake, run):
    far(fake, True, "web")
    assert run("open", "8080", "--to", "192.168.1.5").err == ""
    assert "itself" not in run("ls").out + run("show", "web").out


def test_where_it_is_not_known_it_is_said_with_the_first_port_of_a_link(fake, run):
    far(fake, None, "web")
    assert "needs 'GatewayPorts clientspecified'" in run("open", "8080", "--to", "192.168.1.5").err
    far(fake, None, "web", "db")
    assert run("open", "8080", "--to", "192.168.1.5").err == ""
    assert "itself" not in run("ls").out + run("show", "web").out
