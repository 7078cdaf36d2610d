"""What tests of several layers share: the running daemon, and peers that are closed at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import settings

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.peers import Peers

# The same examples at every run, and no verdict by the clock: a red test is a fault, not a mood.
# HYPOTHESIS_PROFILE=deep looks for new ones.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile("deep", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

Open = Callable[[Mapping[str, object]], dict[str, Any]]
"""Opens a mapping in the shared daemon and returns its view; it is closed after the test."""


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Peers on this machine's own network."""
    with Peers() as made:
        yield made


@pytest.fixture(scope="session")
def daemon() -> Iterator[DaemonProcess]:
    """One daemon, with a grace of 2 s, for tests that need none of their own; they use `opened`."""
    with DaemonProcess("[relay]\nworkers = 2\ngrace = '2s'\n") as running:
        yield running


@pytest.fixture
def opened(daemon: DaemonProcess) -> Iterator[Open]:
    """Opens mappings in the shared daemon for one test."""
    made: list[str] = []

    def open_mapping(fields: Mapping[str, object]) -> dict[str, Any]:
        view: dict[str, Any] = daemon.client.open(fields)["mappings"][0]
        made.append(view["id"])
        return view

    yield open_mapping
    for view in daemon.client.mappings():
        if view["id"] in made:
            daemon.client.close(view["id"], now=True)
