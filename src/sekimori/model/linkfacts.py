"""What is known of links and of the SSH door's sessions: told by who keeps them, read by the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sekimori.model.errors import Problem
from sekimori.model.link import LinkPhase

__all__ = ["HostKey", "KeyStanding", "LinkFacts", "LinkTest", "SshFacts", "SshSession"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFacts:
    """How a link is now.

    Attributes:
        name: the link's.
        since: Unix seconds from which it has been in this phase; None where it never was looked at.
        why: what keeps it from being up; None where nothing does.
        next_try: Unix seconds of the next attempt; None while one is under way, or none is needed.
        rtt: seconds of a round trip, as the last ping took; None where there was none.
        server: the version string of the server (`SSH-2.0-OpenSSH_9.2`); "" before the first connection.
        algorithms: what was negotiated, by `kex`, `cipher`, `mac`, `host_key`.
        sekimori: whether Sekimori's own SSH door answers there; None before the first connection.
        outside: whether others than that machine come in by its ports, as the last test found (`LinkTest`).
        flows: live flows that go through it.
    """

    name: str
    phase: LinkPhase
    since: float | None = None
    why: Problem | None = None
    next_try: float | None = None
    rtt: float | None = None
    server: str = ""
    algorithms: Mapping[str, str] = field(default_factory=dict)
    sekimori: bool | None = None
    outside: bool | None = None
    flows: int = 0


class KeyStanding(StrEnum):
    """What is thought of a host key that a server showed."""

    PINNED = "pinned"
    """The link names it."""
    KNOWN = "known"
    """The known_hosts of the daemon's user has it."""
    CONFIRMED = "confirmed"
    """Another link names it for the same server."""
    UNKNOWN = "unknown"
    """Nobody has confirmed it."""
    CHANGED = "changed"
    """Another was pinned, or is in known_hosts, for this place; or it was revoked there."""


@dataclass(frozen=True, slots=True)
class HostKey:
    """A host key that a server showed.

    Attributes:
        place: text of the `SshPlace` that showed it.
        algorithm: the first word of a public key line (`ssh-ed25519`).
        key: its second word, base64.
        fingerprint: `SHA256:…` as ssh-keygen -l tells it.
        standing: what is thought of it.
        expected: fingerprints of those that were expected, where it is `changed`.
    """

    place: str
    algorithm: str
    key: str
    fingerprint: str
    standing: KeyStanding
    expected: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """As `Link.host_keys` has it."""
        return f"{self.place} {self.algorithm} {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTest:
    """What a connection that was made to try a link came to.

    Attributes:
        problem: why it cannot be used: not reached, another key, not let in; None where it can.
        tried: methods of authentication that were tried, in order.
        local: whether a channel to an address beyond may be opened (`-L`); None where it was not tried.
        remote: whether a port may be listened on there (`-R`); None likewise.
        outside: whether others than that machine itself come in by such a port, where no address was named;
            None where it was not tried, or cannot be told.
        local_why: what the server answered where it may not; "" where it may.
        remote_why: likewise.
        sekimori, rtt, server, algorithms: as in `LinkFacts`.
    """

    problem: Problem | None = None
    tried: tuple[str, ...] = ()
    local: bool | None = None
    remote: bool | None = None
    outside: bool | None = None
    local_why: str = ""
    remote_why: str = ""
    sekimori: bool | None = None
    rtt: float | None = None
    server: str = ""
    algorithms: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSession:
    """One SSH connection that is logged in at our door.

    Attributes:
        user: whose key it is: the owner of what it opens is `key:USER`.
        fingerprint: of that key.
        address: from which it came.
        port: likewise.
        since: Unix seconds.
        client: the client's version string, a stranger's words.
        mappings: ids of what it holds open (`-R`).
        channels: how many connections it has open to destinations (`-L`, `-D`, `-J`).
        bytes_in: bytes of those channels from the client, altogether.
        bytes_out: likewise to the client.
    """

    user: str
    fingerprint: str
    address: str
    port: int
    since: float
    client: str = ""
    mappings: tuple[str, ...] = ()
    channels: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(frozen=True, slots=True)
class SshFacts:
    """The SSH door now.

    Attributes:
        host_keys: fingerprints of its own keys, `ssh-ed25519 SHA256:…`.
        sessions: who is connected, the longest first.
    """

    host_keys: tuple[str, ...] = ()
    sessions: tuple[SshSession, ...] = ()
