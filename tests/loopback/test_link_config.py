"""What ssh_config(5) says of a link's servers, against real sshd."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sekimori.doors.api.hostkeys import Pin, fingerprint_of, trust
from sekimori.model.link import Link, SshPlace
from sekimori.model.linkfacts import HostKey, LinkFacts, LinkTest
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.planes.link import probe
from sekimori.testing.peers import Peers, eventually
from sekimori.testing.sshd import Sshd, make_key, why_no_sshd
from tests.planes.link.linkprocess import LinkProcess, try_once

pytestmark = [
    pytest.mark.loopback,
    pytest.mark.skipif(why_no_sshd() is not None, reason=str(why_no_sshd())),
]


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with Sshd(tmp_path / "sshd") as server:
        yield server


class Tried:
    """What the daemon has to try links by."""

    async def scan(self, link: Link) -> Sequence[HostKey]:
        return await probe.scan(link)

    async def test(self, link: Link) -> LinkTest:
        return await probe.test(link)

    def told(self) -> Mapping[str, LinkFacts]:
        return {}


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def below(pid: int) -> list[int]:
    """Children of a process."""
    told = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in told.split()]


def only_child(pid: int, former: int) -> int | None:
    """The one child of a process, where that is another than before."""
    children = below(pid)
    return children[0] if len(children) == 1 and children[0] != former else None


@pytest.mark.skipif(shutil.which("socat") is None, reason="no socat is installed")
def test_a_proxy_command_is_the_wire_and_ends_with_the_connection(sshd: Sshd, tmp_path: Path) -> None:
    # A shell's words are a shell's, and a port that only the command knows.
    command = f"socat STDIO TCP:$(echo 127.0.0.1):{sshd.port} 2>/dev/null"
    config = write(tmp_path / "config", f"Host 127.0.0.1\n  ProxyCommand {command}\n  Port 1\n")
    place = "ssh://root@127.0.0.1"
    asked: dict[str, Any] = {
        "config": config,
        "place": place,
        "host_keys": [sshd.host_key_line.replace(sshd.url, place)],
    }
    assert try_once("--scan", sshd, **asked)["keys"][0]["standing"] == "pinned"
    assert try_once("--test", sshd, **asked)["remote"] is True
    with LinkProcess() as link, Peers() as peers:
        link.start(sshd, **asked)
        link.up()
        sock, _number = link.dial("127.0.0.1", peers.tcp_echo().port)
        data = os.urandom(1 << 20)
        sock.sendall(data)
        got = bytearray()
        while len(got) < len(data):
            got += sock.recv(1 << 20)
        assert bytes(got) == data
        (first,) = below(link.process.pid)
        sshd.cut()
        link.control.wait(op="state", phase="waiting")
        second = eventually(lambda: only_child(link.process.pid, first))
        eventually(lambda: sshd.sessions())
        os.kill(second, signal.SIGKILL)  # the program is lost, and so is the connection
        link.control.wait(op="state", phase="waiting")
        eventually(lambda: only_child(link.process.pid, second))


def test_a_proxy_command_that_does_not_exist(sshd: Sshd, tmp_path: Path) -> None:
    config = write(tmp_path / "config", "Host *\n  ProxyCommand /nonexistent/program %h\n")
    assert try_once("--test", sshd, config=config)["problem"]["code"] in ("link-cut", "link-refused")


def test_key_files_of_ssh_config_that_are_not_there_are_passed_over(sshd: Sshd, tmp_path: Path) -> None:
    text = f"Host *\n  IdentityFile {tmp_path}/none\n  IdentityFile {sshd.key}\n"
    config = write(tmp_path / "config", text)
    assert try_once("--scan", sshd, config=config, identity=[])["problem"] is None
    assert try_once("--test", sshd, config=config, identity=[])["problem"] is None


@pytest.fixture
def agent(tmp_path: Path, sshd: Sshd) -> Iterator[dict[str, str]]:
    """An agent that has the key the server lets in."""
    path = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL) as process:
        eventually(path.exists)
        env = {"SSH_AUTH_SOCK": str(path)}
        subprocess.run(["ssh-add", "-q", str(sshd.key)], env={**os.environ, **env}, check=True)
        yield env
        process.terminate()


@pytest.mark.parametrize(
    ("lines", "is_let_in"),
    [
        ("IdentityFile {there}/none", True),
        ("IdentitiesOnly yes\nIdentityFile {there}/none", False),
        ("IdentitiesOnly yes\nIdentityFile {there}/other", False),
        ("IdentitiesOnly yes\nIdentityFile {there}/locked", False),
        ("IdentitiesOnly yes", False),
        ("IdentitiesOnly yes\nIdentityFile {there}/told", True),  # of which there is the .pub alone
        ("IdentitiesOnly yes\nIdentityFile {there}/told.pub", True),
        ("IdentityFile {there}/told.pub", True),
    ],
)
def test_keys_of_an_agent_are_offered_as_ssh_offers_them(
    sshd: Sshd, tmp_path: Path, agent: dict[str, str], lines: str, is_let_in: bool
) -> None:
    make_key(tmp_path / "other")
    make_key(tmp_path / "locked", passphrase="secret")
    (tmp_path / "locked.pub").unlink()  # its public half stands in it, too
    shutil.copy(f"{sshd.key}.pub", tmp_path / "told.pub")
    config = write(tmp_path / "config", lines.format(there=tmp_path) + "\n")
    env = {**agent, "HOME": str(tmp_path)}
    problem = try_once("--test", sshd, env=env, config=config, identity=[])["problem"]
    assert (problem is None) is is_let_in, problem
    if not is_let_in:
        assert problem["code"] == "link-auth"
    # And so does ssh(1); nobody's home but for what the file names.
    argv = ["ssh", "-F", config, "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={tmp_path}/k"]
    argv += ["-o", "BatchMode=yes", "-p", str(sshd.port), "root@127.0.0.1", "true"]
    if "IdentityFile" in lines:  # without it, ssh takes the keys of the account that runs this
        done = subprocess.run(argv, env={**os.environ, **env}, capture_output=True, timeout=20)
        assert (done.returncode == 0) is is_let_in, done.stderr


def test_the_usual_key_files_are_found_where_only_files_are_wanted(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    shutil.copy(sshd.key, tmp_path / ".ssh" / "id_ed25519")
    config = write(tmp_path / "config", "IdentitiesOnly yes\n")
    env = {"HOME": str(tmp_path), "SSH_AUTH_SOCK": ""}
    assert try_once("--test", sshd, env=env, config=config, identity=[])["problem"] is None
    elsewhere = write(tmp_path / "elsewhere", f"IdentityFile {tmp_path}/none\n")
    assert try_once("--test", sshd, env=env, config=elsewhere, identity=[])["problem"]["code"] == "link-auth"


def test_no_other_key_takes_the_place_of_one_that_the_link_names(
    sshd: Sshd, tmp_path: Path, agent: dict[str, str]
) -> None:
    (tmp_path / ".ssh").mkdir()
    shutil.copy(sshd.key, tmp_path / ".ssh" / "id_ed25519")
    locked = make_key(tmp_path / "locked", passphrase="secret")
    env = {**agent, "HOME": str(tmp_path)}
    assert try_once("--test", sshd, env=env, identity=[str(locked)])["problem"]["code"] == "link-auth"


def test_who_logs_in_is_told_as_ssh_config_has_it(sshd: Sshd, tmp_path: Path) -> None:
    config = write(tmp_path / "config", "Host *\n  User nobody\n")
    place = f"ssh://127.0.0.1:{sshd.port}"
    keys = [sshd.host_key_line.replace(sshd.url, place)]
    problem = try_once("--test", sshd, config=config, place=place, host_keys=keys)["problem"]
    assert (problem["code"], problem["facts"]["user"]) == ("link-auth", "nobody")


@pytest.mark.parametrize("content", [b"Port many\n", b"# caf\xe9\n", b"Host *\n  ProxyJump a b\n"])
def test_a_file_that_is_mended_is_read_again(sshd: Sshd, tmp_path: Path, content: bytes) -> None:
    config = tmp_path / "config"
    config.write_bytes(content)
    with LinkProcess() as link:
        link.start(sshd, config=str(config))
        link.control.wait(op="state", phase="refused")
        link.listen(0)  # what is asked for meanwhile is not lost
        config.write_text("")
        link.control.tell({"op": "retry"})
        link.up()
        assert link.control.wait(op="listening", id="m2")[0]["port"]


def test_a_scan_takes_a_certificate_of_an_authority_that_is_pinned(sshd: Sshd, tmp_path: Path) -> None:
    authority = make_key(tmp_path / "authority")
    other = make_key(tmp_path / "other")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", authority, "-I", "h", "-h", "-n", "127.0.0.1", f"{sshd.host_key}.pub"],
        check=True,
    )
    sshd.kill()
    sshd.settings["HostCertificate"] = f"{sshd.host_key}-cert.pub"
    sshd.start()

    def standing(signer: Path) -> str:
        algorithm, key = Path(f"{signer}.pub").read_text().split()[:2]
        line = f"{sshd.url} cert-authority {algorithm} {key}"
        (shown,) = try_once("--scan", sshd, host_keys=[line])["keys"]
        return str(shown["standing"])

    assert standing(authority) == "pinned"
    assert standing(other) == "changed"


async def test_servers_that_ssh_config_names_as_jumps_are_asked_and_pinned(tmp_path: Path) -> None:
    with Sshd(tmp_path / "a") as first, Sshd(tmp_path / "b") as second, Sshd(tmp_path / "c") as last:
        shutil.copy(f"{first.key}.pub", second.authorized)
        shutil.copy(f"{first.key}.pub", last.authorized)
        hosts = {"one": first, "two": second, "far": last}
        jumps = {"two": "  ProxyJump one\n", "far": "  ProxyJump two\n"}
        text = "".join(
            f"Host {name}\n  HostName 127.0.0.1\n  Port {server.port}\n  User root\n{jumps.get(name, '')}"
            for name, server in hosts.items()
        )
        link = Link(
            name="vps",
            owner=Owner(OwnerKind.PERSON, "alice"),
            place=SshPlace.parse("far"),
            identity=(str(first.key),),
            config=write(tmp_path / "config", text),
        )
        lines = [server.host_key_line.replace(server.url, f"ssh://{name}") for name, server in hosts.items()]
        said = [Pin.parse(fingerprint_of(line.split()[2])) for line in lines]
        trusted = await trust(Tried(), link, said)
        assert list(trusted.link.host_keys) == lines
        tested = await probe.test(trusted.link)
        assert tested.problem is None
        assert tested.outside is True


def test_a_server_that_is_not_there_is_told_in_words_of_either_language(sshd: Sshd) -> None:
    sshd.kill()
    problem = try_once("--scan", sshd)["problem"]
    assert problem["code"] == "link-refused"
    assert "Errno" not in problem["facts"]["why"]["en"]
