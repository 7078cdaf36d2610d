"""The lease files of the DHCP servers on this machine, read again when they change."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from sekimori.model.device import Lease
from sekimori.wire.errors import BadPacket
from sekimori.wire.leases import read_leases_untrusted

__all__ = ["MOST_BYTES", "USUAL_PLACES", "LeaseFiles"]

USUAL_PLACES: Final = (
    "/var/lib/misc/dnsmasq.leases",
    "/var/lib/dnsmasq/dnsmasq.leases",
    "/var/lib/libvirt/dnsmasq/*.leases",
    "/var/lib/NetworkManager/dnsmasq-*.leases",
    "/tmp/dhcp.leases",  # noqa: S108 - where OpenWrt's dnsmasq keeps them
    "/var/lib/kea/kea-leases4.csv",
    "/var/lib/kea/kea-leases6.csv",
    "/var/lib/dhcp/dhcpd.leases",
    "/var/lib/dhcpd/dhcpd.leases",
    "/var/lib/systemd/network/dhcp-server-lease/*",
    "/run/systemd/netif/dhcp-server-lease/*",
)
"""Of Debian, Fedora, Arch and OpenWrt; a `*` stands for part of a file's name."""

MOST_BYTES: Final = 16 << 20
"""Of one file: 100,000 leases take about a third of it."""

_EARLIER: Final = ((".completed",), (".2", ".1"))
"""What Kea's lease file clean-up leaves beside a file: the finished result, or else the two parts it is made
of, the older first (Kea ARM, "Why Is Lease File Cleanup Necessary?")."""

_log = structlog.get_logger("leases")


@dataclass(frozen=True, slots=True)
class _Mark:
    """What tells that a file has changed: a server may write in place, or put a new file there."""

    path: Path
    inode: int
    size: int
    changed: int


@dataclass(frozen=True, slots=True)
class _Read:
    marks: tuple[_Mark, ...]
    leases: tuple[Lease, ...]


class LeaseFiles:
    """Every lease in a list of files. What is not there, or cannot be read, holds none; that is logged once.

    Blocking, though only when a file has changed: a few milliseconds for a thousand leases.
    """

    def __init__(self, places: Sequence[str] = USUAL_PLACES) -> None:
        self._places = tuple(places)
        self._read: dict[Path, _Read] = {}

    def leases(self) -> tuple[Lease, ...]:
        """What stands in the files now."""
        before, self._read = self._read, {}
        for path in self._paths():
            marks = _marks(path)
            old = before.get(path)
            if not marks:
                continue
            self._read[path] = old if old is not None and old.marks == marks else _read(marks)
        return tuple(lease for each in self._read.values() for lease in each.leases)

    def _paths(self) -> list[Path]:
        found: list[Path] = []
        for place in self._places:
            path = Path(place)
            found += sorted(path.parent.glob(path.name)) if "*" in path.name else [path]
        return list(dict.fromkeys(found))


def _marks(path: Path) -> tuple[_Mark, ...]:
    """The file's marks, after those of what Kea has cleaned out of it; empty where there is no file."""
    last = _mark(path)
    if last is None:
        return ()
    for suffixes in _EARLIER if path.suffix == ".csv" else ():
        earlier = [_mark(path.with_name(path.name + suffix)) for suffix in suffixes]
        if any(earlier):
            return (*(each for each in earlier if each is not None), last)
    return (last,)


def _mark(path: Path) -> _Mark | None:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # the daemon need not be root
        return None
    # A named pipe or a device, put there by mistake, would be waited for for ever.
    return (
        _Mark(path, found.st_ino, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None
    )


def _read(marks: tuple[_Mark, ...]) -> _Read:
    try:
        leases = read_leases_untrusted(*(_content(mark.path) for mark in marks))
    except (OSError, BadPacket) as error:
        _log.warning("leases_not_read", file=str(marks[-1].path), why=str(error))
        leases = ()
    return _Read(marks, leases)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise BadPacket(f"longer than {MOST_BYTES} bytes")
    return data
