"""The config file as an owner of a real daemon: at start, by apply, by SIGHUP; and export, there and back."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sekimori.client import Client
from sekimori.model.errors import Problem
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.peers import Peers, eventually
from sekimori.testing.ports import free_ports

pytestmark = pytest.mark.loopback

CONFIG = "[relay]\nworkers = 1\ngrace = '1s'\n"


@pytest.fixture
def own() -> Iterator[DaemonProcess]:
    with DaemonProcess(CONFIG) as running:
        yield running


def table(name: str, port: int, inside: int, more: str = "") -> str:
    return f'\n[mappings.{name}]\nports = "{port}"\nto = "127.0.0.1:{inside}"\n{more}'


def names(daemon: DaemonProcess) -> set[str]:
    return {each["name"] for each in daemon.client.mappings()}


def test_the_file_is_synchronised_at_the_start(peers: Peers) -> None:
    echo, port = peers.tcp_echo(), free_ports()
    with DaemonProcess(CONFIG + table("web", port, echo.port, 'from = "127.0.0.2"\n')) as running:
        view = running.client.get("web")
        assert view["managed_by"] == str(running.config)
        assert view["owner"] == f"file:{running.config}"
        assert view["status"]["state"] == "open"
        assert peers.accepts(port, source="127.0.0.2")
        assert not peers.accepts(port)
        revision = running.client.status()["revision"]
        running.restart()
        assert running.client.status()["revision"] == revision, "the same file changed something"
        assert running.client.get("web")["id"] == view["id"]


def test_what_the_file_owns_is_changed_there(peers: Peers) -> None:
    echo, port = peers.tcp_echo(), free_ports()
    with DaemonProcess(CONFIG + table("web", port, echo.port)) as running:
        client = running.client
        changes: list[Callable[[], object]] = [
            lambda: client.edit("web", {"from": "anyone"}),
            lambda: client.edit("web", {"to": "127.0.0.1:1"}),
            lambda: client.close("web"),
        ]
        for change in changes:
            with pytest.raises(Problem) as told:
                change()
            assert (told.value.code, told.value.exit_code) == ("managed-by-file", 6)
            assert str(running.config) in told.value.title()
        assert peers.accepts(port)
        running.client.edit("web", paused=True)  # what stops a danger at once is let through
        assert not peers.accepts(port)


def test_apply_makes_the_difference_and_leaves_the_rest(own: DaemonProcess, peers: Peers) -> None:
    echo, first = peers.tcp_echo(), free_ports(4)
    by_hand = own.client.open({"ports": f"{first + 3}", "to": f"127.0.0.1:{echo.port}", "name": "by-hand"})
    one = table("one", first, echo.port)
    own.config.write_text(CONFIG + one + table("two", first + 1, echo.port))

    planned = own.client.apply(str(own.config), plan=True)
    assert (planned["planned"], {each["name"] for each in planned["changes"]}) == (True, {"one", "two"})
    assert names(own) == {"by-hand"}
    own.client.apply(str(own.config))
    assert names(own) == {"by-hand", "one", "two"}
    kept = peers.dial(first)
    assert kept.says_back(b"a")

    own.config.write_text(CONFIG + one + table("three", first + 2, echo.port))
    outcome = own.client.apply(str(own.config), why="spring cleaning")
    assert {(each["name"], each["verb"]) for each in outcome["changes"]} == {
        ("two", "close"),
        ("three", "open"),
    }
    assert names(own) == {"by-hand", "one", "three"}
    assert own.client.get("by-hand")["revision"] == by_hand["revision"]
    assert kept.says_back(b"untouched")
    newest = own.client.history(limit=1)[0]
    assert newest["why"] == "spring cleaning"
    assert newest["actor"] == f"file:{own.config}"
    assert own.client.apply(str(own.config))["changes"] == []


def test_sighup_reads_the_file_again(own: DaemonProcess, peers: Peers) -> None:
    echo, port = peers.tcp_echo(), free_ports()
    own.config.write_text(CONFIG + table("web", port, echo.port))
    own.reload()
    eventually(lambda: names(own) == {"web"})
    assert peers.accepts(port)
    kept = peers.dial(port)

    own.config.write_text(CONFIG + table("web", port, echo.port, 'frm = "anyone"\n'))
    own.reload()
    eventually(lambda: "config_not_applied" in own.log)
    assert "frm" in own.log
    assert names(own) == {"web"}, "a file with a slip closed ports"

    own.config.write_text(CONFIG)
    own.reload()
    eventually(lambda: names(own) == set())
    kept.ended()


def test_a_file_with_one_bad_mapping_changes_nothing(own: DaemonProcess, peers: Peers) -> None:
    echo, first = peers.tcp_echo(), free_ports(2)
    text = CONFIG + table("good", first, echo.port) + table("bad", first + 1, echo.port, 'from = "office"\n')
    own.config.write_text(text)
    with pytest.raises(Problem) as told:
        own.client.apply(str(own.config))
    assert "office" in told.value.title()
    assert names(own) == set()
    assert not peers.accepts(first)


def test_the_daemon_starts_though_the_files_port_is_taken(peers: Peers) -> None:
    echo, first = peers.tcp_echo(), free_ports(2)
    with DaemonProcess(CONFIG) as running:
        running.client.open({"ports": f"{first}", "to": f"127.0.0.1:{echo.port}", "name": "mine"})
        running.stop()
        holder = peers.tcp_echo("127.0.0.1", first + 1)
        running.config.write_text(CONFIG + table("taken", holder.port, echo.port))
        running.start()
        assert names(running) == {"mine"}
        assert peers.accepts(first)
        assert "config_not_applied" in running.log


STATE = """
[lists]
office = ["127.0.0.0/30", "2001:db8::/32"]
"""
_PASSING = (
    "id",
    "owner",
    "managed_by",
    "created_at",
    "revision",
    "expires_in",
    "status",
    "counters",
    "asked",
)
"""Not part of the state: who made it and when. A length that was asked for is exported as its end."""


def test_export_then_apply_on_an_empty_ledger_gives_the_same_state(own: DaemonProcess, peers: Peers) -> None:
    echo, udp, first = peers.tcp_echo(), peers.udp_echo(), free_ports(10)
    own.config.write_text(CONFIG + STATE + table("owned", first, echo.port, 'from = "office"\n'))
    own.client.apply(str(own.config))
    ask = own.client.open
    ask({"ports": f"{first + 1}", "to": f"127.0.0.1:{echo.port}", "from": "office", "for": "90m"})
    ask({"ports": f"udp/{first + 2}-{first + 4}:{udp.port}-{udp.port + 2}", "to": "127.0.0.1", "idle": "5m"})
    ask({"ports": f"tcp+udp/{first + 5}:{echo.port}", "to": "self", "permanent": 'it is "the" one\n'})
    ask({"ports": f"{first + 6}", "to": f"[::1]:{echo.port}", "limit": "20/min", "max_connections": 7})
    ask(
        {
            "ports": f"{first + 7}",
            "to": f"localhost:{echo.port}",
            "hours": "mon-fri/09:00-18:00",
            "name": "office-hours",
        }
    )
    ask({"ports": f"{first + 8}", "to": f"127.0.0.1:{echo.port}", "proxy_protocol": 2, "on": "127.0.0.1"})
    ask(
        {"ports": f"{first + 9}", "to": f"127.0.0.1:{echo.port}", "until": "2031-01-01", "limit_total": "9/s"}
    )
    own.client.edit(str(first + 1), paused=True)
    before, text = _state(own), own.client.export()
    assert len(before) == 8
    own.stop()

    with DaemonProcess(CONFIG) as other:
        outcome = other.client.apply(str(other.home / "exported.toml"), text=text)
        assert outcome["skipped"] == []
        after = _state(other)
        assert after == before
        assert other.client.apply(str(other.home / "exported.toml"), text=text)["changes"] == []
        assert tomllib.loads(other.client.export()) == tomllib.loads(text)
        assert peers.accepts(first, source="127.0.0.2")


def _state(daemon: DaemonProcess) -> dict[str, dict[str, Any]]:
    views = daemon.client.mappings()
    return {
        view["name"]: {
            **{key: value for key, value in view.items() if key not in _PASSING},
            "state": view["status"]["state"],
        }
        for view in views
    }


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_two_mappings_change_places_in_one_apply(own: DaemonProcess, peers: Peers, protocol: str) -> None:
    first, inside = free_ports(2), free_ports(2)
    if protocol == "tcp":
        peers.tcp_echoes((inside, inside + 1))
    else:
        peers.udp_echoes((inside, inside + 1))

    def led_to(port: int) -> int:
        if protocol == "udp":
            return int(peers.datagrams(port).ask(b""))
        return int(peers.dial(port).exactly(6))

    def file(one: int, two: int) -> str:
        tables = (("one", one, inside), ("two", two, inside + 1))
        return CONFIG + "".join(
            f'[mappings.{name}]\nports = "{protocol}/{port}:{to}"\nto = "127.0.0.1"\n'
            for name, port, to in tables
        )

    for one, two in ((first, first + 1), (first + 1, first), (first, first + 1)):
        own.config.write_text(file(one, two))
        own.client.apply(str(own.config))
        for _ in range(4):
            assert (led_to(one), led_to(two)) == (inside, inside + 1)


def test_the_line_is_judged_and_its_settings_are_taken_up_at_the_next_start(own: DaemonProcess) -> None:
    line = own.client.line()
    assert line["interface"] == own.client.status()["line"]["interface"]
    assert line["inbound4"]["answer"] in ("yes", "no", "unknown")
    own.config.write_text(CONFIG + "[line]\nds_lite = true\n")
    assert [each["code"] for each in own.client.apply()["skipped"]] == ["restart-needed"]
    assert "[line]" in own.client.apply(plan=True)["skipped"][0]["text"]
    own.restart()
    assert own.client.apply()["skipped"] == []
    known = "unknown" if line["interface"] is None else "no"
    assert own.client.line()["inbound4"]["answer"] == known
    own.config.write_text(CONFIG + "[line]\nds-lite = true\n")
    with pytest.raises(Problem) as refused:
        own.client.apply()
    assert (refused.value.code, refused.value.fact("line")) == ("unknown-key", CONFIG.count("\n") + 2)
    assert own.client.router()["refused"] == []


CALLER = "198.51.100.10 50000 203.0.113.5 22"
LOCKS_OUT = '\n[bans]\n"198.51.100.10/32" = "a slip"\n'


def bans(daemon: DaemonProcess) -> list[str]:
    return [each["prefix"] for each in daemon.client.bans()]


def test_a_text_that_was_taken_back_is_applied_again_by_nobodys_word_only() -> None:
    sure = CONFIG + "[policy]\nconfirm = '5s'\n"
    with DaemonProcess(sure) as running:
        by_ssh = Client(running.socket, caller=CALLER)
        running.config.write_text(sure + LOCKS_OUT)
        assert by_ssh.apply(str(running.config))["confirm"]["within"] == 5
        assert bans(running) == ["198.51.100.10/32"]
        eventually(lambda: not bans(running), 15)
        assert running.client.status()["config_taken_back_at"] is not None

        running.reload()
        eventually(lambda: running.log.count("stays-taken-back") == 1)
        running.restart()
        assert running.log.count("stays-taken-back") == 2
        assert bans(running) == []
        assert running.client.status()["config_taken_back_at"] is not None

        assert by_ssh.apply(str(running.config))["confirm"]["within"] == 5  # somebody says so: it waits anew
        assert running.client.status()["config_taken_back_at"] is None
        running.stop()  # ... and is taken back at once, for nobody is here to do it later
        running.start()
        assert bans(running) == []
        assert running.log.count("stays-taken-back") == 3

        running.config.write_text(sure + LOCKS_OUT.replace("10/32", "11/32"))  # another text
        assert running.client.status()["config_taken_back_at"] is None
        running.reload()
        eventually(lambda: bans(running) == ["198.51.100.11/32"])
