"""Programs of Debian that tests meet as peers."""

from __future__ import annotations

import os
import shutil
from typing import Protocol

import pytest

from sekimori.testing.netlab import Host
from sekimori.testing.peers import Peers, eventually


class Start(Protocol):
    """Starts a program on a host for the time of a test."""

    def __call__(self, host: Host, *command: str) -> None: ...


def need(program: str, package: str) -> str:
    """The path of a program; the test is skipped where it is missing."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"needs {program} (Debian package {package})")
    return found


def wait_for_listener(peers: Peers, address: str, port: int) -> None:
    """Return once a TCP server accepts."""

    def accepts() -> bool:
        try:
            peers.dial(port, address).close()
        except ConnectionRefusedError:
            return False
        return True

    eventually(accepts)
