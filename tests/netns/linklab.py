"""A laptop behind two routers that translate addresses, and a gateway that it can reach by SSH.

`laptop - home - provider - (internet) - gateway, visitor, stranger`

Neither router forwards anything inwards: what gets to the laptop came by a connection the laptop made.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import Host, Lab, why_not
from sekimori.testing.peers import eventually
from sekimori.testing.sshd import Sshd, make_key, why_no_sshd

GATEWAY, VISITOR, STRANGER = "198.51.100.1", "198.51.100.10", "198.51.100.20"
PROVIDER, PROVIDER_LATER = "198.51.100.99", "198.51.100.98"
"""The addresses that the provider has outside, one after the other."""
DOOR, STOCK = 2222, 22
"""Ports of the gateway: of our SSH door, and of an OpenSSH server."""
RELAY = "[relay]\nworkers = 2\ngrace = '2s'\n"
PAGE = b"<p>a page of the laptop</p>\n"

_TRANSLATES = """
flush ruleset
table ip nat {
  chain postrouting { type nat hook postrouting priority 100; oifname "outside" masquerade; }
}
table ip filter {
  chain forward {
    type filter hook forward priority 0; policy drop
    ct state invalid drop
    ct state established,related accept
    iifname "inside" accept
  }
}
"""


def why_no_link_lab() -> str | None:
    """Why there can be none here; None where there can."""
    missing = next((each for each in ("nft", "conntrack", "ssh") if shutil.which(each) is None), None)
    return why_not() or why_no_sshd() or (None if missing is None else f"needs {missing}")


class LinkLab:
    """The hosts, a daemon on the laptop and one on the gateway, and an OpenSSH server on the gateway.

    The users of the gateway's door are bob, who has the laptop, and eve, who may open the same ports.

    Attributes:
        key: bob's, which the OpenSSH server lets in too.
        eves_key: eve's.
    """

    def __init__(self, lab: Lab, directory: Path) -> None:
        names = ("laptop", "home", "provider", "gateway", "visitor", "stranger")
        hosts = list(map(lab.host, names))
        self.laptop, self.home, self.provider, self.gateway, self.visitor, self.stranger = hosts
        self.directory = directory
        self._wire(lab, lab.host("internet"))
        self._stack = ExitStack()
        self.sshd = Sshd(directory / "sshd", {"ListenAddress": "0.0.0.0"}, STOCK)
        self.key, self.eves_key = self.sshd.key, make_key(directory / "eve")

    def __enter__(self) -> LinkLab:
        with ExitStack() as stack:
            stack.callback(self.sshd.kill)
            self.gateway.call(self.sshd.start)
            self.near = stack.enter_context(DaemonProcess(RELAY, netns=self.laptop.netns))
            self.far = stack.enter_context(DaemonProcess(RELAY, netns=self.gateway.netns))
            self._open_door()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    # -- the wires -------------------------------------------------------------------------------

    def _wire(self, lab: Lab, internet: Host) -> None:
        lab.switch(internet, "switch", (self.provider, self.gateway, self.visitor, self.stranger))
        for host, address in (
            (self.provider, PROVIDER),
            (self.gateway, GATEWAY),
            (self.visitor, VISITOR),
            (self.stranger, STRANGER),
        ):
            if host is self.provider:
                host.ip("link set internet down", "link set internet name outside", "link set outside up")
            host.address("outside" if host is self.provider else "internet", f"{address}/24")
        self.gateway.route(VISITOR)  # what is outside is told by the default route
        lab.cable(self.home, self.provider, ("outside", "inside"))
        self.provider.address("inside", "100.64.0.1/24")
        self.home.address("outside", "100.64.0.2/24")
        self.home.route("100.64.0.1")
        lab.cable(self.laptop, self.home, ("lan", "inside"))
        self.home.address("inside", "192.168.50.1/24")
        self.laptop.address("lan", "192.168.50.2/24")
        self.laptop.route("192.168.50.1")
        for router in (self.home, self.provider):
            router.forward()
            router.run(["nft", "-f", "-"], text=_TRANSLATES)
            # What is under way at a time is not taken for a connection whose state was lost.
            router.sysctl(netfilter__nf_conntrack_tcp_loose=0)

    def cut(self) -> None:
        """Have the provider lose every packet, without a word."""
        self.provider.run(["nft", "insert", "rule", "ip", "filter", "forward", "drop", "comment", '"cut"'])

    def mend(self) -> None:
        """Have it forward again."""
        self.provider.run(["nft", "-f", "-"], text=_TRANSLATES)

    def forget_translations(self) -> None:
        """Have the provider know no connection any more: what comes of one is dropped."""
        self.provider.run(["conntrack", "-F"])

    def renumber(self) -> None:
        """Have the provider know no connection any more, and have another address outside."""
        found = self.provider.run(["ip", "-o", "-4", "address", "show", "dev", "outside"]).stdout
        before, after = (PROVIDER, PROVIDER_LATER) if PROVIDER in found else (PROVIDER_LATER, PROVIDER)
        self.provider.ip(f"address del {before}/24 dev outside", f"address add {after}/24 dev outside")
        self.forget_translations()

    # -- the gateway -----------------------------------------------------------------------------

    def _open_door(self) -> None:
        for name, key in (("bob", self.key), ("eve", self.eves_key)):
            public = Path(f"{key}.pub").read_text(encoding="ascii").strip()
            grant = {"ports": "8000-8999", "from": "anyone", "to": [f"{GATEWAY}:9000-9099"]}
            self.far.client.add_user(name, {"keys": [public], "grant": grant})
        self.far.client.change_doors({"ssh": {"listen": [f"{GATEWAY}:{DOOR}"]}})
        eventually(lambda: self.fingerprint or None)

    @property
    def fingerprint(self) -> str:
        """Of the door's host key, as the gateway's owner reads it; empty before there is one."""
        (door,) = [each for each in self.far.client.doors()["doors"] if each["name"] == "ssh"]
        return door["host_keys"][0].split()[1] if door["host_keys"] else ""

    # -- the laptop ------------------------------------------------------------------------------

    def link(self, name: str) -> None:
        """Add the link `gw`, to our door, or `stock`, to the OpenSSH server; wait until it is up."""
        to, host_key = f"ssh://bob@{GATEWAY}:{DOOR}", self.fingerprint
        if name == "stock":
            to = f"ssh://root@{GATEWAY}:{STOCK}"
            host_key = fingerprint_of(Path(f"{self.sshd.host_key}.pub"))
        self.cli("link", "add", name, to, "--identity", str(self.key), "--host-key", host_key)
        eventually(lambda: self.near.client.link(name)["phase"] == "up")

    def cli(self, *words: str) -> str:
        """Run a command of ours on the laptop; what it printed."""
        return self.laptop.run([*self.command(*words), "--yes"]).stdout

    def command(self, *words: str) -> list[str]:
        """A command of ours for the laptop's daemon."""
        told = ("--socket", str(self.near.socket), "--lang", "en")
        return [sys.executable, "-m", "sekimori", *words, *told]

    def ssh(self, *words: str, key: Path | None = None, port: int = DOOR) -> list[str]:
        """OpenSSH's client, which goes to the gateway with bob's key and gives up where nobody answers."""
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "ExitOnForwardFailure": "yes",
            "ConnectTimeout": "5",
            "ServerAliveInterval": "3",
            "ServerAliveCountMax": "2",
        }
        told = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return [
            "ssh",
            "-F",
            "none",
            "-i",
            str(key or self.key),
            "-p",
            str(port),
            *told,
            *words,
            f"any@{GATEWAY}",
        ]

    # -- who comes -------------------------------------------------------------------------------

    def connect(self, port: int, host: Host | None = None, address: str = GATEWAY) -> socket.socket:
        """Connect from the visitor, or another host; every wait is bounded.

        Raises:
            OSError: it is refused, or nobody answers.
        """
        return (host or self.visitor).call(lambda: socket.create_connection((address, port), timeout=10))

    def fetch(self, port: int, host: Host | None = None, within: float = 2.0) -> bytes:
        """What a web server behind a port of the gateway answers; empty where it does not."""

        def get() -> bytes:
            with suppress(OSError), socket.create_connection((GATEWAY, port), timeout=within) as sock:
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return b"".join(iter(lambda: sock.recv(65536), b"")).partition(b"\r\n\r\n")[2]
            return b""

        return (host or self.visitor).call(get)


@contextlib.contextmanager
def link_lab(directory: Path) -> Iterator[LinkLab]:
    """Build it."""
    with Lab() as lab, LinkLab(lab, directory) as net:
        yield net


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def page(host: Host, port: int) -> Iterator[None]:
    """A web server on a host's loopback."""
    server = host.call(lambda: ThreadingHTTPServer(("127.0.0.1", port), _Handler))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Service:
    """A TCP server on a host's loopback that does the same with everybody who comes.

    Attributes:
        port: where it listens.
    """

    def __init__(self, host: Host, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._sock = host.call(lambda: socket.create_server(("127.0.0.1", 0)))
        self.port: int = self._sock.getsockname()[1]
        self._taken: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._sock.close()
        for sock in self._taken:
            with suppress(OSError):  # it has ended already
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:  # we are shut
                return
            sock.settimeout(30)
            self._taken.append(sock)
            self._threads.append(threading.Thread(target=self._talk, args=[sock]))
            self._threads[-1].start()

    def _talk(self, sock: socket.socket) -> None:
        with sock, suppress(OSError):  # whoever came has gone
            self._serve(sock)


class Insistent:
    """A program that is started again half a second after it has ended, as autossh does.

    Args:
        said: where what it says is written.
    """

    def __init__(self, host: Host, command: Sequence[str], said: Path | None = None) -> None:
        self._host = host
        self._command = list(command)
        self._said = said or Path(os.devnull)
        self._over = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Insistent:
        self._thread.start()
        eventually(lambda: self._child is not None)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.signal(9)
        self._thread.join()

    @property
    def pid(self) -> int:
        """The program's process now."""
        assert self._child is not None
        return self._child.pid

    def signal(self, number: int) -> None:
        """Send the program that runs now a signal."""
        if self._child is not None:
            self._child.send_signal(number)

    def _run(self) -> None:
        while not self._over.is_set():
            with self._said.open("ab") as said:
                enter = ["ip", "netns", "exec", self._host.netns]
                self._child = subprocess.Popen(
                    [*enter, *self._command], stdin=subprocess.DEVNULL, stdout=said, stderr=said
                )
            if self._over.is_set():  # it was started after it was to be ended
                self._child.kill()
            self._child.wait()
            self._over.wait(0.5)


def fingerprint_of(public: Path) -> str:
    """The fingerprint of a public key's file."""
    done = subprocess.run(["ssh-keygen", "-lf", str(public)], capture_output=True, text=True, check=True)
    return done.stdout.split()[1]


def children(pid: int, module: str = "") -> list[int]:
    """The child processes of one, or those of them that run a module of ours."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [
        each for path in tasks for each in map(int, path.read_text().split()) if module in _command_of(each)
    ]


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def seconds_until(condition: Callable[[], object], within: float) -> float:
    """Seconds from now until something comes true.

    Raises:
        AssertionError: it does not, within so many.
    """
    begun = time.monotonic()
    eventually(lambda: condition() or None, within, every=0.1)
    return time.monotonic() - begun


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return ""
