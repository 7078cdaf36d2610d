"""The config file as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Final

from sekimori.config.lines import Place
from sekimori.model.address import IPNetwork
from sekimori.model.door import DoorName
from sekimori.model.lease import NonceRule
from sekimori.model.lifetime import Asked
from sekimori.model.linesettings import LineSettings
from sekimori.model.link import Link
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.permission import Permission
from sekimori.model.request import Unsaid, Wish
from sekimori.model.user import Grant, User
from sekimori.model.words import FIELDS

__all__ = [
    "MAPPING_KEYS",
    "ApiSettings",
    "BanEntry",
    "Config",
    "DaemonSettings",
    "DoorSettings",
    "DoorsSection",
    "Entry",
    "GatewaySettings",
    "NetworkSection",
    "PolicySettings",
    "RelaySettings",
    "digest_of",
]

MAPPING_KEYS: Final = (*(word for word in FIELDS if word != "name"), "zone", "paused")
"""The keys of a `[mappings.NAME]` table: the words of a request, the zone of `hours` and `until`,
and whether it is paused."""


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """`[daemon]`. None leaves the choice to the daemon."""

    state_dir: Path | None = None
    socket: Path | None = None
    zone: str | None = None
    """An IANA zone, for every time in the file that names no offset; None is the system's."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """`[api]`: users and `@groups`, besides root and the daemon's own user."""

    admins: tuple[str, ...] = ()
    viewers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """`[relay]`."""

    workers: int | None = None
    """How many processes; None is one per CPU, at most 8."""
    grace: int = 30
    """Seconds that flows may live on after a close or an expiry; 0 is none."""
    user: str | None = None
    """Who the workers become when the daemon is root; None leaves the choice to the daemon."""


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """`[policy]`, in seconds."""

    lifetime: int = 86400
    """Where neither the request nor its preset says."""
    longest: int | None = None
    """No lifetime may be longer, and none permanent; None is no cap."""
    confirm: int = 30
    """How long a change that could lock its asker out stands unconfirmed."""


@dataclass(frozen=True, slots=True)
class NetworkSection:
    """`[network]`."""

    wan: tuple[str, ...] | None = None
    """The interfaces that lead to the internet, the preferred one first; None: those with a default route."""
    lan: tuple[str, ...] | None = None
    """The interfaces of networks inside; None: the others that have a private prefix."""
    leases: tuple[str, ...] | None = None
    """Lease files of DHCP servers, a `*` for part of a file's name; None is where they usually are."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """`[gateway]`. That the table is there makes the machine a gateway."""

    masquerade: bool = True
    firewall: bool = False


@dataclass(frozen=True, slots=True)
class BanEntry:
    """One line of `[bans]`.

    Attributes:
        expires_at: Unix seconds, which may have passed; None is until the line is gone.
    """

    prefix: IPNetwork
    reason: str
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """`[doors.igd]`, `[doors.portmap]` or `[doors.ssh]`. That the table is there opens the door."""

    interfaces: tuple[str, ...] = ()
    """Of igd and portmap."""
    version: int = 1
    """Of igd: which IGD it says it is."""
    nonce: NonceRule = NonceRule.SAME_SOURCE
    """Of portmap: what it does with PCP requests that have another nonce."""
    listen: tuple[str, ...] = ()
    """Of ssh: where it answers."""
    authorized_keys: str = ""
    """Of ssh: a file of keys beside those of `[users]`."""
    grant: Grant | None = None
    """Of ssh: what the keys of that file may do."""


@dataclass(frozen=True, slots=True)
class DoorsSection:
    """`[doors]`: the doors at which devices ask, and the rules by which they are answered."""

    doors: Mapping[DoorName, DoorSettings] = field(default_factory=dict)
    permissions: tuple[Permission, ...] | None = None
    """None where the file does not say."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One `[mappings.NAME]` table.

    Attributes:
        wish: what it asks for; the words it does not say are UNSAID.
        place: where it stands in the file.
        paused: None when the file does not say.
        passwords: those of SOCKS users by name, to tell whether what stands was made of them.
    """

    name: str
    wish: Wish
    place: Place
    paused: bool | None = None
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def line(self) -> int:
        """The line its table begins on."""
        return self.place.line

    def wish_at(self, now: float) -> Wish:
        """What it asks for at `now`, from where a duration runs."""
        lifetime = self.wish.lifetime
        return (
            self.wish if isinstance(lifetime, Unsaid) else replace(self.wish, lifetime=lifetime.renewed(now))
        )

    def has_passed(self, now: float) -> bool:
        """Whether it asks for an end at a time that is not ahead of `now`."""
        lifetime = self.wish.lifetime
        return not isinstance(lifetime, Unsaid) and lifetime.asked is Asked.UNTIL and lifetime.has_ended(now)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything one config file says; every part has its default but the file's path."""

    path: Path
    daemon: DaemonSettings = DaemonSettings()
    api: ApiSettings = ApiSettings()
    relay: RelaySettings = RelaySettings()
    policy: PolicySettings = PolicySettings()
    network: NetworkSection = NetworkSection()
    line: LineSettings = field(default_factory=LineSettings)
    gateway: GatewaySettings | None = None
    bans: tuple[BanEntry, ...] = ()
    doors: DoorsSection = field(default_factory=DoorsSection)
    links: Mapping[str, Link] = field(default_factory=dict)
    users: Mapping[str, User] = field(default_factory=dict)
    lists: Mapping[str, tuple[IPNetwork, ...]] = field(default_factory=dict)
    mappings: tuple[Entry, ...] = ()
    text: str = ""

    @property
    def digest(self) -> str:
        """What tells its text from another."""
        return digest_of(self.text)

    @property
    def owner(self) -> Owner:
        """The owner of what this file declares."""
        return Owner(OwnerKind.FILE, str(self.path))


def digest_of(text: str) -> str:
    """What tells the text of a config file from another."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
