"""A daemon with a link to an OpenSSH server: whatever is killed, its ports work again within 15 s."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sekimori.model.errors import Problem
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.peers import Peers, eventually, is_alive
from sekimori.testing.ports import free_ports
from sekimori.testing.sshd import Sshd, why_no_sshd

pytestmark = [
    pytest.mark.loopback,
    pytest.mark.skipif(why_no_sshd() is not None, reason=why_no_sshd() or ""),
]

BACK: float = 15.0
"""Seconds in which a port has to work again."""


class Rig:
    """A daemon, an SSH server, an echo, and a port either way.

    Attributes:
        via: of this machine, by the far end to the echo.
        at: of the far end, to the echo here.
    """

    def __init__(self, daemon: DaemonProcess, sshd: Sshd, peers: Peers) -> None:
        self.daemon, self.sshd, self.peers = daemon, sshd, peers
        self.echo = peers.tcp_echo()
        self.via, self.at = free_ports(), free_ports()

    def link(self, **fields: object) -> dict[str, Any]:
        sshd = self.sshd
        given = {
            "to": sshd.url,
            "identity": [str(sshd.key)],
            "host_keys": [sshd.host_key_line],
            "config": "none",
        }
        answer: dict[str, Any] = self.daemon.client.put_link("far", {**given, **fields})
        eventually(lambda: self.view()["phase"] == "up")
        return answer

    def view(self) -> dict[str, Any]:
        found: dict[str, Any] = self.daemon.client.link("far")
        return found

    def open(self) -> None:
        to = f"127.0.0.1:{self.echo.port}"
        self.daemon.client.open({"ports": f"{self.via}", "to": to, "via": "far", "name": "through"})
        self.daemon.client.open(
            {"ports": f"{self.at}", "to": to, "at": "far", "name": "beyond", "from": "127.0.0.0/8"}
        )

    def talks(self, port: int) -> bool:
        """Whether what is said to a port comes back from the echo."""
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
                sock.sendall(b"hello")
                return sock.recv(5, socket.MSG_WAITALL) == b"hello"
        except OSError:
            return False

    def works(self) -> bool:
        return self.talks(self.via) and self.talks(self.at)

    def comes_back(self) -> None:
        eventually(self.works, BACK, every=0.1)

    def state(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.daemon.client.get(name)["status"]
        return found

    def children(self, module: str) -> list[int]:
        """The daemon's processes of a module of ours."""
        return [pid for pid in _children(self.daemon.pid) if module in _command(pid)]

    def link_pid(self) -> int:
        (pid,) = self.children("sekimori.planes.link")
        return pid


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(each) for path in tasks for each in path.read_text().split()]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except FileNotFoundError:
        return ""


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.fixture
def rig(tmp_path: Path, peers: Peers) -> Iterator[Rig]:
    with Sshd(tmp_path / "far") as sshd, DaemonProcess("[relay]\nworkers = 2\ngrace = '2s'\n") as daemon:
        made = Rig(daemon, sshd, peers)
        made.link()
        yield made


def test_ports_go_both_ways_through_a_link_and_are_told_so(rig: Rig) -> None:
    rig.open()
    assert rig.works()
    through, beyond = rig.state("through"), rig.state("beyond")
    assert (through["state"], beyond["state"]) == ("open", "open")
    view = rig.view()
    assert view["phase"] == "up"
    assert view["server"].startswith("SSH-2.0-OpenSSH")
    assert view["sekimori"] is False
    assert sorted(view["mappings"]) == ["beyond", "through"]
    assert view["rtt"] > 0
    with socket.create_connection(("127.0.0.1", rig.via)) as one:
        one.sendall(b"x")
        eventually(lambda: rig.view()["flows"] == 1)
    eventually(lambda: rig.view()["flows"] == 0)
    rig.daemon.client.close("through")
    rig.daemon.client.close("beyond")
    eventually(lambda: not rig.talks(rig.via) and not rig.talks(rig.at))


def test_the_doctor_looks_for_no_packets_of_what_is_elsewhere(rig: Rig) -> None:
    rig.open()
    client = rig.daemon.client
    client.open({"ports": f"{free_ports()}", "to": f"self:{free_ports()}", "via": "far", "name": "nobody"})
    client.open({"ports": f"{free_ports()}", "to": "db.invalid:5432", "via": "far", "name": "named"})
    found = client.doctor()["findings"]
    about = {"through", "beyond", "nobody", "named"}
    assert [each for each in found if each.get("mapping") in about] == []


def test_a_link_is_tried_beside_the_one_that_is_up(rig: Rig) -> None:
    tried = rig.daemon.client.test_link("far")
    assert (tried["ok"], tried["local"], tried["remote"]) == (True, True, True)
    assert rig.view()["phase"] == "up"


def test_who_may_come_in_is_asked_for_those_from_the_far_end_too(rig: Rig) -> None:
    rig.open()
    rig.daemon.client.edit("beyond", {"from": "198.51.100.0/24"})
    eventually(lambda: not rig.talks(rig.at))
    assert rig.talks(rig.via)


def test_a_port_that_is_taken_at_the_far_end_is_refused(rig: Rig) -> None:
    with pytest.raises(Problem) as refused:
        rig.daemon.client.open(
            {
                "ports": f"{rig.echo.port}",
                "to": "127.0.0.1:9",
                "at": "far",
                "on": "127.0.0.1",
                "from": "127.0.0.0/8",
            }
        )
    assert refused.value.code == "not-applied"
    assert "far" in refused.value.title()
    assert rig.daemon.client.mappings() == []


def test_udp_through_a_server_that_carries_none_is_refused(rig: Rig) -> None:
    with pytest.raises(Problem, match="SSH alone knows only TCP"):
        rig.daemon.client.open({"ports": f"udp/{rig.via}", "to": "127.0.0.1:9", "via": "far"})


def test_the_server_goes_and_comes_back(rig: Rig) -> None:
    rig.open()
    rig.sshd.kill()
    eventually(lambda: rig.view()["phase"] != "up")
    eventually(lambda: rig.state("through")["state"] == "failed")
    assert rig.state("through")["problem"]["code"] == "link-down"
    assert not rig.talks(rig.via)
    rig.sshd.start()
    rig.comes_back()
    eventually(lambda: rig.state("beyond")["state"] == "open")
    assert rig.state("through")["state"] == "open"


def test_a_server_that_is_down_from_the_start(tmp_path: Path, peers: Peers) -> None:
    sshd = Sshd(tmp_path / "far")
    with DaemonProcess() as daemon:
        rig = Rig(daemon, sshd, peers)
        given = {"to": sshd.url, "identity": [str(sshd.key)], "host_keys": [sshd.host_key_line]}
        daemon.client.put_link("far", given)
        rig.open()
        assert rig.state("through")["problem"]["code"] == "link-down"
        assert not rig.talks(rig.via)
        with sshd:
            rig.comes_back()


def test_every_connection_is_cut(rig: Rig) -> None:
    rig.open()
    rig.sshd.cut()
    rig.comes_back()


def _kill_link(rig: Rig) -> None:
    pid = rig.link_pid()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid))


def _kill_workers(rig: Rig) -> None:
    for pid in rig.daemon.worker_pids:
        os.kill(pid, signal.SIGKILL)
        eventually(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]


def _kill_daemon(rig: Rig) -> None:
    link = rig.link_pid()
    rig.daemon.kill9()
    eventually(lambda: not is_alive(link))
    rig.daemon.start()


def _restart_daemon(rig: Rig) -> None:
    link = rig.link_pid()
    rig.daemon.restart()
    assert not is_alive(link)


@pytest.mark.parametrize("harm", [_kill_link, _kill_workers, _kill_daemon, _restart_daemon])
def test_whatever_is_killed_the_ports_are_back(rig: Rig, harm: Callable[[Rig], None]) -> None:
    rig.open()
    assert rig.works()
    for _ in range(2):
        harm(rig)
        rig.comes_back()


def test_a_server_that_is_frozen_is_noticed_and_served_again(rig: Rig) -> None:
    rig.open()
    rig.sshd.freeze()
    eventually(lambda: rig.view()["phase"] != "up", 12)
    rig.sshd.thaw()
    rig.comes_back()


def test_a_link_that_leads_elsewhere_now(rig: Rig, tmp_path: Path) -> None:
    rig.open()
    with Sshd(tmp_path / "other") as other:
        rig.sshd.kill()
        rig.sshd = other
        rig.link()
        rig.comes_back()


def test_a_link_that_is_removed_takes_its_process_along(rig: Rig) -> None:
    rig.open()
    with pytest.raises(Problem):
        rig.daemon.client.remove_link("far")
    rig.daemon.client.close("through")
    rig.daemon.client.close("beyond")
    pid = rig.link_pid()
    rig.daemon.client.remove_link("far")
    eventually(lambda: not is_alive(pid))
    assert rig.daemon.client.links() == []


def test_nothing_is_left_open_after_many_losses(rig: Rig) -> None:
    rig.open()
    assert rig.works()
    pids = [rig.daemon.pid, *rig.daemon.worker_pids]
    before = [_descriptors(pid) for pid in pids]
    for _ in range(3):
        _kill_link(rig)
        rig.comes_back()
        rig.sshd.cut()
        rig.comes_back()
    eventually(lambda: all(_descriptors(pid) <= had + 2 for pid, had in zip(pids, before, strict=True)))
    assert len(rig.children("sekimori")) == 1
