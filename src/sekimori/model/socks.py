"""A port at which the client names its destination: who may, and where to."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from typing import Any, Final

from sekimori.model.causes import cause
from sekimori.model.destination import ANYWHERE, Destinations
from sekimori.model.errors import Problem

__all__ = ["SocksTerms", "Verifier", "make_verifier", "verify"]

_NAME: Final = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_VERIFIER: Final = re.compile(r"scrypt\$(1024|2048|4096|8192|16384)\$(?:[0-9a-f]{2}){4,64}\$[0-9a-f]{64}")
_COST: Final = 1024
"""scrypt's N: 3 ms for each attempt. A relay judges them between flows, and N = 16384 would be felt there."""
_SHORTEST: Final = 8
_LONGEST: Final = 255
"""Bytes: what SOCKS has room for (RFC 1929 §2)."""


@dataclass(frozen=True, slots=True, order=True)
class Verifier:
    """A name, and what its password is held against. The password itself is kept nowhere."""

    name: str
    text: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name}:{self.text}"


@dataclass(frozen=True, slots=True)
class SocksTerms:
    """What a SOCKS client must say and may reach.

    Attributes:
        users: who may, by name and password (RFC 1929); none asks nobody.
        reach: the destinations, as they are asked for or as their names resolve here.
    """

    users: tuple[Verifier, ...] = ()
    reach: Destinations = ANYWHERE

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"users": [str(each) for each in self.users], "reach": str(self.reach)}

    @classmethod
    def from_document(cls, document: MappingABC[str, Any]) -> SocksTerms:
        """Read `to_document` back.

        Raises:
            Problem, KeyError, ValueError: the document is not of SOCKS terms.
        """
        users = (Verifier(*text.split(":", 1)) for text in document["users"])
        return cls(tuple(sorted(users)), Destinations.parse(document["reach"]))


def make_verifier(text: str, salt: bytes) -> Verifier:
    """What is kept of `NAME:PASSWORD` (or, from an export, of `NAME:scrypt$…`, as it is).

    Raises:
        Problem: `bad-value`.
    """
    name, _, password = text.partition(":")
    if not _NAME.fullmatch(name):
        raise Problem("bad-value", key="socks_user", text=name, why=cause("not-a-user", name=name))
    if password.startswith("scrypt$"):
        if not _VERIFIER.fullmatch(password):
            raise Problem("bad-value", key="socks_user", text=name, why=cause("not-a-verifier"))
        return Verifier(name, password)
    if len(password) < _SHORTEST:
        raise Problem("bad-value", key="socks_user", text=name, why=cause("password-short", least=_SHORTEST))
    try:
        secret = password.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON may have it
        raise Problem("bad-value", key="socks_user", text=name, why=cause("not-text")) from None
    if len(secret) > _LONGEST:
        raise Problem("bad-value", key="socks_user", text=name, why=cause("password-long", most=_LONGEST))
    return Verifier(name, _derive(secret, _COST, salt))


def verify(verifier: str, password: bytes) -> bool:
    """Whether a password is the one that a verifier was made of. Takes some 3 ms of work."""
    kind, cost, salt, _ = verifier.split("$")
    if kind != "scrypt":
        return False
    return hmac.compare_digest(verifier, _derive(password, int(cost), bytes.fromhex(salt)))


def _derive(password: bytes, cost: int, salt: bytes) -> str:
    found = hashlib.scrypt(password, salt=salt, n=cost, r=8, p=1, dklen=32)
    return f"scrypt${cost}${salt.hex()}${found.hex()}"
