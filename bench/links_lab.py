"""Tunnels that the benchmark of links compares: OpenSSH's own, and ours, all to the same targets."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from bench.relay_peers import BASE, PORTS, most_connections, process, targets, until, wait_for
from sekimori.testing.daemon import DaemonProcess

SSHD = BASE + 90
DOOR = BASE + 91
DATAGRAMS = BASE + 500
GCM = "aes128-gcm@openssh.com"
LOOPBACK = ("--on", "127.0.0.1", "--from", "127.0.0.0/8")

SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {run}/host
PidFile none
AuthorizedKeysFile {run}/user.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
GatewayPorts clientspecified
MaxStartups 100
"""


@dataclass
class Tunnel:
    """One way from a port to the same port of the targets.

    Attributes:
        base: its ports are the targets' with `base` for BASE.
        pids: the processes that carry it, at both ends.
    """

    name: str
    base: int
    pids: Sequence[int]
    figures: dict[str, list[float]] = field(default_factory=dict)

    def note(self, what: str, value: float) -> None:
        """Keep a figure of one round."""
        self.figures.setdefault(what, []).append(value)

    def median(self, what: str) -> float:
        """Of all rounds."""
        return statistics.median(self.figures[what])

    def cpu(self) -> float:
        """Seconds of processor that they have used, system calls included."""
        times = [psutil.Process(pid).cpu_times() for pid in self.pids]
        return sum(each.user + each.system for each in times)

    def memory(self) -> int:
        """Bytes, each shared page in equal parts (PSS)."""
        return sum(psutil.Process(pid).memory_full_info().pss for pid in self.pids)


def make_keys(run: Path) -> None:
    for name in ("host", "user"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(run / name)]
        subprocess.run(words, check=True)


@contextmanager
def sshd(run: Path) -> Iterator[int]:
    config = run / "sshd_config"
    config.write_text(SERVER.format(port=SSHD, run=run))
    Path("/run/sshd").mkdir(exist_ok=True)
    with process("/usr/sbin/sshd", "-D", "-f", str(config)) as pid:
        wait_for(SSHD)
        yield pid


@contextmanager
def openssh(name: str, run: Path, server: int, base: int, forward: str, cipher: str = "") -> Iterator[Tunnel]:
    """OpenSSH at both ends. `forward` is `-L` or `-R`; `server` is the process of sshd."""
    with ssh_client(run, SSHD, base, forward, cipher) as pid:
        yield Tunnel(name, base, [pid, *sessions(server, pid, SSHD)])


@contextmanager
def ssh_client(run: Path, port: int, base: int, forward: str, cipher: str = "") -> Iterator[int]:
    """OpenSSH's client, once all three targets are reached through it; its process."""
    words = ["ssh", "-F", "none", "-N", "-i", str(run / "user"), "-p", str(port)]
    for option in (
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "ExitOnForwardFailure=yes",
        "IdentitiesOnly=yes",
        *([f"Ciphers={cipher}"] if cipher else []),
    ):
        words += ["-o", option]
    for what in PORTS:
        words += [forward, f"127.0.0.1:{base + what}:127.0.0.1:{BASE + what}"]
    with process(*words, "root@127.0.0.1") as pid:
        for what in PORTS:
            wait_for(base + what)
        yield pid


def sessions(server: int, client: int, port: int) -> list[int]:
    """Processes of sshd that serve the connections of a client process."""
    ours = {each.laddr.port for each in connected(client) if each.raddr.port == port}
    children = psutil.Process(server).children(recursive=True)
    return [each.pid for each in children if any(way.raddr.port in ours for way in connected(each.pid))]


def connected(pid: int) -> list[Any]:
    """The TCP connections of a process."""
    return [each for each in psutil.Process(pid).net_connections("tcp") if each.raddr]


class Lab:
    """Targets, an OpenSSH server, and two daemons of ours: one with links, and one with an SSH door."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._stack = ExitStack()
        self._has_door = False

    def __enter__(self) -> Lab:
        most_connections()  # raises the limit that the children inherit
        with ExitStack() as stack:
            stack.enter_context(targets(self.run))
            make_keys(self.run)
            self.sshd = stack.enter_context(sshd(self.run))
            self.laptop = stack.enter_context(DaemonProcess(""))
            self.gateway = stack.enter_context(DaemonProcess(""))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def tunnels(self, direction: str) -> list[AbstractContextManager[Tunnel]]:
        """What is compared, ours first. `direction` is `local` or `remote`."""
        forward, ours = ("-L", self.local) if direction == "local" else ("-R", self.remote)
        return [
            ours(),
            openssh("openssh", self.run, self.sshd, BASE + 100, forward),
            openssh("openssh, gcm", self.run, self.sshd, BASE + 300, forward, GCM),
        ]

    @contextmanager
    def local(self) -> Iterator[Tunnel]:
        """Ports of ours that lead through a link to sshd."""
        base = BASE + 200
        fingerprint = subprocess.run(
            ["ssh-keygen", "-lf", str(self.run / "host.pub")], capture_output=True, text=True, check=True
        ).stdout.split()[1]
        self.link("stock", SSHD, fingerprint)
        for what in PORTS:
            to = f"127.0.0.1:{BASE + what}"
            run_cli(self.laptop, "open", str(base + what), "--to", to, "--via", "stock", *LOOPBACK)
        for what in PORTS:
            wait_for(base + what)
        (link,) = children(self.laptop, "sekimori.planes.link")
        ends = [link, *sessions(self.sshd, link, SSHD)]
        yield Tunnel("sekimori", base, [*ends, *self.laptop.worker_pids])

    @contextmanager
    def remote(self) -> Iterator[Tunnel]:
        """The client of OpenSSH at our door."""
        base = BASE + 400
        self.open_door()
        with ssh_client(self.run, DOOR, base, "-R") as pid:
            ends = [pid, *children(self.gateway, "sekimori.doors.ssh")]
            yield Tunnel("sekimori", base, [*ends, *self.gateway.worker_pids])

    def datagrams(self, targets: Sequence[int]) -> list[Tunnel]:
        """UDP ports of ours that lead to ports on loopback by a link to our door."""
        self.open_door()
        (door,) = [each for each in self.gateway.client.doors()["doors"] if each["name"] == "ssh"]
        self.link("gate", DOOR, door["host_keys"][0].split()[1])
        for number, target in enumerate(targets):
            to = f"127.0.0.1:{target}"
            run_cli(self.laptop, "open", f"udp/{DATAGRAMS + number}", "--to", to, "--via", "gate", *LOOPBACK)
        links = children(self.laptop, "sekimori.planes.link")
        pids = [*links, *children(self.gateway, "sekimori.doors.ssh"), *self.laptop.worker_pids]
        return [Tunnel("sekimori", DATAGRAMS + number, pids) for number in range(len(targets))]

    def link(self, name: str, port: int, fingerprint: str) -> None:
        """Have a link of ours, and wait until it is up."""
        place = f"ssh://root@127.0.0.1:{port}"
        words = ("--identity", str(self.run / "user"), "--host-key", fingerprint, "--ssh-config", "none")
        run_cli(self.laptop, "link", "add", name, place, *words)
        until(lambda: bool(self.laptop.client.link(name)["phase"] == "up"))

    def open_door(self) -> None:
        """Let the user in by our SSH door, without bounds; once is enough."""
        if self._has_door:
            return
        self._has_door = True
        grant = {
            "ports": f"{BASE}-{BASE + 999}",
            "from": "127.0.0.0/8",
            "to": ["127.0.0.1"],
            "quota": "none",
            "limit": "none",
            "limit_total": "none",
        }
        key = (self.run / "user.pub").read_text().strip()
        self.gateway.client.add_user("bench", {"keys": [key], "grant": grant})
        run_cli(self.gateway, "door", "enable", "ssh", "--on", f"127.0.0.1:{DOOR}")
        wait_for(DOOR)


def most_idle() -> int:
    """Idle connections that are held at once: two descriptors each, in any one process."""
    return min(1000, most_connections())


def children(daemon: DaemonProcess, module: str) -> list[int]:
    """The daemon's processes of a module of ours."""
    found = psutil.Process(daemon.pid).children()
    return [each.pid for each in found if module in each.cmdline()]


def run_cli(daemon: DaemonProcess, *words: str) -> None:
    """One command of ours, as it would be typed."""
    done = subprocess.run(
        [sys.executable, "-m", "sekimori", *words, "--yes", "--socket", str(daemon.socket)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"sekimori {' '.join(words)}: {done.stdout}{done.stderr}")
