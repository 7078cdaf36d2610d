"""A window of hours ends: newcomers are refused on its second and flows are cut, with the daemon and without.

Windows end on a minute of a zone. Here the zone is one of whole seconds beside UTC (as those were of local
mean time), made by the test, so that its next minute is some seconds away.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import DEADLINE, eventually

from .home import Home, at_home
from .talks import go_on, have_ended
from .test_kernel_survival import Place

pytestmark = [pytest.mark.netns, pytest.mark.timeout(90)]

AHEAD = 9.0
"""Seconds from the daemon's start to the end of the hours."""
ZONE = "Sekimori/Soon"


def write_zone(directory: Path, offset: int) -> None:
    """A zone that is so many seconds east of UTC, for ever (RFC 8536 §3, version 1)."""
    counts = struct.pack(">6L", 0, 0, 0, 0, 1, 4)
    file = directory / ZONE
    file.parent.mkdir()
    file.write_bytes(b"TZif" + bytes(16) + counts + struct.pack(">lBB", offset, 0, 0) + b"SKM\0")


@contextmanager
def ending(network: HomeNetwork, directory: Path) -> Iterator[tuple[Home, str, int]]:
    """A home, and hours that end in a moment: with the instant."""
    end = math.ceil(time.time() + AHEAD)
    write_zone(directory, -end % 60)
    minute = (end + -end % 60) // 60 % (24 * 60)
    hours = "daily/" + "-".join(f"{each // 60:02}:{each % 60:02}" for each in ((minute - 60) % 1440, minute))
    config = f"[daemon]\nzone = '{ZONE}'\n[relay]\nworkers = 1\ngrace = '1s'\n"
    environ = {"PYTHONTZPATH": f"{directory}:/usr/share/zoneinfo"}
    with (
        DaemonProcess(config, environ=environ, netns=network.gateway.netns) as daemon,
        at_home(network, daemon, "kernel") as home,
    ):
        yield home, hours, end


@pytest.mark.parametrize("alive", [True, False], ids=["with the daemon", "with the daemon killed"])
def test_at_the_end_of_its_hours_a_mapping_is_closed_and_cut(
    network: HomeNetwork, tmp_path: Path, alive: bool
) -> None:
    with ending(network, tmp_path) as (home, hours, end), ExitStack() as stack:
        home.daemon.client.enable_gateway(masquerade=True, firewall=True)
        stays = Place(home, 0)
        places = [Place(home, family, hours=hours) for family in (0, 1)]
        going = stays.talks(stack)
        talks = [each for place in places for each in place.talks(stack)]
        if not alive:
            home.daemon.kill9()
        assert go_on(talks)
        assert all(place.admits() for place in places)
        assert time.time() < end, "the machine was too slow for so short a time"

        eventually(lambda: all(place.is_closed() for place in places), AHEAD + DEADLINE, 0.05)
        closed = time.time()
        assert closed >= end
        print(f"closed {closed - end:.2f} s after the end of the hours")
        assert closed - end < 2  # a look at four ports lasts most of a second
        if not alive:
            assert go_on(talks), "flows are cut by a daemon"
            home.daemon.start()
        eventually(lambda: have_ended(talks))
        assert all(place.is_closed() for place in places)
        states = {view["name"]: view["status"]["state"] for view in home.daemon.client.mappings()}
        assert [states[place.view["name"]] for place in places] == ["outside-hours"] * 2
        assert stays.admits()
        assert go_on(going)
