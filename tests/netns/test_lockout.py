"""An administrator who comes by SSH and is about to lock themselves out, with OpenSSH as Debian has it."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from sekimori.model.errors import Problem
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import HomeNetwork, Host
from sekimori.testing.peers import eventually
from sekimori.testing.ports import free_ports
from tests.interop.programs import need

from .home import Knock, clear

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]

GATEWAY, INSIDE = HomeNetwork.GATEWAY, HomeNetwork.GATEWAY_INSIDE
VISITOR, SERVER = HomeNetwork.VISITOR, HomeNetwork.SERVER
CONFIRM = 6
"""Seconds in which a change must be confirmed here."""
BLOCKED, LOGGED_IN, REVERTED = 255, 0, 9


@dataclass(frozen=True)
class Office:
    """The network, the daemon and sshd on its gateway, and the options of an administrator's ssh."""

    net: HomeNetwork
    daemon: DaemonProcess
    options: Sequence[str]

    def words(self, address: str, *command: str, port: int = 22, by: str = "env") -> list[str]:
        """`ssh` of a `sekimori` command on the gateway, which `by` (as `sudo` would) runs there."""
        here = f"SEKIMORI_SOCKET={self.daemon.socket} SEKIMORI_LANG=en"
        # The shell stays above the command, as sudo itself does where sessions are noted (PAM).
        remote = f"{by} {here} {sys.executable} -m sekimori {shlex.join(command)}; exit $?"
        return ["ssh", *self.options, "-p", str(port), f"root@{address}", remote if command else "true"]

    def run(
        self, address: str, *command: str, host: Host | None = None, **how: Any
    ) -> subprocess.CompletedProcess[str]:
        """Log in, run a command (or nothing), and see what came of it."""
        words = self.words(address, *command, **how)
        return (host or self.net.visitor).run(words, check=False, timeout=60)

    def start(self, address: str, *command: str, **how: Any) -> subprocess.Popen[str]:
        """Log in and begin a command; returns once it was done and waits to be confirmed."""
        words = self.words(address, *command, **how)
        with contextlib.closing(self.daemon.client.events()) as events:
            next(events)
            session = self.net.visitor.popen(words, stdout=PIPE, stderr=PIPE, stdin=PIPE, text=True)
            for name, _ in events:
                if name == "pending":
                    return session
        raise AssertionError("the daemon ended")

    @property
    def pending(self) -> list[dict[str, Any]]:
        """What waits to be confirmed."""
        found: list[dict[str, Any]] = self.daemon.client.pending()["pending"]
        return found

    def knocks_in_vain(self, address: str, port: int = 22) -> bool:
        """Whether a SYN to the gateway is not answered, although another from inside is."""
        with Knock(self.net.visitor, port, address) as knock:
            assert self.run(INSIDE[0], host=self.net.desktop).returncode == LOGGED_IN
            return not knock.is_answered


@pytest.fixture(scope="module")
def daemon(network: HomeNetwork) -> Iterator[DaemonProcess]:
    config = f"[relay]\nworkers = 1\ngrace = '1s'\n[policy]\nconfirm = '{CONFIRM}s'\n"
    with DaemonProcess(config, netns=network.gateway.netns) as running:
        yield running


@pytest.fixture(scope="module")
def options(network: HomeNetwork) -> Iterator[list[str]]:
    """An OpenSSH server on the gateway; what an administrator's client needs to come in."""
    sshd = need("sshd", "openssh-server")
    need("ssh", "openssh-client")
    with tempfile.TemporaryDirectory(prefix="skm-ssh-") as name:
        at = Path(name)
        for key in ("host", "user"):
            network.gateway.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(at / key)])
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it; the package's service makes it
        settings = {
            "HostKey": at / "host",
            "AuthorizedKeysFile": at / "user.pub",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "UseDNS": "no",
            "PidFile": "none",
        }
        (at / "config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        client = ("StrictHostKeyChecking=no", "BatchMode=yes", "ConnectTimeout=3", "LogLevel=ERROR")
        words = [f"-o{each}" for each in (*client, "UserKnownHostsFile=/dev/null")]
        with network.gateway.running([sshd, "-D", "-e", "-f", str(at / "config")], stderr=PIPE):
            yield ["-F", "none", "-i", str(at / "user"), *words]


@pytest.fixture
def office(network: HomeNetwork, daemon: DaemonProcess, options: list[str]) -> Iterator[Office]:
    found = Office(network, daemon, options)
    eventually(lambda: found.run(GATEWAY[0]).returncode == LOGGED_IN)
    yield found
    eventually(lambda: not found.pending, 2 * CONFIRM + 5)
    clear(daemon)


def finish(session: subprocess.Popen[str], within: float = CONFIRM + 20) -> tuple[int, str, str]:
    """The end of a session that was left open: exit code, stdout and stderr."""
    out, err = session.communicate(timeout=within)
    return session.returncode, out, err


FIREWALL = ("gateway", "enable", "--firewall", "--yes")


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_a_firewall_without_a_permit_is_taken_back(office: Office, family: int) -> None:
    address = GATEWAY[family]
    planned = office.run(address, *FIREWALL, "--plan")
    assert planned.returncode == 0
    assert f"you came from {VISITOR[family]} to {address} port 22" in planned.stderr

    session = office.start(address, *FIREWALL)
    assert office.daemon.client.gateway()["firewall"] is True
    assert office.knocks_in_vain(address)
    assert office.run(address).returncode == BLOCKED
    code, out, err = finish(session)
    assert code == REVERTED, err
    assert "This machine is a gateway now" in out
    assert "log in once more, and run there: sekimori confirm" in err
    assert f"it was not confirmed within {CONFIRM} s" in err
    assert office.run(address).returncode == LOGGED_IN
    assert office.daemon.client.gateway()["enabled"] is False


def test_with_a_permit_nothing_has_to_be_confirmed(office: Office) -> None:
    office.daemon.client.open({"ports": "ssh", "to": "self", "via": "kernel", "from": VISITOR[0]})
    done = office.run(GATEWAY[0], *FIREWALL)
    assert (done.returncode, office.pending) == (0, []), done.stderr
    assert office.knocks_in_vain(GATEWAY[1])
    assert office.run(GATEWAY[0]).returncode == LOGGED_IN

    # To close that permit now would cut them off; to narrow it to themselves would not.
    done = office.run(GATEWAY[0], "edit", "ssh", "--from", f"{VISITOR[0]},192.0.2.0/24")
    assert (done.returncode, office.pending) == (0, []), done.stderr
    session = office.start(GATEWAY[0], "close", "ssh")
    assert office.knocks_in_vain(GATEWAY[0])
    eventually(lambda: office.run(GATEWAY[0]).returncode == LOGGED_IN, CONFIRM + 10)
    finish(session)  # a permit's sessions end with it, this one too: it may not have heard


def test_confirmed_from_a_second_login_it_stays(office: Office) -> None:
    session = office.start(GATEWAY[0], *FIREWALL)
    confirmed = office.run(INSIDE[0], "confirm", host=office.net.desktop)
    assert confirmed.returncode == 0, confirmed.stderr
    code, _, err = finish(session)
    assert code == 0, err
    assert "Confirmed: revision" in err
    assert office.knocks_in_vain(GATEWAY[0])
    assert office.daemon.client.gateway()["firewall"] is True


def test_the_session_itself_confirms_nothing(office: Office) -> None:
    here = f"SEKIMORI_SOCKET={office.daemon.socket} {sys.executable} -m sekimori"
    script = f"{here} {shlex.join(FIREWALL)} & sleep 3; {here} confirm; echo $?; wait $!"
    words = ["ssh", *office.options, f"root@{GATEWAY[0]}", script]
    done = office.net.visitor.run(words, check=False, timeout=60)
    assert done.returncode == REVERTED
    assert "\n5\n" in f"\n{done.stdout}"
    assert "Log in anew" in done.stderr
    assert office.run(GATEWAY[0]).returncode == LOGGED_IN


def test_a_second_session_that_was_open_before_confirms_nothing(office: Office) -> None:
    here = f"SEKIMORI_SOCKET={office.daemon.socket} {sys.executable} -m sekimori"
    # It sends something now and then: of one that has been silent, conntrack need not know.
    remote = f"echo ready; until read -t 0.2 go; do echo .; done; {here} confirm"
    words = ["ssh", *office.options, f"root@{GATEWAY[0]}", f"bash -c {shlex.quote(remote)}"]
    second = office.net.visitor.popen(words, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
    assert second.stdout is not None
    assert second.stdout.readline() == "ready\n"
    session = office.start(GATEWAY[0], *FIREWALL)
    _, err = second.communicate("go\n", timeout=CONFIRM)
    assert second.returncode == 5
    assert "only a new one shows that you can come in" in err
    assert finish(session)[0] == REVERTED


def test_a_ban_of_ones_own_address_is_taken_back(office: Office) -> None:
    session = office.start(GATEWAY[0], "ban", VISITOR[0])
    assert office.knocks_in_vain(GATEWAY[0])
    assert office.run(GATEWAY[0], host=office.net.stranger).returncode == LOGGED_IN
    code, _, err = finish(session)
    assert code == REVERTED, err
    assert office.run(GATEWAY[0]).returncode == LOGGED_IN
    assert office.daemon.client.bans() == []


def test_a_ban_of_another_needs_no_confirming(office: Office) -> None:
    done = office.run(GATEWAY[0], "ban", HomeNetwork.STRANGER[0])
    assert (done.returncode, office.pending) == (0, []), done.stderr
    assert office.run(GATEWAY[0]).returncode == LOGGED_IN


def test_the_port_that_sshd_listens_on_is_forwarded_to_nobody(office: Office) -> None:
    risk = ("--accept-risk", "ssh-password-guessing")
    done = office.run(
        GATEWAY[0], "open", "22", "--to", SERVER[0], "--via", "kernel", "--from", VISITOR[0], *risk
    )
    assert done.returncode == 5, done.stderr
    assert "sshd" in done.stderr
    assert office.run(GATEWAY[0]).returncode == LOGGED_IN


@pytest.mark.parametrize("stripped", ["env -u SSH_CONNECTION", "env -i"])
def test_the_way_they_came_is_known_though_sudo_hides_it(office: Office, stripped: str) -> None:
    session = office.start(GATEWAY[0], *FIREWALL, by=stripped)
    (pending,) = office.pending
    assert (pending["source"], pending["destination"], pending["port"]) == (VISITOR[0], GATEWAY[0], 22)
    assert finish(session)[0] == REVERTED


def test_who_came_by_a_relay_is_not_cut_off_by_closing_it(office: Office) -> None:
    port = free_ports()
    office.daemon.client.open(
        {"name": "door", "ports": f"{port}:22", "to": "self", "via": "relay", "from": VISITOR[0]}
    )
    assert office.run(GATEWAY[0], port=port).returncode == LOGGED_IN
    session = office.start(GATEWAY[0], "close", "door", port=port)
    assert office.knocks_in_vain(GATEWAY[0], port) or office.run(GATEWAY[0], port=port).returncode == BLOCKED
    eventually(lambda: office.run(GATEWAY[0], port=port).returncode == LOGGED_IN, CONFIRM + 10)
    session.kill()
    session.communicate()


def test_a_daemon_that_was_killed_takes_it_back_when_it_starts(office: Office) -> None:
    session = office.start(GATEWAY[0], *FIREWALL)
    assert session.stdout is not None
    assert session.stdout.readline().startswith("This machine is a gateway now")
    office.daemon.kill9()
    assert office.knocks_in_vain(GATEWAY[0])
    subprocess.run(["sleep", str(CONFIRM)], check=True)
    assert office.run(GATEWAY[0]).returncode == BLOCKED
    office.daemon.start()
    eventually(lambda: office.run(GATEWAY[0]).returncode == LOGGED_IN)
    assert finish(session)[0] == REVERTED
    assert office.daemon.client.history(limit=1)[0]["why"] == f"not confirmed within {CONFIRM} s"


def test_a_daemon_that_is_stopped_takes_it_back_before(office: Office) -> None:
    session = office.start(GATEWAY[0], *FIREWALL)
    office.daemon.stop()
    assert office.run(GATEWAY[0]).returncode == LOGGED_IN
    session.kill()
    session.communicate()
    office.daemon.start()
    assert office.daemon.client.gateway()["enabled"] is False
    with pytest.raises(Problem, match="nothing waits"):
        office.daemon.client.confirm()


def test_a_config_file_that_locks_out_is_taken_back_too(office: Office) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".toml", prefix="skm-") as file:
        file.write("[gateway]\nfirewall = true\n")
        file.flush()
        session = office.start(GATEWAY[0], "apply", file.name)
        assert office.pending[0]["actor"] == f"file:{file.name}"
        assert office.knocks_in_vain(GATEWAY[0])
        assert finish(session)[0] == REVERTED
    assert office.run(GATEWAY[0]).returncode == LOGGED_IN


def test_a_config_file_locks_out_once_and_not_again_at_the_next_start(office: Office) -> None:
    daemon = office.daemon
    text = daemon.config.read_text()
    daemon.config.write_text(text + "[gateway]\nfirewall = true\n")
    try:
        session = office.start(GATEWAY[0], "apply")
        assert office.knocks_in_vain(GATEWAY[0])
        assert finish(session)[0] == REVERTED
        told = daemon.log.count("stays-taken-back")
        daemon.reload()
        eventually(lambda: daemon.log.count("stays-taken-back") == told + 1)
        daemon.restart()
        assert daemon.log.count("stays-taken-back") == told + 2
        shown = office.run(GATEWAY[0], "status")  # they can come in, and are told why
        assert shown.returncode == LOGGED_IN
        assert "its text was taken back" in shown.stdout
        assert daemon.client.gateway()["enabled"] is False

        session = office.start(GATEWAY[0], "apply")  # somebody says so: armed anew, and this time confirmed
        assert office.run(INSIDE[0], "confirm", host=office.net.desktop).returncode == LOGGED_IN
        assert finish(session)[0] == LOGGED_IN
        assert "taken back" not in office.run(INSIDE[0], "status", host=office.net.desktop).stdout
        daemon.restart()
        assert daemon.client.gateway()["firewall"] is True
    finally:
        daemon.config.write_text(text)
        daemon.client.apply(str(daemon.config))
