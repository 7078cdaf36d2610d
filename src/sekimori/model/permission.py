"""Permission rules: which devices may open which ports by themselves, how many, and for how long."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import Any, Final

from sekimori.model.address import (
    HIGHEST_PORT,
    Interface,
    IPNetwork,
    IpProtocol,
    PortRange,
)
from sekimori.model.causes import Text, Unreadable, cause
from sekimori.model.device import read_mac
from sekimori.model.errors import Problem
from sekimori.model.lease import Asker
from sekimori.model.lifetime import format_duration, parse_duration
from sekimori.model.mapping import Owner
from sekimori.model.source import parse_prefix

__all__ = [
    "EVERY",
    "USUAL",
    "Permission",
    "Permissions",
    "SetPermissions",
    "Subject",
    "first_fit",
    "rule_text",
]

Subject = IPNetwork | Interface | str
"""Whom a rule is about: a prefix of addresses, an interface, or the MAC address of a device."""

USUAL_MOST: Final = 64
USUAL_LONGEST: Final = 7 * 86400
"""A week is also what IGD:2 makes of a lease that was asked for without an end."""

UNPRIVILEGED: Final = PortRange(1024, HIGHEST_PORT)
EVERY: Final = PortRange(1, HIGHEST_PORT)
_PORTED: Final = (IpProtocol.TCP, IpProtocol.UDP, IpProtocol.SCTP)
_MOST: Final = 65_535
_INTERFACE = re.compile(r"on:([A-Za-z0-9._-]{1,15})")
_MAC = re.compile(r"[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One rule. The first one that a request fits decides.

    Attributes:
        allow: whether it allows or denies.
        who: any of these; empty is every device.
        protocols: any of these; empty is every one.
        outside: the outside ports it is about; a request must lie in them wholly.
        inside: the inside ports likewise.
        most: how many leases one device may hold; None is any number.
        longest: seconds that a lease may last at most.
        others: whether a device may open ports to other hosts of the LAN (PCP's THIRD_PARTY, or another
            NewInternalClient of UPnP).
        description: a regular expression that the whole description must fit; None is any.
    """

    allow: bool
    who: tuple[Subject, ...] = ()
    protocols: tuple[IpProtocol, ...] = ()
    outside: PortRange = UNPRIVILEGED
    inside: PortRange = UNPRIVILEGED
    most: int | None = USUAL_MOST
    longest: int = USUAL_LONGEST
    others: bool = False
    description: str | None = None

    @classmethod
    def parse(cls, text: str) -> Permission:
        """Read `allow 192.168.1.0/24 tcp outside 1024-65535 inside 1024-65535 most 20 for 7d`,
        `allow aa:bb:cc:dd:ee:ff others`, `allow on:lan0`, `deny all`, `allow all matching "re"`.

        What is left out is as in `Permission`; but a rule that denies is about every port unless it says.

        Raises:
            Problem: `bad-permission`.
        """
        try:
            return _parse(text)
        except Unreadable as error:
            raise Problem("bad-permission", text=text, why=error.why) from None

    def fits(
        self, protocol: IpProtocol, outside: PortRange, inside: PortRange, device: Owner, asker: Asker
    ) -> bool:
        """Whether a request is what the rule is about, whatever its description."""
        return _holds(self.outside, outside) and self.fits_inside(protocol, inside, device, asker)

    def fits_inside(self, protocol: IpProtocol, inside: PortRange, device: Owner, asker: Asker) -> bool:
        """The same, whatever the outside ports."""
        return (
            (not self.protocols or protocol in self.protocols)
            and _holds(self.inside, inside)
            and (not self.who or any(_is_about(each, device, asker) for each in self.who))
        )

    def describes(self, description: str) -> bool:
        """Whether a description is one the rule is about."""
        return self.description is None or re.fullmatch(self.description, description) is not None

    def __str__(self) -> str:
        words = ["allow" if self.allow else "deny", ",".join(map(_subject_text, self.who)) or "all"]
        if self.protocols:
            words.append("+".join(self.protocols))
        usual = UNPRIVILEGED if self.allow else EVERY
        words += [f"outside {self.outside}"] if self.outside != usual else []
        words += [f"inside {self.inside}"] if self.inside != usual else []
        if self.allow:
            words += self._grants()
        if self.description is not None:
            words.append(f'matching "{self.description}"')
        return " ".join(words)

    def _grants(self) -> Iterator[str]:
        if self.most != USUAL_MOST:
            yield f"most {'any' if self.most is None else self.most}"
        if self.longest != USUAL_LONGEST:
            yield f"for {format_duration(self.longest)}"
        if self.others:
            yield "others"


USUAL: Final = Permission(allow=True)
"""What holds where no rule was written: every device of the LAN, for itself, without privileged ports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """All rules, in order. What none of them fits is denied; without any, `USUAL` is the one.

    Attributes:
        created_at: Unix seconds.
    """

    owner: Owner
    rules: tuple[Permission, ...]
    created_at: int = 0

    @property
    def name(self) -> str:
        """What the journal calls them."""
        return "permissions"

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "owner": str(self.owner),
            "rules": [str(rule) for rule in self.rules],
            "created_at": self.created_at,
        }

    @classmethod
    def from_document(cls, document: MappingABC[str, Any]) -> Permissions:
        """Read `to_document` back.

        Raises:
            Problem, KeyError, ValueError: the document does not hold rules.
        """
        return cls(
            owner=Owner.parse(document["owner"]),
            rules=tuple(map(Permission.parse, document["rules"])),
            created_at=document["created_at"],
        )


@dataclass(frozen=True, slots=True)
class SetPermissions:
    """Put these rules in the place of all that stand; None returns to the usual one."""

    rules: tuple[Permission, ...] | None


def _holds(outer: PortRange, inner: PortRange) -> bool:
    return outer.first <= inner.first and inner.last <= outer.last


def _shared(one: PortRange, other: PortRange) -> PortRange | None:
    first, last = max(one.first, other.first), min(one.last, other.last)
    return PortRange(first, last) if first <= last else None


def _without(whole: PortRange, gone: PortRange) -> Iterator[PortRange]:
    if not whole.overlaps(gone):
        yield whole
        return
    if whole.first < gone.first:
        yield PortRange(whole.first, gone.first - 1)
    if gone.last < whole.last:
        yield PortRange(gone.last + 1, whole.last)


def _is_about(subject: Subject, device: Owner, asker: Asker) -> bool:
    if isinstance(subject, str):
        return subject == device.id
    if isinstance(subject, Interface):
        return subject.name == asker.interface
    return asker.address in subject


def _subject_text(subject: Subject) -> str:
    return f"on:{subject}" if isinstance(subject, Interface) else str(subject)


def _parse(text: str) -> Permission:
    head, quote, rest = text.strip().partition(' matching "')
    pattern = rest.removesuffix('"') if quote else None
    if quote and not rest.endswith('"'):
        raise Unreadable("rule-quote")
    words = head.split()
    if len(words) < 2 or words[0].lower() not in ("allow", "deny"):
        raise Unreadable("rule-begins")
    allow = words[0].lower() == "allow"
    who = () if words[1].lower() == "all" else tuple(map(_read_subject, words[1].split(",")))
    ports = UNPRIVILEGED if allow else EVERY
    found: dict[str, Any] = {"allow": allow, "who": who, "outside": ports, "inside": ports}
    if pattern is not None:
        found["description"] = _read_pattern(pattern)
    _read_words(iter(words[2:]), found)
    return Permission(**found)


def _read_words(words: Iterator[str], found: dict[str, Any]) -> None:
    for word in map(str.lower, words):
        match word:
            case "outside" | "inside":
                found[word] = PortRange.parse(_next(words, word))
            case "most":
                found["most"] = _read_most(_next(words, word))
            case "for":
                found["longest"] = _read_duration(_next(words, word))
            case "others":
                found["others"] = True
            case _:
                found["protocols"] = _read_protocols(word)


def _next(words: Iterator[str], after: str) -> str:
    word = next(words, None)
    if word is None:
        raise Unreadable("rule-ends", word=after)
    return word


def _read_most(text: str) -> int | None:
    if text.lower() == "any":
        return None
    if not text.isdecimal() or not int(text) <= _MOST:
        raise Unreadable("not-in-range", first=0, last=_MOST)
    return int(text)


def _read_duration(text: str) -> int:
    try:
        return parse_duration(text)
    except Problem:
        raise Unreadable("not-a-duration") from None


def _read_protocols(text: str) -> tuple[IpProtocol, ...]:
    known = {str(each): each for each in _PORTED}
    names = text.split("+")
    if not all(name in known for name in names):
        raise Unreadable("rule-word", word=text)
    return tuple(each for each in _PORTED if str(each) in names)


def _read_subject(text: str) -> Subject:
    interface = _INTERFACE.fullmatch(text)
    if interface is not None:
        return Interface(interface[1])
    if _MAC.fullmatch(text):
        mac = read_mac(text)
        if mac is None:
            raise Unreadable("rule-no-device", text=text)
        return mac
    return parse_prefix(text)


def _read_pattern(pattern: str) -> str:
    if '"' in pattern:
        raise Unreadable("rule-quote")
    try:
        re.compile(pattern)
    except re.error as error:
        raise Unreadable("rule-pattern", why=str(error)) from None
    return pattern


def first_fit(
    rules: Iterable[Permission],
    protocol: IpProtocol,
    outside: PortRange,
    inside: PortRange,
    device: Owner,
    asker: Asker,
    description: str,
) -> Permission | None:
    """The rule that decides about a request; None is none, which denies."""
    for rule in rules:
        if rule.fits(protocol, outside, inside, device, asker) and rule.describes(description):
            return rule
    return None


def allowed_outside(
    rules: Iterable[Permission],
    protocol: IpProtocol,
    inside: PortRange,
    device: Owner,
    asker: Asker,
    description: str,
) -> list[tuple[Permission, PortRange]]:
    """The outside ports that a request may have, each range with the rule that decides there.

    What a rule denies is denied in part too: ports of a request must lie in one of these ranges wholly.
    """
    found: list[tuple[Permission, PortRange]] = []
    undecided = [EVERY]
    for rule in rules:
        if not rule.fits_inside(protocol, inside, device, asker) or not rule.describes(description):
            continue
        if rule.allow:
            shared = (_shared(rule.outside, each) for each in undecided)
            found += [(rule, each) for each in shared if each is not None]
        undecided = [left for each in undecided for left in _without(each, rule.outside)]
        if not undecided:
            break
    return found


def rule_text(rule: Permission | None, *asked: PortRange) -> Text:
    """What is said of the rule that denied, or of there being none, by language."""
    if rule is not None:
        return cause("denied-by-rule", rule=str(rule))
    if any(ports.first < UNPRIVILEGED.first for ports in asked):
        return cause("no-rule-privileged", first=UNPRIVILEGED.first)
    return cause("no-rule-fits")
