"""The daemon as a service: word to systemd, signals, and what a clean stop leaves."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.peers import DEADLINE, Peers, eventually, is_alive
from sekimori.testing.ports import free_ports

pytestmark = pytest.mark.loopback

CONFIG = "[relay]\nworkers = 2\ngrace = '1s'\n"


class Manager:
    """The socket of a service manager (sd_notify(3))."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(path)
        self.sock.settimeout(DEADLINE)
        self.heard: list[tuple[float, str]] = []

    def hears(self, word: str) -> float:
        """Wait for a message with a line that begins with `word`; when it came."""
        while True:
            message = self.sock.recv(4096).decode()
            self.heard.append((time.monotonic(), message))
            if any(line.startswith(word) for line in message.splitlines()):
                return self.heard[-1][0]


@pytest.fixture
def manager() -> Iterator[tuple[Manager, str]]:
    with tempfile.TemporaryDirectory(prefix="skm-", dir="/tmp") as directory:
        path = str(Path(directory, "notify"))
        made = Manager(path)
        with closing(made.sock):
            yield made, path


def test_the_service_manager_is_told(manager: tuple[Manager, str]) -> None:
    heard, path = manager
    environ = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1200000"}
    with DaemonProcess(CONFIG, environ=environ) as running:
        heard.hears("READY=1")
        assert f"MAINPID={running.pid}" in heard.heard[-1][1]
        beats = [heard.hears("WATCHDOG=1") for _ in range(4)]
        gaps = [later - sooner for sooner, later in pairwise(beats)]
        assert max(gaps) < 1.2, gaps

        running.reload()
        heard.hears("RELOADING=1")
        assert "MONOTONIC_USEC=" in heard.heard[-1][1]
        heard.hears("READY=1")
        assert running.stop() == 0
        heard.hears("STOPPING=1")


def test_an_abstract_notify_socket() -> None:
    name = f"sekimori-test-{os.getpid()}"
    made = Manager("\0" + name)
    with closing(made.sock), DaemonProcess(CONFIG, environ={"NOTIFY_SOCKET": "@" + name}):
        made.hears("READY=1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_ends_everything(peers: Peers, number: signal.Signals) -> None:
    echo, port = peers.tcp_echo(), free_ports()
    with DaemonProcess(CONFIG) as running:
        running.client.open({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}", "name": "kept"})
        talker, workers = peers.dial(port), running.worker_pids
        assert talker.says_back(b"x" * 1000)
        os.kill(running.pid, number)
        assert running.wait() == 0
        talker.ended()
        eventually(lambda: not any(map(is_alive, workers)))
        assert not peers.accepts(port)

        running.start()
        view = running.client.get("kept")
        assert view["status"]["state"] == "open"
        assert view["counters"]["bytes_in"] == 1000, "figures were lost by a clean stop"
        assert (view["counters"]["flows_total"], view["counters"]["flows_active"]) == (1, 0)
        assert peers.accepts(port)


def test_leave_flows_hands_everything_to_the_next(peers: Peers) -> None:
    echo, port = peers.tcp_echo(), free_ports()
    with DaemonProcess(CONFIG, arguments=["--leave-flows"]) as running:
        running.client.open({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}", "name": "kept"})
        moved, workers = peers.transfer(peers.dial(port)), running.worker_pids
        assert running.stop() == 0
        so_far = moved.blocks
        eventually(lambda: moved.blocks > so_far)
        assert peers.accepts(port)

        running.start()
        assert running.worker_pids == workers
        so_far = moved.blocks
        eventually(lambda: moved.blocks > so_far)
        total = moved.finish()
        figures = running.client.get("kept")["counters"]
        assert figures["bytes_in"] == total + 1
        assert figures["flows_total"] == 2
        assert running.client.get("kept")["status"]["state"] == "open"


def test_fewer_workers_after_a_restart(peers: Peers) -> None:
    echo, port = peers.tcp_echo(), free_ports()
    with DaemonProcess(CONFIG) as running:
        running.client.open({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}"})
        old = running.worker_pids
        running.kill9()
        running.config.write_text(CONFIG.replace("workers = 2", "workers = 1"))
        running.start()
        eventually(lambda: running.worker_pids == old[:1])
        for _ in range(20):
            assert peers.accepts(port)
        running.kill9()
        running.config.write_text(CONFIG.replace("workers = 2", "workers = 3"))
        running.start()
        assert running.worker_pids[:1] == old[:1]
        assert len(running.worker_pids) == 3
        for _ in range(20):
            assert peers.accepts(port)
