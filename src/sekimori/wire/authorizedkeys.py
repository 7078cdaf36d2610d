"""Lines of authorized_keys (sshd(8), AUTHORIZED_KEYS FILE FORMAT): options, kind of key, key, comment.

The options mean what OpenSSH 9.2 means by them (auth-options.c, auth2-pubkeyfile.c). An option that is not
known here refuses the key, and so does a value that cannot be read: what was meant to narrow a key must never
be passed over. Options that only concern what this program does not do (terminals, agents, X11, commands) are
read and have no effect; `tunnel` asks for a device and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from typing import Final

from sekimori.model.address import IPAddress
from sekimori.model.causes import Unreadable
from sekimori.model.errors import Problem
from sekimori.wire.errors import BadPacket
from sekimori.wire.sshkeys import ALGORITHMS, RETIRED, SECURITY_KEYS, fingerprint, read_key_untrusted
from sekimori.wire.sshpatterns import AddressPatterns, Place

__all__ = ["LEAST_RSA_BITS", "AuthorizedKey", "KeyOptions", "parse_line", "parse_lines", "permits_listen"]

LEAST_RSA_BITS: Final = 2048
"""Bits of an RSA key, at least. OpenSSH 9.2 takes 1024 (RequiredRSASize) unless it is told otherwise."""
_MOST_PLACES: Final = 4096
"""SSH_AUTHOPT_PERMIT_MAX."""
_SHOWN: Final = 60

_EXPIRY: Final = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z|UTC)?", re.IGNORECASE | re.ASCII)
_ENVIRONMENT: Final = re.compile(r"[A-Za-z0-9_]+=.*", re.ASCII | re.DOTALL)
_WITHOUT_EFFECT: Final = frozenset(
    f"{no}{what}" for no in ("", "no-") for what in ("pty", "agent-forwarding", "x11-forwarding", "user-rc")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOptions:
    """What the options of a key leave of what its user may do.

    Attributes:
        forwards: whether ports may be forwarded at all.
        permit_listen: where `ssh -R` may listen; None is wherever the user may.
        permit_open: where `-L`, `-D` and `-J` may lead; None is wherever the user may.
        sources: where the key may be used from; None is anywhere.
        expires_at: Unix seconds after which it is not accepted.
        certifies: the key signs certificates, and logs in nobody itself.
        principals: of a key that certifies: one of these must stand in the certificate; None is the name of
            whose line it is.
        command: what OpenSSH would run in place of what the client asks for. Nothing is ever run here.
        no_touch: of a FIDO key: a signature without somebody's touch is enough.
        verify: of a FIDO key: the token must have verified its user.
    """

    forwards: bool = True
    permit_listen: tuple[Place, ...] | None = None
    permit_open: tuple[Place, ...] | None = None
    sources: AddressPatterns | None = None
    expires_at: int | None = None
    certifies: bool = False
    principals: tuple[str, ...] | None = None
    command: str | None = None
    no_touch: bool = False
    verify: bool = False

    def allows_listen(self, host: str, port: int) -> bool:
        """Whether `ssh -R` may ask for an address, as the client wrote it, and a port (0 is any)."""
        if not self.forwards:
            return False
        places = self.permit_listen
        return places is None or any(place.is_listened_by(host, port) for place in places)

    def allows_open(self, host: str, port: int) -> bool:
        """Whether a channel to a destination, as the client wrote it, may be asked for."""
        if not self.forwards:
            return False
        places = self.permit_open
        return places is None or any(place.is_opened_by(host, port) for place in places)

    def names(self, host: str, port: int) -> bool:
        """Whether `permitopen` says a destination in so many words."""
        places = self.permit_open or ()
        return self.forwards and any(each.host != "*" and each.is_opened_by(host, port) for each in places)

    def allows_from(self, address: IPAddress) -> bool:
        """Whether the key may be used from an address. Names of hosts are never looked up."""
        return self.sources is None or self.sources.admit(address)

    def has_expired(self, now: float) -> bool:
        """Whether it is accepted no more at `now`, Unix seconds."""
        return self.expires_at is not None and self.expires_at < int(now)

    @property
    def permitted(self) -> tuple[str, ...] | None:
        """`permit_listen` as texts, for `model.user.Bind`."""
        return None if self.permit_listen is None else tuple(map(str, self.permit_listen))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizedKey:
    """A line once it was read.

    Attributes:
        algorithm: the kind of key, as `ssh-ed25519`.
        blob: the key as it goes over the wire; two lines with the same one are of the same key.
        comment: the rest of the line.
        written: the options as they stand in the line.
    """

    options: KeyOptions
    algorithm: str
    blob: bytes
    comment: str = ""
    written: str = field(default="", compare=False)

    @property
    def fingerprint(self) -> str:
        """`SHA256:…` as ssh-keygen(1) tells it."""
        return fingerprint(self.blob)


def permits_listen(permitted: Iterable[str] | None, host: str, port: int) -> bool:
    """`KeyOptions.allows_listen` of the texts that `KeyOptions.permitted` gave; None permits all."""
    return permitted is None or any(Place.parse(each).is_listened_by(host, port) for each in permitted)


def parse_line(line: str, zone: tzinfo = UTC) -> AuthorizedKey:
    """Read one line. `zone` is what times without a `Z` are in.

    Raises:
        Problem: `bad-key`.
    """
    try:
        return _parse(line.strip(" \t\r\n"), zone)
    except Unreadable as error:
        raise Problem("bad-key", text=_shown(line.strip()), why=error.why) from None


def parse_lines(text: str, zone: tzinfo = UTC) -> tuple[list[AuthorizedKey], list[tuple[int, Problem]]]:
    """Read a file: its keys, and the lines that hold none that can be used, by number from 1.

    Blank lines and those that begin with `#` are passed over.
    """
    keys: list[AuthorizedKey] = []
    problems: list[tuple[int, Problem]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                keys.append(parse_line(line, zone))
            except Problem as problem:
                problems.append((number, problem))
    return keys, problems


def _parse(line: str, zone: tzinfo) -> AuthorizedKey:
    if "PRIVATE KEY" in line:
        raise Unreadable("key-private")
    if "\0" in line or "\n" in line:
        raise Unreadable("key-none")
    options, key = "", line
    if not _is_algorithm(_cut(line)[0]):
        end = _end_of_options(line)
        options, key = line[:end], line[end:].strip(" \t")
    found = _read_options(options, zone)
    algorithm, rest = _cut(key)
    if not _is_algorithm(algorithm):
        raise Unreadable("key-none")
    text, comment = _cut(rest)
    blob = _read_key(algorithm, text)
    _see_together(found, algorithm)
    return AuthorizedKey(
        options=found, algorithm=algorithm, blob=blob, comment=comment.strip(), written=options
    )


def _cut(text: str) -> tuple[str, str]:
    """The first word, and what follows it (sshkey_read() takes spaces and tabs for blanks)."""
    word, *rest = re.split("[ \t]+", text, maxsplit=1)
    return word, rest[0] if rest else ""


def _is_algorithm(word: str) -> bool:
    return word in ALGORITHMS or word in RETIRED


def _read_key(algorithm: str, text: str) -> bytes:
    if algorithm in RETIRED:
        raise Unreadable("key-algorithm", algorithm=algorithm)
    try:
        blob, bits = read_key_untrusted(algorithm, text)
    except BadPacket:
        raise Unreadable("key-broken", algorithm=algorithm) from None
    if algorithm == "ssh-rsa" and bits < LEAST_RSA_BITS:
        raise Unreadable("key-weak", bits=bits, least=LEAST_RSA_BITS)
    return blob


def _see_together(options: KeyOptions, algorithm: str) -> None:
    """Refuse options that have no meaning for their key. OpenSSH ignores some of them, and admits the key."""
    if options.principals is not None and not options.certifies:
        raise Unreadable("key-option-alone", option="principals", beside="cert-authority")
    if options.verify and algorithm not in SECURITY_KEYS and not options.certifies:
        raise Unreadable("key-option-alone", option="verify-required", beside="sk-…")


def _end_of_options(line: str) -> int:
    """Where the first blank outside of quotes stands (sshkey_advance_past_options())."""
    at, quoted = 0, False
    while at < len(line) and (quoted or line[at] not in " \t"):
        if line.startswith('\\"', at):
            at += 1
        elif line[at] == '"':
            quoted = not quoted
        at += 1
    return at


def _read_options(text: str, zone: tzinfo) -> KeyOptions:
    found, at, seen = KeyOptions(), 0, set[str]()
    while at < len(text):
        if text[at] == ",":  # OpenSSH passes over empty options
            at += 1
            continue
        word = re.match(r"[A-Za-z0-9_.@-]*", text[at:], re.ASCII)
        assert word is not None  # it may be empty
        name, at = word[0].lower(), at + word.end()
        value: str | None = None
        if text[at : at + 1] == "=":
            value, at = _dequote(name, text, at + 1)
        if not name or (at < len(text) and text[at] != ","):
            raise Unreadable("key-option-unknown", option=_shown(name + text[at:]))
        found = _add(found, name, value, zone, seen)
        seen.add(name)
    return found


def _dequote(name: str, text: str, at: int) -> tuple[str, int]:
    """The value that begins with the quote at `at`, and where the text goes on after it (opt_dequote())."""
    value = re.match(r'"((?:\\"|[^"])*)"', text[at:], re.DOTALL)
    if value is None:
        raise Unreadable("key-option-quote", option=_shown(name))
    return value[1].replace('\\"', '"'), at + value.end()


def _add(found: KeyOptions, name: str, value: str | None, zone: tzinfo, seen: set[str]) -> KeyOptions:
    if value is not None:
        return _add_value(found, name, value, zone, seen)
    match name:
        case "restrict" | "no-port-forwarding":
            return replace(found, forwards=False)
        case "port-forwarding":
            return replace(found, forwards=True)
        case "cert-authority":
            return replace(found, certifies=True)
        case "touch-required" | "no-touch-required":
            return replace(found, no_touch=name.startswith("no-"))
        case "verify-required" | "no-verify-required":
            return replace(found, verify=not name.startswith("no-"))
    if name in _WITHOUT_EFFECT:
        return found
    raise Unreadable("key-option-unknown", option=_shown(name))


def _add_value(found: KeyOptions, name: str, value: str, zone: tzinfo, seen: set[str]) -> KeyOptions:
    if name in seen and name in ("from", "principals", "command"):
        raise Unreadable("key-option-twice", option=name)
    try:
        match name:
            case "permitlisten":
                place = Place.parse(value, may_be_port=True)
                return replace(found, permit_listen=_more(found.permit_listen, place))
            case "permitopen":
                return replace(found, permit_open=_more(found.permit_open, Place.parse(value)))
            case "from":
                return replace(found, sources=AddressPatterns.parse(value))
            case "expiry-time":
                end = _read_time(value, zone)
                return replace(
                    found, expires_at=end if found.expires_at is None else min(end, found.expires_at)
                )
            case "principals":
                return replace(found, principals=tuple(value.split(",")))
            case "command":
                return replace(found, command=value)
            case "environment":
                if not _ENVIRONMENT.fullmatch(value):
                    raise ValueError("not NAME=value")
                return found
    except ValueError:
        raise Unreadable("key-option-value", option=name, value=_shown(value)) from None
    raise Unreadable("key-option-unknown", option=_shown(name))


def _more(places: tuple[Place, ...] | None, place: Place) -> tuple[Place, ...]:
    if places is not None and len(places) >= _MOST_PLACES:
        raise ValueError("too many")
    return (*(places or ()), place)


def _read_time(text: str, zone: tzinfo) -> int:
    """Unix seconds of `YYYYMMDD[HHMM[SS]][Z]`.

    Raises:
        ValueError: it is no such time, or lies before 1970.
    """
    parts = _EXPIRY.fullmatch(text)
    if parts is None:
        raise ValueError("not a time")
    year, month, day, hour, minute, second = (int(part or 0) for part in parts.groups()[:6])
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC if parts[7] else zone)
    seconds = int(moment.timestamp())
    if seconds <= 0:
        raise ValueError("before there were Unix seconds")
    return seconds


def _shown(text: str) -> str:
    """So much of a text as a sentence bears, without what would move a terminal's cursor."""
    plain = "".join(each if each.isprintable() else "?" for each in text)
    return plain if len(plain) <= _SHOWN else plain[: _SHOWN - 1] + "…"
