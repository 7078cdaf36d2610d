"""Which host keys a link trusts: those that were confirmed for each place, and no others."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh import SSHClient, SSHKey
from asyncssh.known_hosts import match_known_hosts

from sekimori.model.errors import Problem
from sekimori.model.linkfacts import HostKey, KeyStanding

__all__ = ["Pins", "Watcher", "describe", "judge", "read_pins"]

_DEFAULT_PORT = 22


@dataclass(frozen=True, slots=True)
class Pins:
    """What one place may show.

    Attributes:
        keys: host keys.
        authorities: keys of certification authorities that may have signed its certificate.
    """

    keys: tuple[SSHKey, ...] = ()
    authorities: tuple[SSHKey, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.keys or self.authorities)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of all of them."""
        return tuple(each.get_fingerprint() for each in (*self.keys, *self.authorities))


class Watcher(SSHClient):
    """Lets a server's key in when it is pinned, and keeps what was shown.

    Attributes:
        shown: the host key, or the authority of the certificate, that was not pinned.
        lost: why the connection ended.
        on_lost: called when it has.
    """

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self.on_lost: Callable[[], None] = lambda: None
        self.shown: SSHKey | None = None
        self.lost: Exception | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: SSHKey) -> bool:
        """Called for a key that is not trusted yet."""
        self.shown = key
        return key in self._pins.keys

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: SSHKey) -> bool:
        """Called for the authority of a certificate that is not trusted yet."""
        self.shown = key
        return key in self._pins.authorities

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self.lost = exc
        self.on_lost()

    def refusal(self, link: str, place: str) -> Problem:
        """Why the key that was shown is not taken."""
        if (
            self.shown is None
        ):  # a certificate of an authority that is pinned, for another host or another time
            return Problem("link-host-certificate", place=place)
        facts = {
            "place": place,
            "algorithm": self.shown.get_algorithm(),
            "fingerprint": self.shown.get_fingerprint(),
        }
        if not self._pins:
            return Problem("host-key-unknown", **facts)
        return Problem("host-key-changed", link=link, expected=", ".join(self._pins.fingerprints), **facts)


def read_pins(lines: Iterable[str]) -> dict[str, Pins]:
    """The keys of each place, from lines `PLACE [cert-authority] ALGORITHM BASE64`.

    Raises:
        Problem: `link-bad-pin`: a line is none.
    """
    found: dict[str, Pins] = {}
    for line in lines:
        place, _, rest = line.strip().partition(" ")
        authority = rest.startswith("cert-authority ")
        try:
            key = asyncssh.import_public_key(rest.removeprefix("cert-authority ").strip())
        except (asyncssh.KeyImportError, ValueError) as error:
            raise Problem("link-bad-pin", line=line, why=str(error)) from None
        pins = found.get(place, Pins())
        found[place] = (
            Pins(pins.keys, (*pins.authorities, key))
            if authority
            else Pins((*pins.keys, key), pins.authorities)
        )
    return found


def describe(place: str, key: SSHKey, standing: KeyStanding, expected: Iterable[str] = ()) -> HostKey:
    """A key that a place showed, as a value."""
    return HostKey(
        place=place,
        algorithm=key.get_algorithm(),
        key=base64.b64encode(key.public_data).decode(),
        fingerprint=key.get_fingerprint(),
        standing=standing,
        expected=tuple(expected),
    )


def judge(place: str, host: str, port: int, key: SSHKey, pins: Pins) -> HostKey:
    """What is thought of a key: by what is pinned, else by known_hosts(5) of this user."""
    if pins:
        standing = KeyStanding.PINNED if key in (*pins.keys, *pins.authorities) else KeyStanding.CHANGED
        return describe(place, key, standing, () if standing is KeyStanding.PINNED else pins.fingerprints)
    known, revoked = _known(host, port)
    if key in revoked or (known and key not in known):
        return describe(place, key, KeyStanding.CHANGED, (each.get_fingerprint() for each in known))
    return describe(place, key, KeyStanding.KNOWN if known else KeyStanding.UNKNOWN)


def _known(host: str, port: int) -> tuple[list[SSHKey], list[SSHKey]]:
    files = [
        path
        for path in (Path("~/.ssh/known_hosts").expanduser(), Path("/etc/ssh/ssh_known_hosts"))
        if path.is_file()
    ]
    found: Any = (
        match_known_hosts([str(each) for each in files], host, "", None if port == _DEFAULT_PORT else port)
        if files
        else ((), (), ())
    )
    return list(found[0]), list(found[2])
