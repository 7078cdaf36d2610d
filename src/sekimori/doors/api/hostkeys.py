"""Which host keys a link is to trust: those that were named, pinned before, or known to the daemon's user."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sekimori.doors.api.ports import LinkTried
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.link import Link, SshPlace
from sekimori.model.linkfacts import HostKey, KeyStanding
from sekimori.policy.links import MOST_JUMPS
from sekimori.wire.sshkeys import fingerprint

__all__ = ["Pin", "Trusted", "fingerprint_of", "trust"]

_AUTHORITY: Final = "cert-authority"
_USUAL_PORT: Final = 22
_TRUSTED: Final = frozenset({KeyStanding.KNOWN, KeyStanding.CONFIRMED})
"""What is thought of a key that is taken without a word."""


def fingerprint_of(key: str) -> str:
    """The fingerprint of a key in base64, as ssh-keygen(1) -l tells it: `SHA256:…`.

    Raises:
        ValueError: it is not base64.
    """
    try:
        blob = base64.b64decode(key, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    return fingerprint(blob)


@dataclass(frozen=True, slots=True)
class Pin:
    """A key that somebody said may be trusted.

    Attributes:
        fingerprint: `SHA256:…`.
        place: where; "" is wherever it is shown.
        key: `ALGORITHM BASE64`, with `cert-authority` before it where it signs host keys; "" where only the
            fingerprint was said.
    """

    fingerprint: str
    place: str = ""
    key: str = ""

    @classmethod
    def parse(cls, text: str) -> Pin:
        """Read `SHA256:…`, `ALGORITHM BASE64 [COMMENT]`, or a line of `Link.host_keys`.

        Raises:
            Problem: `bad-value`.
        """
        words = text.split()
        if len(words) == 1 and words[0].startswith("SHA256:"):
            # What a person copies may have been padded by another program.
            return cls(words[0].rstrip("="))
        place = ""
        if words and "://" in words[0]:
            place = str(SshPlace.parse(words.pop(0)))
        authority = [words.pop(0)] if words and words[0] == _AUTHORITY else []
        try:
            algorithm, key = words[:2]
            seal = fingerprint_of(key)
        except ValueError:
            why = cause("not-a-host-key")
            raise Problem("bad-value", key="host_keys", text=text[:200], why=why) from None
        return cls(seal, place, " ".join([*authority, algorithm, key]))

    def covers(self, found: HostKey) -> bool:
        """Whether it is this key that is meant."""
        return self.fingerprint == found.fingerprint and self.place in ("", found.place)


@dataclass(frozen=True, slots=True)
class Trusted:
    """What came of asking the servers.

    Attributes:
        link: with the host keys that it is to trust.
        found: all that they showed, with what is thought of them.
    """

    link: Link
    found: tuple[HostKey, ...]


async def trust(tried: LinkTried, link: Link, said: Sequence[Pin], others: Iterable[Link] = ()) -> Trusted:
    """Fill in the host keys of a link, whose own are those that were pinned before.

    A key that one of the others names for the same server was confirmed with it, and is not asked about.

    A server behind a jump is asked once the jump's key is trusted. Where nobody answers, a link is still good
    for which the whole key of every place was said.

    Raises:
        Problem: `host-key-unknown` or `host-key-changed`, with `keys`: the place, the algorithm and the
            fingerprint of each that was shown; `host-key-unasked`; or why a server could not be asked.
    """
    link = replace(link, host_keys=_begin(link, said))
    found: Sequence[HostKey] = ()
    trusted: dict[str, KeyStanding] = {}
    for _ in range(MOST_JUMPS + 2):  # each round may show the keys one jump further; ssh_config has more
        try:
            found = _confirmed(await tried.scan(link), others)
        except Problem:
            if _lacking(link, link.host_keys):
                raise
            return Trusted(link, tuple(found))
        # Once it is pinned it is told as pinned, and no more why it was taken.
        trusted |= {key.line: key.standing for key in found if key.standing in _TRUSTED}
        lines = _choose(link, found, said)
        if set(lines) == set(link.host_keys):
            break
        link = replace(link, host_keys=lines)
    if lacking := _lacking(link, link.host_keys):
        raise Problem("host-key-unasked", place=lacking[0])
    _refuse_others(link, found, said)
    return Trusted(link, tuple(replace(key, standing=trusted.get(key.line, key.standing)) for key in found))


def _refuse_others(link: Link, found: Iterable[HostKey], said: Iterable[Pin]) -> None:
    """Who names fingerprints means those keys and no others, also where others are trusted already.

    Raises:
        Problem: `host-key-changed`, where none of them was shown.
    """
    named = [pin for pin in said if not pin.key]
    shown = [key for key in found if key.place == str(link.place)]
    if named and shown and not any(pin.covers(key) for pin in named for key in found):
        expected = tuple(pin.fingerprint for pin in named)
        raise _refusal("host-key-changed", link, [replace(key, expected=expected) for key in shown])


def _confirmed(found: Iterable[HostKey], others: Iterable[Link]) -> list[HostKey]:
    """What was shown, with what is thought of it by the keys that other links name."""
    named = {_server_and_key(line) for other in others for line in other.host_keys}
    return [
        replace(key, standing=KeyStanding.CONFIRMED)
        if key.standing is KeyStanding.UNKNOWN and _server_and_key(key.line) in named
        else key
        for key in found
    ]


def _server_and_key(line: str) -> tuple[str, int, str]:
    """Of `PLACE [cert-authority] ALGORITHM BASE64`: who logs in there does not matter."""
    place, rest = line.split(" ", 1)
    server = SshPlace.parse(place)
    return server.host, server.port or _USUAL_PORT, rest


def _begin(link: Link, said: Iterable[Pin]) -> tuple[str, ...]:
    """The pins from before for the places that are still gone through, and the whole keys that were said.

    A key that was said takes the place of those that stood for it.
    """
    alone = "" if link.jump else str(link.place)
    whole = [(pin.place or alone, pin.key) for pin in said if pin.key and (pin.place or alone)]
    named = {place for place, _ in whole}
    kept = [line for line in link.host_keys if line.partition(" ")[0] not in named]
    return tuple(dict.fromkeys([*kept, *(f"{place} {key}" for place, key in whole)]))


def _choose(link: Link, found: Sequence[HostKey], said: Sequence[Pin]) -> tuple[str, ...]:
    """The lines to trust, after what the servers showed.

    Raises:
        Problem: `host-key-unknown`, `host-key-changed`.
    """
    lines = dict.fromkeys(link.host_keys)
    for place in dict.fromkeys(key.place for key in found):
        shown = [key for key in found if key.place == place]
        named = [key for key in shown if any(pin.covers(key) for pin in said)]
        if named:
            # Somebody looked at this very key: what stood for the place before is no longer meant.
            stays = {key.line for key in named}
            lines = dict.fromkeys(line for line in lines if line.partition(" ")[0] != place or line in stays)
            lines |= dict.fromkeys(key.line for key in named)
            continue
        if any(key.standing is KeyStanding.PINNED for key in shown):
            continue
        if changed := [key for key in shown if key.standing is KeyStanding.CHANGED]:
            raise _refusal("host-key-changed", link, changed)
        known = [key for key in shown if key.standing in _TRUSTED]
        if not known:
            raise _refusal("host-key-unknown", link, shown)
        lines |= dict.fromkeys(key.line for key in known)
    return tuple(lines)


def _refusal(code: str, link: Link, keys: Sequence[HostKey]) -> Problem:
    first = keys[0]
    told = [{"place": key.place, "algorithm": key.algorithm, "fingerprint": key.fingerprint} for key in keys]
    facts: dict[str, object] = {"link": link.name, "place": first.place, "algorithm": first.algorithm}
    facts |= {"fingerprint": first.fingerprint, "keys": told}
    if code == "host-key-changed":
        facts["expected"] = ", ".join(first.expected) or "-"
    return Problem(code, **facts)


def _lacking(link: Link, lines: Iterable[str]) -> list[str]:
    """Places that no key is trusted for."""
    have = {line.partition(" ")[0] for line in lines}
    return [str(place) for place in (*link.jump, link.place) if str(place) not in have]
