"""Real peers, on the home network of the namespace tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sekimori.testing.netlab import Host
from tests.netns.home import gateway, home, network

from .programs import Start

__all__ = ["gateway", "home", "network", "start"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts programs on hosts; they end with the test, and what they say is kept in its directory."""
    with ExitStack() as stack:

        def start_program(host: Host, *command: str) -> None:
            log = stack.enter_context((tmp_path / f"{Path(command[0]).name}.log").open("wb"))
            stack.enter_context(host.running(command, stdout=log, stderr=log))

        yield start_program
