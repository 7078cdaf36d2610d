"""Links: named, kept-alive connections to other machines; mappings dial through them or listen beyond."""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.lifetime import tell_instant
from sekimori.model.mapping import Mapping, Owner
from sekimori.model.target import Target

__all__ = [
    "SSH_DOOR",
    "AddLink",
    "Link",
    "LinkPhase",
    "RemoveLink",
    "SshPlace",
    "check_link_name",
    "client_away",
]

SSH_DOOR: Final = "@ssh"
"""Stands for a link's name in the path of a port that an SSH client opened at our own door."""

RESERVED: Final = frozenset(
    {"auto", "kernel", "relay", "router", "link", "direct", "ssh", "none", "any", "self"}
)
"""Words that `--via` has for itself."""

_LONGEST_NAME: Final = 31
_NAME: Final = re.compile(rf"[a-z][a-z0-9._-]{{0,{_LONGEST_NAME - 1}}}")
_USER: Final = re.compile(r"[A-Za-z0-9_.@+][A-Za-z0-9_.@+\\-]{0,63}(?<!\\)")
"""ProxyCommand may have it (`%r`), for a shell: only letters may be in it, and the backslash of a domain."""


def check_link_name(text: str) -> str:
    """A link's name in lower case, once it is known to be usable.

    Raises:
        Problem: `bad-name`.
    """
    name = text.strip().lower()
    if not name:
        raise Problem("bad-name", text=text, why=cause("empty"), most=_LONGEST_NAME)
    if not _NAME.fullmatch(name):
        raise Problem("bad-name", text=text, why=cause("not-a-name"), most=_LONGEST_NAME)
    if name in RESERVED:
        raise Problem("bad-name", text=text, why=cause("reserved"), most=_LONGEST_NAME)
    return name


def client_away(mapping: Mapping) -> Problem:
    """Why a port of an SSH client leads nowhere while nobody holds it."""
    end = mapping.lifetime.expires_at
    until = cause("client-for-good") if end is None else cause("client-until", when=tell_instant(end))
    return Problem("client-away", name=mapping.name, owner=mapping.owner.label, until=until)


@dataclass(frozen=True, slots=True)
class SshPlace:
    """Where an SSH server is and who asks there: `ssh://alice@vps.example:2222`.

    `host` may be an alias of ssh_config(5). `user` "" and `port` 0 are what that says, or the usual ones.
    """

    host: str
    user: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> SshPlace:
        """Read `ssh://user@host:port`, or `user@host[:port]` as ssh(1) takes it.

        Raises:
            Problem: `bad-link`.
        """
        word = text.strip()
        url = word if "://" in word else f"ssh://{word}"
        try:
            parts = urlsplit(url)
            if parts.password is not None:
                raise Problem("bad-link", text="ssh://…", why=cause("no-passwords"))
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise Problem("bad-link", text=text, why=cause("not-an-ssh-url")) from None
        wrong = parts.scheme != "ssh" or not host or parts.path.strip("/") or parts.query or parts.fragment
        # Tabs and line ends urlsplit takes away without a word.
        if wrong or port == 0 or not word.isprintable():
            raise Problem("bad-link", text=text, why=cause("not-an-ssh-url"))
        if ":" in host:
            host = host.replace("%25", "%", 1)  # before a zone (RFC 6874 §2)
        user = unquote(parts.username or "")
        if user and not _USER.fullmatch(user):
            raise Problem("bad-link", text=text, why=cause("not-a-user", name=user))
        return cls(Target.parse_host(host).host, user, port or 0)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{self.user + '@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link as it was added.

    Attributes:
        name: in lower case; what `--via` and `--at` take.
        place: the SSH server.
        jump: servers to go through first, in order.
        identity: files with private keys (or certificates beside them); none takes the agent's and the
            usual ones.
        config: the ssh_config(5) file to read; "" is the one of the daemon's user, "none" is none.
        host_keys: the keys the server and each jump may have, `PLACE ALGORITHM BASE64`, one for each that was
            confirmed; `PLACE` is the text of the `SshPlace`. `cert-authority` may stand before the algorithm.
        connections: how many SSH connections carry its flows side by side (1 to 16).
        created_at: Unix seconds.
    """

    name: str
    owner: Owner
    place: SshPlace
    jump: tuple[SshPlace, ...] = ()
    identity: tuple[str, ...] = ()
    config: str = ""
    host_keys: tuple[str, ...] = ()
    connections: int = 1
    created_at: int = 0

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "owner": str(self.owner),
            "place": str(self.place),
            "jump": [str(each) for each in self.jump],
            "identity": list(self.identity),
            "config": self.config,
            "host_keys": list(self.host_keys),
            "connections": self.connections,
            "created_at": self.created_at,
        }

    @classmethod
    def from_document(cls, document: MappingABC[str, Any]) -> Link:
        """Read `to_document` back.

        Raises:
            Problem, KeyError, ValueError: the document is not a link.
        """
        return cls(
            name=document["name"],
            owner=Owner.parse(document["owner"]),
            place=SshPlace.parse(document["place"]),
            jump=tuple(map(SshPlace.parse, document["jump"])),
            identity=tuple(document["identity"]),
            config=document["config"],
            host_keys=tuple(document["host_keys"]),
            connections=document["connections"],
            created_at=document["created_at"],
        )


class LinkPhase(StrEnum):
    """How far a link has come."""

    CONNECTING = "connecting"
    UP = "up"
    WAITING = "waiting"
    """It failed, and is tried again in a while."""
    REFUSED = "refused"
    """Trying again would not help: another host key, or nobody here may log in there. It is tried seldom."""


@dataclass(frozen=True, slots=True)
class AddLink:
    """Add a link, or put another in the place of the one of that name."""

    link: Link


@dataclass(frozen=True, slots=True)
class RemoveLink:
    """Remove a link. Refused while mappings go through it."""

    name: str
