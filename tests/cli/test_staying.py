"""share and tunnel against real parts: a daemon, an OpenSSH server, and those who come."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sekimori.cli.share import candidates
from sekimori.client import Client
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.peers import eventually
from sekimori.testing.sshd import Sshd, why_no_sshd

pytestmark = pytest.mark.loopback


@pytest.mark.parametrize("target", ["127.0.0.1:3000", "127.0.0.1:80", "nas:65000", "unix:/run/a.sock"])
@pytest.mark.parametrize("here", [True, False])
def test_ports_are_the_same_each_time_and_none_is_tried_twice(target, here):
    ports = list(candidates(target, here=here))
    assert ports == list(candidates(target, here=here))
    assert len(set(ports)) == len(ports) > 4
    assert all(1024 <= port <= 65_535 for port in ports)


def test_what_says_most_is_tried_first():
    assert next(candidates("127.0.0.1:3000", here=True)) == 13_000
    assert next(candidates("127.0.0.1:3000", here=False)) == 3000
    assert next(candidates("127.0.0.1:80", here=False)) == 8080


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonProcess]:
    with DaemonProcess() as process:
        yield process


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    if why := why_no_sshd():
        pytest.skip(why)
    with Sshd(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def vps(daemon: DaemonProcess, sshd: Sshd) -> Iterator[str]:
    """A link that is up."""
    fields = {"to": sshd.url, "identity": [str(sshd.key)], "host_keys": [sshd.host_key_line]}
    daemon.client.put_link("vps", fields)
    eventually(lambda: daemon.client.link("vps")["phase"] == "up", 20)
    yield "vps"
    for mapping in daemon.client.mappings():
        daemon.client.close(mapping["id"], now=True)
    daemon.client.remove_link("vps")


@pytest.fixture
def echo() -> Iterator[int]:
    """A port on loopback that gives every connection its first bytes back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    client, _ = listener.accept()
                    with client:
                        client.settimeout(10)
                        client.sendall(client.recv(100))

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join()


class Running:
    """The CLI as a process of its own, read line by line."""

    def __init__(self, client: Client | None, home: Path, *words: str) -> None:
        env = {"PATH": os.environ["PATH"], "SEKIMORI_LANG": "en", "HOME": str(home)}
        env |= {"SEKIMORI_SOCKET": str(client.socket_path if client else home / "none")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sekimori", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            start_new_session=True,
        )

    def until(self, pattern: str) -> re.Match[str]:
        """Read lines up to the one that fits; the test's own time limit ends a wait in vain."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"{pattern!r} is not in {lines}: {self.process.communicate()[1]}")

    def end(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """Tell it to end: the exit code, and what it still said."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


@pytest.fixture
def start(daemon: DaemonProcess, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def call(*words: str, hosted: bool = False) -> Running:
        running = Running(None if hosted else daemon.client, tmp_path, *words)
        started.append(running)
        return running

    yield call
    for running in started:
        with contextlib.suppress(ProcessLookupError):
            running.process.kill()
        running.process.communicate()


def bounce(port: int, host: str = "127.0.0.1") -> bytes:
    with socket.create_connection((host, port), 10) as client:
        client.sendall(b"hello")
        return client.recv(100)


class TestShare:
    def test_at_this_machine_it_prints_the_address_first_and_who_comes(self, daemon, start, echo):
        running = start("share", str(echo))
        host, port = running.until(r"^(\S+):(\d+)  http://\1:\2/$").groups()
        assert port in map(str, candidates(f"127.0.0.1:{echo}", here=True))
        running.until(r"leads to 127\.0\.0\.1:\d+, for LAN, until Ctrl-C\.")
        assert bounce(int(port)) == b"hello"
        running.until(r"127\.0\.0\.1 came to \S+$")
        running.until(r"127\.0\.0\.1 left \S+: 5 B in, 5 B out")
        (mapping,) = daemon.client.mappings()
        assert mapping["expires_in"] <= 600
        assert mapping["asked"]["how"] == "for"
        code, out, err = running.end()
        assert (code, out, err) == (0, "", f"Closed {mapping['name']}.\n")
        assert daemon.client.mappings() == []
        assert host

    def test_the_only_link_is_taken_and_anyone_may_come(self, daemon, start, echo, vps, free_port):
        port = free_port()
        running = start("share", str(echo), "--for", "2h", "--port", str(port))
        running.until(rf"^127\.0\.0\.1:{port}  http://")
        running.until(r"for anyone, until Ctrl-C or the end \(in (2h|1h 59m)")
        assert bounce(port) == b"hello"
        running.until(r"left \S+: 5 B in, 5 B out")
        (mapping,) = daemon.client.mappings()
        assert (mapping["at"], mapping["from"]) == ("vps", "anyone")
        assert mapping["expires_in"] <= 600
        assert running.end(signal.SIGTERM)[0] == 0
        assert daemon.client.mappings() == []

    def test_another_port_is_taken_where_the_first_is_not_free(self, daemon, start, echo, vps):
        ports = list(candidates(f"127.0.0.1:{echo}", here=False))
        assert ports[0] == echo  # which listens on this very machine; of IPv6 somebody else does
        with socket.create_server(("::", echo), family=socket.AF_INET6):
            port = int(start("share", str(echo)).until(r"^127\.0\.0\.1:(\d+)  http://")[1])
        assert port in ports[1:]
        assert bounce(port) == b"hello"
        assert len(daemon.client.mappings()) == 1

    def test_a_time_that_was_said_ends_it(self, daemon, start, echo):
        running = start("share", str(echo), "--for", "3s")
        running.until(r"http://")
        assert running.process.wait(20) == 0
        assert daemon.client.mappings() == []

    def test_somebody_else_may_close_it(self, daemon, start, echo):
        running = start("share", str(echo))
        running.until(r"http://")
        running.until(r"leads to")
        (mapping,) = daemon.client.mappings()
        daemon.client.close(mapping["id"])
        out, err = running.process.communicate(timeout=20)
        assert (running.process.returncode, out, err) == (0, "", f"{mapping['name']} was closed.\n")

    def test_signals_on_signals_close_it_all_the_same(self, daemon, start, echo):
        running = start("share", str(echo))
        running.until(r"http://")
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(ProcessLookupError):
                running.process.send_signal(number)
        code, _, err = running.end()
        assert code == 0
        assert "Closed " in err
        assert daemon.client.mappings() == []

    def test_a_key_that_a_link_has_confirmed_needs_no_word_again(self, start, echo, sshd, vps, free_port):
        running = start(
            *("tunnel", "-L", f"{free_port()}:127.0.0.1:{echo}"),
            *("-p", str(sshd.port), "-i", str(sshd.key), "root@127.0.0.1"),
        )
        running.until(r"leads to")
        code, _, err = running.end()
        assert code == 0
        assert "is the one that another link has confirmed" in err

    def test_ndjson(self, start, echo):
        running = start("share", str(echo), "--json")
        assert running.process.stdout is not None
        first = json.loads(running.process.stdout.readline())["data"]
        port = int(first["addresses"][0].rpartition(":")[2])
        bounce(port)
        events = [json.loads(running.process.stdout.readline())["data"] for _ in range(2)]
        assert [event["event"] for event in events] == ["came", "left"]
        assert (events[1]["bytes_in"], events[1]["source"]) == (5, "127.0.0.1")
        assert running.end()[0] == 0

    def test_a_risky_port_is_refused_with_what_would_do(self, start, daemon, vps):
        running = start("share", "22", "--via", "vps")
        out, err = running.process.communicate(timeout=20)
        assert (running.process.returncode, out) == (8, "")
        assert "--accept-risk" in err
        assert daemon.client.mappings() == []

    @pytest.mark.parametrize(
        ("words", "code"),
        [(("0",), 2), (("x",), 2), (("3000", "--port", "x"), 2), (("3000", "--via", "none"), 4), ((), 2)],
    )
    def test_what_makes_no_sense_opens_nothing(self, start, daemon, words, code):
        running = start("share", *words)
        running.process.communicate(timeout=20)
        assert running.process.returncode == code
        assert daemon.client.mappings() == []

    def test_without_a_daemon_it_hosts_one(self, start, echo):
        running = start("share", str(echo), hosted=True)
        port = int(running.until(r"^\S+:(\d+)  http://")[1])
        assert bounce(port) == b"hello"
        running.until(r"left \S+: 5 B in, 5 B out")
        assert running.end()[0] == 0
        with pytest.raises(OSError, match="refused"):
            bounce(port)


class TestTunnel:
    def test_every_way_through_a_link_there_is(self, daemon, start, echo, vps, free_port):
        here, far, socks = free_port(), free_port(), free_port()
        running = start(
            *("tunnel", "-N", "-L", f"{here}:127.0.0.1:{echo}", f"-R{far}:localhost:{echo}", "-D"),
            *(str(socks), "vps"),
        )
        running.until(rf"127\.0\.0\.1:{here} leads to 127\.0\.0\.1:{echo} via vps, for this machine")
        running.until(rf"{far} at vps leads to 127\.0\.0\.1:{echo}")
        running.until(rf"127\.0\.0\.1:{socks} leads to where the client says")
        assert bounce(here) == bounce(far) == b"hello"
        curl = subprocess.run(
            [
                *("curl", "-sS", "-m", "10", "--socks5-hostname", f"127.0.0.1:{socks}"),
                *("-d", "x", "--http0.9", f"http://127.0.0.1:{echo}/"),
            ],
            capture_output=True,
            check=False,
        )
        assert curl.stdout.startswith(b"POST / HTTP/1.1"), curl.stderr
        code, _, err = running.end()
        assert (code, err.count("Closed ")) == (0, 3)
        assert daemon.client.mappings() == []
        assert [link["name"] for link in daemon.client.links()] == ["vps"]

    def test_a_link_that_was_made_for_it_goes_with_it(self, daemon, start, echo, sshd, free_port):
        port = free_port()
        running = start(
            *("tunnel", "-L", f"{port}:127.0.0.1:{echo}", "-p", str(sshd.port), "-i", str(sshd.key)),
            *("--host-key", " ".join(sshd.host_key_line.split()[1:]), "root@127.0.0.1"),
        )
        running.until(
            rf"127\.0\.0\.1:{port} leads to \S+ via root@127\.0\.0\.1:{sshd.port}, for this machine"
        )
        eventually(lambda: daemon.client.links()[0]["phase"] == "up", 20)
        assert bounce(port) == b"hello"
        code, out, err = running.end()
        # Its link is up by the time it says so, and who typed a host never hears the name of the link.
        assert (code, "waiting" in out, "tunnel-" in out + err) == (0, False, False)
        assert daemon.client.links() == []

    def test_a_key_that_nobody_confirmed_is_refused_and_leaves_no_link(self, daemon, start, sshd, free_port):
        running = start(
            *("tunnel", "-L", f"{free_port()}:db:5432", "-p", str(sshd.port), "-i", str(sshd.key)),
            "root@127.0.0.1",
        )
        out, err = running.process.communicate(timeout=30)
        assert (running.process.returncode, out) == (8, "")
        (command,) = re.findall(r"^  (sekimori .*--host-key SHA256:\S{43}.*)$", err, re.MULTILINE)
        assert command.startswith("sekimori tunnel -L ")
        assert command.endswith(" root@127.0.0.1")
        again = start(*shlex.split(command)[1:])
        again.until(r"leads to")
        assert again.end()[0] == 0
        assert daemon.client.links() == []

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ("-L 1:db:1", "HOST"),
            ("vps", "nothing was asked to be forwarded"),
            ("-f -L 1:db:1 vps", "does not go to the background"),
            ("-L 1:db vps", "'1:db' is no forwarding for -L"),
            ("-R 1080 vps", "asks for a SOCKS proxy at the far end"),
            ("-X -L 1:db:1 vps", "no option -X"),
            ("-L 1:db:1 vps ls", "'ls' is one word too many"),
        ],
    )
    def test_what_is_typed_wrong_is_told(self, start, daemon, words, says):
        running = start("tunnel", *words.split())
        _, err = running.process.communicate(timeout=20)
        assert running.process.returncode == 2
        assert says in err
        assert daemon.client.links() == []


def test_a_port_outlives_neither_its_lease_nor_a_command_that_died(daemon, start, echo):
    """What keeps a port open is renewal: of one whose command is gone without a word the end stands."""
    running = start("share", str(echo))
    running.until(r"leads to")
    running.process.kill()
    running.process.wait()
    (mapping,) = daemon.client.mappings()
    assert 0 < mapping["expires_in"] <= 600
    daemon.client.close(mapping["id"], now=True)


def test_a_daemon_that_starts_again_keeps_the_share(start, tmp_path, echo):
    with DaemonProcess() as own:
        running = Running(own.client, tmp_path, "share", str(echo))
        try:
            port = int(running.until(r"^\S+:(\d+)  http://")[1])
            running.until(r"leads to")
            own.kill9()
            own.start()
            assert bounce(port) == b"hello"
            running.until(r"came to")
            assert running.end()[0] == 0
            assert own.client.mappings() == []
        finally:
            running.process.kill()
            running.process.communicate()
