"""Key options at the SSH door, cell by cell beside OpenSSH's own server."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from sekimori.testing.peers import Peers, TcpEcho
from sekimori.testing.ports import free_ports
from sekimori.testing.sshd import Sshd, make_key, why_no_sshd
from tests.loopback.ssh_rig import Client, Rig, dials, rigged, until

pytestmark = [
    pytest.mark.interop,
    pytest.mark.loopback,
    pytest.mark.skipif(why_no_sshd() is not None, reason=str(why_no_sshd())),
]

OPTIONS = [
    "",
    "restrict",
    "no-port-forwarding",
    "restrict,port-forwarding",
    "no-port-forwarding,port-forwarding",
    "port-forwarding,no-port-forwarding",
    'permitlisten="{listen}"',
    'permitlisten="localhost:{listen}"',
    'permitlisten="127.0.0.1:{listen}"',
    'permitlisten="*:{listen}"',
    'permitlisten="{other}"',
    'permitlisten="local*:*"',
    'permitlisten="{other}",permitlisten="{listen}"',
    'restrict,permitlisten="{listen}"',
    'restrict,port-forwarding,permitlisten="{listen}"',
    'restrict,port-forwarding,permitlisten="{other}"',
    'permitopen="127.0.0.1:{target}"',
    'permitopen="127.0.0.1:*"',
    'permitopen="*:{target}"',
    'permitopen="localhost:{target}"',
    'permitopen="127.0.0.1:{other}"',
    'restrict,permitopen="127.0.0.1:{target}"',
    'restrict,port-forwarding,permitopen="127.0.0.1:{target}"',
    'restrict,port-forwarding,permitopen="127.0.0.1:{other}"',
    'permitopen="127.0.0.1:{target}",permitlisten="{other}"',
    'permitopen="127.0.0.1:{other}",permitlisten="{listen}"',
    'no-port-forwarding,permitopen="127.0.0.1:{target}",permitlisten="{listen}"',
    'from="127.0.0.1"',
    'from="127.0.0.0/8"',
    'from="127.0.0.?"',
    'from="192.0.2.0/24"',
    'from="127.0.0.0/8,!127.0.0.1"',
    'from="!192.0.2.1"',
    'from="!192.0.2.1,*"',
    'from="127.0.0.1/8"',
    'from="192.0.2.1",permitlisten="{listen}"',
    'expiry-time="20200101"',
    'expiry-time="20990101Z"',
    'expiry-time="209901010000"',
    'expiry-time="20200101",expiry-time="20990101"',
    'restrict,expiry-time="20990101"',
    'expiry-time="soon"',
    'permitopen="nowhere"',
    'permitlisten="0"',
    "unheard-of",
    'command="true"',
    'restrict,port-forwarding,command="true"',
    "no-pty,no-agent-forwarding,no-X11-forwarding,no-user-rc",
    'principals="door"',
    "cert-authority",
    "RESTRICT,Port-Forwarding",
    ",port-forwarding,",
    'environment="A=b"',
    'environment="A"',
]

CERTIFIED = [
    ("cert-authority", ["-n", "door"]),
    ("cert-authority", ["-n", "other"]),
    ("cert-authority", ["-n", "other,door"]),
    ('cert-authority,principals="other"', ["-n", "other"]),
    ('cert-authority,principals="other"', ["-n", "door"]),
    ('cert-authority,principals="o*"', ["-n", "other"]),
    ("cert-authority", ["-n", "door", "-V", "20200101:20210101"]),
    ("cert-authority", ["-n", "door", "-O", "no-port-forwarding"]),
    ("cert-authority", ["-n", "door", "-O", "clear"]),
    ("cert-authority", ["-n", "door", "-O", "clear", "-O", "permit-port-forwarding"]),
    ("cert-authority", ["-n", "door", "-O", "source-address=127.0.0.0/8"]),
    ("cert-authority", ["-n", "door", "-O", "source-address=192.0.2.0/24"]),
    ("cert-authority", ["-n", "door", "-O", "critical:unheard-of@example.com=x"]),
    ("cert-authority", ["-n", "door", "-O", "force-command=true"]),
    ('cert-authority,command="false"', ["-n", "door", "-O", "force-command=true"]),
    ('cert-authority,command="true"', ["-n", "door", "-O", "force-command=true"]),
    ("cert-authority,restrict", ["-n", "door"]),
    ('cert-authority,permitlisten="{other}"', ["-n", "door"]),
    ('cert-authority,from="192.0.2.1"', ["-n", "door"]),
    ('cert-authority,expiry-time="20200101"', ["-n", "door"]),
    ("cert-authority", ["-n", "door", "-h"]),
    ("", ["-n", "door"]),
]


@dataclass(frozen=True)
class Cell:
    """What worked: whether somebody came in, and -R, -L and -D."""

    login: bool
    remote: bool = False
    local: bool = False
    dynamic: bool = False


@dataclass
class Lab:
    rig: Rig
    sshd: Sshd
    echo: TcpEcho
    listen: int
    other: int
    locals: int
    keys: Path

    def knows(self, line: str) -> bool:
        """Whether the door goes by a line, or has found it unusable."""
        lines = [row["line"] for part in self.rig.door._roster for row in part["rows"]]
        return lines == [line] or (not lines and f"{self.keys}:1" in self.rig.door.problems())

    def words(self, options: str) -> str:
        return options.format(listen=self.listen, other=self.other, target=self.echo.port)

    def client(self, port: int, key: Path, *words: str) -> Client:
        options = [word for word in self.rig.options() if word != str(self.rig.key("alice"))]
        at = options.index("-i")
        options[at + 1 : at + 1] = [str(key)]
        options[options.index("-p") + 1] = str(port)
        told = ("-o", "ExitOnForwardFailure=no", "-o", "PreferredAuthentications=publickey")
        return self.rig.run("ssh", *told, *words, *options, "-l", self.login(port), "127.0.0.1")

    def login(self, port: int) -> str:
        return "root" if port == self.sshd.port else "door"


@pytest.fixture
def peers() -> Iterator[Peers]:
    with Peers() as made:
        yield made


@pytest.fixture
def keys() -> Iterator[Path]:
    """A file of keys below directories that nobody else can write to, as /tmp is not."""
    with TemporaryDirectory(dir=Path.home()) as directory:
        file = Path(directory, "keys")
        file.touch(0o600)
        yield file


@pytest.fixture
async def lab(tmp_path: Path, keys: Path, peers: Peers) -> AsyncIterator[Lab]:
    echo, listen = peers.tcp_echo(), free_ports(2)
    place = f"127.0.0.1:{echo.port},localhost:{echo.port}"
    granted: dict[str, Any] = {
        "ports": f"{listen}-{listen + 1}",
        "from": "127.0.0.0/8",
        "to": place,
        "hold": "1s",
    }
    async with rigged(tmp_path, users=(), keys=keys, **granted) as rig:
        with Sshd(tmp_path / "sshd", {"PermitUserEnvironment": "yes"}) as sshd:
            yield Lab(rig, sshd, echo, listen, listen + 1, free_ports(2), keys)


async def tries(lab: Lab, port: int, key: Path) -> Cell:
    """What a client can do with a key at one of the servers."""
    words = (
        "-N",
        "-v",
        *("-R", f"{lab.listen}:127.0.0.1:{lab.echo.port}"),
        *("-L", f"127.0.0.1:{lab.locals}:127.0.0.1:{lab.echo.port}"),
        *("-D", f"127.0.0.1:{lab.locals + 1}"),
    )
    ssh = lab.client(port, key, *words)
    outcomes = ("remote forward success", "remote port forwarding failed", "Permission denied", "closed by")
    await until(lambda: any(word in ssh.read() for word in outcomes) or ssh.process.poll() is not None)
    if "Authenticated to" not in ssh.said:
        assert await ssh.ends() == 255
        return Cell(login=False)
    remote = "remote forward success" in ssh.said
    assert remote is (await dials(lab.listen) == b"hello")
    local = await dials(lab.locals) == b"hello"
    curl = ["curl", "-s", "-m", "5", "--socks5-hostname", f"127.0.0.1:{lab.locals + 1}"]
    before = len(lab.echo.seen)
    asked = lab.rig.run(*curl, f"telnet://127.0.0.1:{lab.echo.port}")
    await until(lambda: len(lab.echo.seen) > before or asked.process.poll() is not None)
    dynamic = len(lab.echo.seen) > before
    ssh.close()
    asked.close()
    return Cell(True, remote, local, dynamic)


async def differ(lab: Lab, line: str, key: Path) -> tuple[Cell, Cell]:
    """The cell of the door, and that of sshd."""
    lab.sshd.authorized.write_text(line + "\n")
    lab.keys.write_text(line + "\n")
    lab.rig.door.reframe()
    await until(lambda: lab.knows(line))
    theirs = await tries(lab, lab.sshd.port, key)
    ours = await tries(lab, lab.rig.port, key)
    await until(lambda: lab.rig.sessions() == 0)
    for mapping in list(lab.rig.world.ledger.snapshot):
        await lab.rig.world.shut(mapping.id)
    return ours, theirs


@pytest.mark.timeout(600)
async def test_options(lab: Lab, tmp_path: Path) -> None:
    key, public = make(tmp_path / "one")
    found = {each: await differ(lab, f"{lab.words(each)} {public}".strip(), key) for each in OPTIONS}
    assert {each: ours for each, (ours, _) in found.items()} == {
        each: theirs for each, (_, theirs) in found.items()
    }
    assert len({ours for ours, _ in found.values()}) >= 5, "the table tells cells apart"


@pytest.mark.timeout(300)
async def test_certificates(lab: Lab, tmp_path: Path) -> None:
    (authority, public), (key, _) = make(tmp_path / "authority"), make(tmp_path / "certified")
    found = {}
    for options, terms in CERTIFIED:
        line = f"{lab.words(options)} {public}".strip()
        # The one lets in `door` and the other `root`: each is what the client calls itself there.
        cells = []
        for login, at in (("door", 0), ("root", 1)):
            told = [word.replace("door", login) for word in terms]
            sign(authority, key, told)
            cells.append((await differ(lab, line, key))[at])
        found[options, tuple(terms)] = cells
    assert {each: ours for each, (ours, _) in found.items()} == {
        each: theirs for each, (_, theirs) in found.items()
    }
    assert {Cell(False), Cell(True), Cell(True, True, True, True)} <= {ours for ours, _ in found.values()}


def make(path: Path) -> tuple[Path, str]:
    key = make_key(path)
    return key, Path(f"{key}.pub").read_text().strip()


def sign(authority: Path, key: Path, terms: list[str]) -> None:
    subprocess.run(["ssh-keygen", "-q", "-s", str(authority), "-I", "test", *terms, f"{key}.pub"], check=True)
