"""`sekimori doctor` on a real gateway: what another firewall drops is named, let through, stopped again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sekimori.model.errors import Problem
from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.ports import free_ports

from .doctoring import QUICK, need
from .home import Home, gateway, network
from .home import kernel_home as _kernel_home
from .test_doctor_docker import DOCKER, DOCKER_NAT

__all__ = ["_kernel_home", "gateway", "network"]

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]

GATEWAY, SERVER = HomeNetwork.GATEWAY[0], HomeNetwork.SERVER[0]


@dataclass(frozen=True)
class Ran:
    """One run of the command."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.out)["data"]
        return value


@dataclass(frozen=True)
class Patient:
    """A gateway with one forward through its kernel, and what others lay beside it."""

    home: Home
    port: int
    name: str

    def iptables(self, *rules: str) -> None:
        for rule in rules:
            self.home.net.gateway.run(["iptables", *rule.split()])

    def rules(self) -> str:
        return self.home.net.gateway.run(["iptables", "-S"]).stdout

    def reaches(self) -> bool:
        """Whether the visitor is answered by the server inside."""

        def connect() -> bool:
            with socket.socket() as sock:
                sock.settimeout(QUICK)
                try:
                    sock.connect((GATEWAY, self.port))
                    sock.sendall(b"knock")
                    return sock.recv(5) == b"knock"
                except OSError:
                    return False

        return self.home.net.visitor.call(connect)

    def doctor(self, *words: str) -> Ran:
        """Run the command as a person does."""
        command = [sys.executable, "-m", "sekimori", "--socket", str(self.home.daemon.socket), "doctor"]
        environ = {**os.environ, "SEKIMORI_LANG": "en"}
        done = subprocess.run(
            [*command, *words], env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def patient(kernel_home: Home) -> Iterator[Patient]:
    need("iptables", "nft")
    port, service = free_ports(), free_ports()
    kernel_home.server.tcp_echo(SERVER, service)
    view = kernel_home.open({"ports": f"{port}:{service}", "to": SERVER, "from": "anyone", "name": "web"})
    yield Patient(kernel_home, port, view["name"])
    kernel_home.daemon.client.fix(undo=True)
    gateway = kernel_home.net.gateway
    gateway.run(["iptables", "-P", "FORWARD", "ACCEPT"])
    for table in ("filter", "nat"):
        for action in ("-F", "-X"):
            gateway.run(["iptables", "-t", table, action])


def test_nothing_of_others_and_the_command_ends_with_0(patient: Patient) -> None:
    assert patient.reaches()
    ran = patient.doctor()
    assert (ran.code, ran.err) == (0, "")
    assert "Nothing on this machine keeps packets from what is open (1 of 1 mappings looked at)." in ran.out
    errors = [each for each in patient.doctor("--json").data["findings"] if each["severity"] != "notice"]
    assert errors == []


def test_dockers_policy_is_named_put_right_and_put_back(patient: Patient) -> None:
    patient.iptables(*DOCKER, *DOCKER_NAT)
    before = patient.rules()
    assert not patient.reaches()

    ran = patient.doctor()
    assert ran.code == 3
    assert f"× problem: {patient.name}  [policy-drop, certain]" in ran.out
    assert "no rule of Docker accepts it, and the chain FORWARD drops" in ran.out
    assert "ip filter FORWARD (hook forward, of Docker): policy drop" in ran.out
    assert "$ iptables -w 5 -I DOCKER-USER" in ran.out
    assert patient.rules() == before  # it only looked

    shown = patient.doctor(patient.name, "--fix", "--plan")
    assert shown.code == 3
    assert "This would be done to Docker:" in shown.out
    assert (patient.rules(), patient.reaches()) == (before, False)

    done = patient.doctor("--fix", "--yes", "--why", "a test")
    assert (done.code, done.err) == (0, "")
    assert "Done to Docker:" in done.out
    assert "take it back: sekimori doctor --undo" in done.out
    assert patient.reaches()
    assert patient.doctor(patient.name).code == 0
    assert "remedy_applied" in patient.home.daemon.log

    assert patient.doctor("another", "--undo", "--yes").out == "There is nothing to take back.\n"
    undone = patient.doctor(patient.name, "--undo", "--yes")
    assert (undone.code, undone.err) == (0, "")
    assert "$ iptables -w 5 -D DOCKER-USER" in undone.out
    assert patient.rules() == before
    assert not patient.reaches()
    assert patient.doctor().code == 3


def test_what_was_done_is_taken_back_by_the_next_daemon_when_its_mapping_is_gone(patient: Patient) -> None:
    patient.iptables(*DOCKER)
    before = patient.rules()
    assert patient.doctor("--fix", "--yes").code == 0
    patient.home.daemon.restart()
    patient.home.daemon.client.close(patient.name, now=True)
    (standing,) = patient.doctor("--json").data["remedies"]
    assert (standing["owner"], standing["mappings"]) == ("Docker", [patient.name])
    assert patient.doctor(patient.name, "--undo", "--yes").code == 0
    assert patient.rules() == before
    assert patient.doctor("--json").data["remedies"] == []


def test_nat_of_others_that_comes_first_is_named(patient: Patient) -> None:
    text = f"""
        table ip stranger {{
          chain pre {{ type nat hook prerouting priority -150; policy accept;
            tcp dport {patient.port} dnat to {HomeNetwork.DESKTOP[0]}:9
          }}
        }}
    """
    gateway = patient.home.net.gateway
    gateway.run(["nft", "-f", "-"], text=text)
    try:
        assert not patient.reaches()
        ran = patient.doctor(patient.name, "--json")
        assert ran.code == 3
        found = next(each for each in ran.data["findings"] if each["code"] == "nat-shadowed")
        assert (
            found["evidence"].items() >= {"table": "stranger", "chain": "pre", "hook": "prerouting"}.items()
        )
        assert found["evidence"]["handle"] > 0
        assert HomeNetwork.DESKTOP[0] in found["title"]["en"]
        assert found["remedy"] is None
        fixed = patient.doctor(patient.name, "--fix", "--yes")
        assert fixed.code == 3
        assert "There is no remedy that could be carried out" in fixed.out
    finally:
        gateway.run(["nft", "delete", "table", "ip", "stranger"])
    assert patient.doctor(patient.name).code == 0
    assert patient.reaches()


def test_a_drop_is_named_by_its_handle_and_in_japanese(patient: Patient) -> None:
    patient.iptables(f"-A FORWARD -p tcp -d {SERVER} -j DROP")
    assert not patient.reaches()
    ran = patient.doctor("--lang", "ja")
    assert ran.code == 3
    assert "× 問題" in ran.out
    assert "FORWARD" in ran.out
    assert "ハンドル" in ran.out
    assert patient.doctor("--fix", "--yes").code == 0
    assert patient.reaches()


def test_what_was_shown_is_not_done_once_the_rules_have_changed(patient: Patient) -> None:
    patient.iptables(*DOCKER)
    (remedy,) = patient.home.daemon.client.fix(plan=True)["treated"]
    patient.iptables("-A DOCKER-USER -p tcp --dport 1 -j ACCEPT")
    before = patient.rules()
    with pytest.raises(Problem) as caught:
        patient.home.daemon.client.fix(remedies=[remedy["id"]])
    assert (caught.value.code, caught.value.exit_code) == ("remedy-gone", 5)
    assert patient.rules() == before
    assert patient.doctor("--json").data["remedies"] == []
