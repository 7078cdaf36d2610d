"""OpenSSH through a mapping, opened by the name of its preset as a user would."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from subprocess import PIPE

import pytest

from sekimori.model.errors import Problem
from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import eventually
from tests.netns.home import Home

from .programs import Start, need, wait_for_listener

pytestmark = [pytest.mark.interop, pytest.mark.netns]

GATEWAY, SERVER, VISITOR = HomeNetwork.GATEWAY, HomeNetwork.SERVER, HomeNetwork.VISITOR


@pytest.fixture
def ssh(home: Home, start: Start, tmp_path: Path) -> list[str]:
    """An OpenSSH server on the home's server at port 22; options that a client needs for it."""
    sshd = need("sshd", "openssh-server")
    need("ssh", "openssh-client")
    for name in ("host", "user"):
        home.net.server.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)])
    authorized = tmp_path / "authorized_keys"
    authorized.write_text((tmp_path / "user.pub").read_text())
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it; the package's service makes it
    options = {
        "ListenAddress": SERVER[0],
        "HostKey": tmp_path / "host",
        "AuthorizedKeysFile": authorized,
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "PidFile": "none",
        "Subsystem": "sftp internal-sftp",
    }
    config = tmp_path / "sshd_config"
    config.write_text("".join(f"{key} {value}\n" for key, value in options.items()))
    start(home.net.server, sshd, "-D", "-e", "-f", str(config))
    wait_for_listener(home.server, SERVER[0], 22)
    known = tmp_path / "known_hosts"
    key = " ".join((tmp_path / "host.pub").read_text().split()[:2])
    known.write_text("".join(f"{address} {key}\n" for address in GATEWAY))
    client = {
        "UserKnownHostsFile": known,
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": 10,
    }
    words = [f"-o{key}={value}" for key, value in client.items()]
    return ["-F", "none", "-i", str(tmp_path / "user"), *words]


def test_a_session_a_copy_and_a_stranger(home: Home, ssh: list[str], tmp_path: Path) -> None:
    view = home.open({"ports": "ssh", "to": SERVER[0], "from": ",".join(VISITOR)})
    assert (view["preset"], view["risk"], view["ports"]) == ("ssh", "admin", "tcp/22")
    visitor = home.net.visitor
    for address in GATEWAY:
        done = visitor.run(["ssh", *ssh, f"root@{address}", "echo $SSH_CONNECTION"])
        assert done.stdout.split()[0] == HomeNetwork.GATEWAY_INSIDE[0]

    sent, kept, back = tmp_path / "sent", tmp_path / "kept", tmp_path / "back"
    sent.write_bytes(random.Random(1).randbytes(8 << 20))
    visitor.run(["scp", "-q", *ssh, str(sent), f"root@{GATEWAY[0]}:{kept}"])
    visitor.run(["scp", "-q", *ssh, f"root@{GATEWAY[0]}:{kept}", str(back)])
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (sent, kept, back)}
    assert len(digests) == 1
    figures = eventually(lambda: _ended(home, view))
    assert figures["flows_total"] == 4
    assert min(figures["bytes_in"], figures["bytes_out"]) > 8 << 20

    refused = home.net.stranger.run(["ssh", *ssh, f"root@{GATEWAY[0]}", "true"], check=False)
    assert refused.returncode == 255
    assert "reset" in refused.stderr or "closed" in refused.stderr


def test_ssh_to_anyone_needs_the_risk_accepted(home: Home) -> None:
    asked = {"ports": "ssh", "to": SERVER[0], "from": "anyone"}
    with pytest.raises(Problem) as told:
        home.open(asked)
    assert told.value.exit_code == 8
    risk = str(told.value.facts["risk"])
    assert f"--accept-risk {risk}" in told.value.fix()
    assert home.open({**asked, "accept_risk": risk})["accept_risk"] == [risk]


def test_a_session_outlives_the_daemon(home: Home, ssh: list[str]) -> None:
    home.open({"ports": "ssh", "to": SERVER[0], "from": VISITOR[0]})
    command = ["ssh", *ssh, f"root@{GATEWAY[0]}", "cat"]
    with home.net.visitor.running(command, stdin=PIPE, stdout=PIPE, text=True, bufsize=1) as session:
        asks, answers = session.stdin, session.stdout
        assert asks is not None
        assert answers is not None

        def says_back(line: str) -> bool:
            asks.write(line)
            return bool(answers.readline() == line)

        assert says_back("before\n")
        home.daemon.kill9()
        assert says_back("meanwhile\n")
        home.daemon.start()
        assert says_back("after\n")
        asks.close()
        assert session.wait(10) == 0


def _ended(home: Home, view: dict[str, object]) -> dict[str, int] | None:
    figures = home.counters(view)
    return figures if figures["flows_active"] == 0 else None
