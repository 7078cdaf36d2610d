"""What must not be open to anyone without a word about it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import repeat
from typing import Final

from sekimori.model.address import HIGHEST_PORT, PortRange
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping
from sekimori.model.preset import Preset
from sekimori.model.snapshot import Snapshot
from sekimori.model.target import TargetKind
from sekimori.policy.dangers import OPEN_PROXY
from sekimori.policy.rules import Rules

__all__ = ["find_dangers", "refuse_danger"]

_FEW: Final = 64
"""Up to so many ports are asked about one by one."""

_SOCKETS: Final = {
    "docker.sock": 2375,
    "podman.sock": 2375,
    "containerd.sock": 2375,
    ".s.PGSQL.5432": 5432,
    "mysqld.sock": 3306,
    "mysql.sock": 3306,
    "redis.sock": 6379,
    "redis-server.sock": 6379,
    "mongodb-27017.sock": 27017,
}
"""Unix sockets by their usual names, and the TCP port of the same service."""

_ANYONE: Final = {"en": "anyone", "ja": "だれでも"}


def find_dangers(mapping: Mapping, rules: Rules) -> Iterator[Preset]:
    """The dangerous services behind a mapping, by its outside and inside ports; some more than once.

    Both sides count: 2222 that leads to port 22 is SSH, and so is 22 that leads to 2222. Whether a link lies
    between does not matter. A service that is known by its unix socket counts by the port it has elsewhere;
    whether a SOCKS port is an open proxy is not told by its number (`dangers.refuse_exposure`).
    """
    path = mapping.target.unix
    known = None if path is None else _SOCKETS.get(path.path.rpartition("/")[2])
    if known is not None and (preset := rules.danger_for("tcp", known)) is not None:
        yield preset
    for pair in mapping.ports:
        for ports in dict.fromkeys((pair.inside, pair.outside)):
            found = _dangers_among(ports, str(pair.protocol), rules.danger_for)
            if mapping.target.kind is TargetKind.SOCKS:
                found = (preset for preset in found if preset.danger != OPEN_PROXY)
            yield from found


def refuse_danger(mapping: Mapping, snapshot: Snapshot, rules: Rules) -> None:
    """Refuse a dangerous service open to anyone, unless its named risk was accepted.

    Each of them: to accept the risk of SSH on a range is no word about the Telnet beside it.

    Raises:
        Problem: `risk-not-accepted`, with the safer way and the exact flag.
    """
    if not mapping.sources.is_wide(snapshot.lists):
        return
    for preset in find_dangers(mapping, rules):
        if preset.danger is not None and preset.danger not in mapping.accepted_risks:
            raise Problem(
                "risk-not-accepted",
                what=preset.title,
                sources=_ANYONE if mapping.sources.anyone else str(mapping.sources),
                note=preset.note,
                risk=preset.danger,
            )


def _dangers_among(
    ports: PortRange, protocol: str, danger_for: Callable[[str, int], Preset | None]
) -> Iterator[Preset]:
    """The dangerous services on these ports, in their order."""
    if ports.size <= _FEW:
        found = (danger_for(protocol, port) for port in ports)
        yield from (preset for preset in found if preset is not None)
        return
    known, presets = _all_dangers(danger_for, protocol)
    yield from presets[bisect_left(known, ports.first) : bisect_right(known, ports.last)]


@lru_cache(maxsize=32)
def _all_dangers(
    danger_for: Callable[[str, int], Preset | None], protocol: str
) -> tuple[tuple[int, ...], tuple[Preset, ...]]:
    """Every dangerous port of a protocol, ascending, and the services there. Takes 7 ms the first time."""
    every = range(1, HIGHEST_PORT + 1)
    found = zip(every, map(danger_for, repeat(protocol), every), strict=False)
    dangers = [(port, preset) for port, preset in found if preset is not None]
    return tuple(port for port, _ in dangers), tuple(preset for _, preset in dangers)
