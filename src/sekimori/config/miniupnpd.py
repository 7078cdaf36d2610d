"""miniupnpd.conf: which doors it opens, and by which rules, in the words of this program.

What its options mean is read from miniupnpd's options.c, upnppermissions.c and miniupnpd.conf(5).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sekimori.config import miniupnpd_notices as tell
from sekimori.config.posixregex import from_posix
from sekimori.model.address import HIGHEST_PORT, IPAddress, PortRange
from sekimori.model.causes import Text, Unreadable, cause
from sekimori.model.decision import Notice
from sekimori.model.door import DoorName
from sekimori.model.errors import Problem
from sekimori.model.network import Lan
from sekimori.model.permission import EVERY, Permission

__all__ = ["Imported", "read_miniupnpd"]

_RULE = re.compile(
    r"(?P<verdict>allow|deny)\s+(?P<outside>\d+(?:-\d+)?)\s+"
    r"(?P<address>[\d.]+)(?:/(?P<mask>[\d.]+))?\s+(?P<inside>\d+(?:-\d+)?)(?:\s+(?P<rest>.*))?"
)
_PATTERN = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s"#]\S*)')
_EVERYBODY: Final = ipaddress.IPv4Network("0.0.0.0/0")
_LONGEST: Final = 86400
"""miniupnpd grants no more, whatever max_lifetime says."""
_TAKEN: Final = frozenset(
    (
        *("listening_ip", "enable_upnp", "enable_natpmp", "enable_pcp_pmp", "force_igd_desc_v1"),
        *("secure_mode", "max_lifetime", "ipv6_disable"),
    )
)


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file comes to.

    Attributes:
        interfaces: where its doors answer.
        doors: those it opens; none where it names no interface.
        version: the IGD it says it is.
        rules: all of them, with the last one that miniupnpd does not write.
        notices: what is different, and what was left out, and why.
    """

    interfaces: tuple[str, ...]
    doors: tuple[DoorName, ...]
    version: int
    rules: tuple[Permission, ...]
    notices: tuple[Notice, ...]


@dataclass(slots=True)
class _Lines:
    """The options in order, with the line of each; and the rules as they are written."""

    file: str
    options: list[tuple[int, str, str]] = field(default_factory=list)
    rules: list[tuple[int, str]] = field(default_factory=list)

    def last(self, *names: str) -> str:
        """The value that holds: the last one given; empty where none was."""
        return next((value for _, name, value in reversed(self.options) if name in names), "")

    def bad(self, line: int, key: Text | str, why: Text) -> Problem:
        """The problem of a line that cannot be used."""
        return Problem("bad-config", file=self.file, line=line, key=key, why=why)


def read_miniupnpd(text: str, file: str, lans: Sequence[Lan]) -> Imported:
    """Read a miniupnpd.conf; `file` is what it is called, `lans` are the networks inside, as found here.

    Raises:
        Problem: `bad-config` with the line, where miniupnpd would not have started either, or where a
            pattern has no equal here.
    """
    lines = _split(text, file)
    notices: list[Notice] = []
    interfaces = tuple(dict.fromkeys(_interfaces(lines, lans, notices)))
    rules = _rules(lines, notices)
    doors = tuple(_doors(lines)) if interfaces else ()
    if not interfaces:
        notices.append(tell.no_interface(tuple(_doors(lines))))
    version = 2 if lines.last("force_igd_desc_v1") == "no" else 1
    if version == 2 and DoorName.IGD in doors:
        notices.append(tell.second_version())
    notices += tell.left_out({name for _, name, _ in lines.options} - _TAKEN)
    return Imported(interfaces, doors, version, rules, tuple(notices))


def _split(text: str, file: str) -> _Lines:
    lines = _Lines(file)
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith(("allow", "deny")) and len(line) > 6:
            lines.rules.append((number, line))
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise lines.bad(number, cause("at-line"), cause("miniupnpd-line"))
        lines.options.append((number, name.strip(), value.strip()))
    return lines


def _doors(lines: _Lines) -> Iterator[DoorName]:
    """What is on: UPnP unless it is said not to be, NAT-PMP and PCP where they are said to be."""
    if (lines.last("enable_upnp") or "yes") == "yes":
        yield DoorName.IGD
    said = lines.last("enable_natpmp", "enable_pcp_pmp")
    if said == "yes" or (said.isdecimal() and int(said[:9]) > 0):
        yield DoorName.PORTMAP


# -- where -------------------------------------------------------------------------


def _interfaces(lines: _Lines, lans: Sequence[Lan], notices: list[Notice]) -> Iterator[str]:
    """The interfaces of every `listening_ip`: named, or found by an address or a prefix of theirs."""
    for number, name, value in lines.options:
        if name != "listening_ip":
            continue
        first, *others = value.split() or [""]
        address = _read_address(first)
        if address is None and not re.fullmatch(r"[A-Za-z][\w.@-]{0,14}", first, re.ASCII):
            raise lines.bad(number, name, cause("not-an-interface", text=first))
        found = first if address is None else _interface_of(address, lans)
        if found is None:
            notices.append(tell.not_found(first))
            continue
        if others:
            notices.append(tell.more_words(first, others))
        yield found


def _read_address(text: str) -> IPAddress | None:
    try:
        return ipaddress.ip_interface(text).ip
    except ValueError:
        return None


def _interface_of(address: IPAddress, lans: Sequence[Lan]) -> str | None:
    own = (lan.interface for lan in lans if address in lan.addresses)
    near = (lan.interface for lan in lans if any(address in prefix for prefix in lan.prefixes))
    return next(own, None) or next(near, None)


# -- by which rules -----------------------------------------------------------------


def _rules(lines: _Lines, notices: list[Notice]) -> tuple[Permission, ...]:
    usual = _usual(lines, notices)
    rules: list[Permission] = []
    for number, text in lines.rules:
        rule = _read_rule(lines, number, text, usual)
        if rule is None:
            notices.append(tell.port_zero(number))
            continue
        rules.append(rule)
    if any(rule.description is not None for rule in rules):
        notices.append(tell.patterns())
    if any(map(_is_for_everybody, rules)):
        if lines.last("ipv6_disable") != "yes":
            notices.append(tell.no_pinholes())
    else:
        # upnppermissions.c: "no permission rule matched : accept by default"
        rules.append(usual)
        notices.append(tell.open_end(len(rules), str(rules[-1])))
    return tuple(rules)


def _usual(lines: _Lines, notices: list[Notice]) -> Permission:
    """What holds where no rule fits; every rule that allows grants the same."""
    usual = Permission(allow=True, outside=EVERY, inside=EVERY)
    if lines.last("secure_mode") == "no":
        usual = replace(usual, others=True)
        notices.append(tell.others())
    elif not lines.last("secure_mode"):
        notices.append(tell.own_only())
    said = lines.last("max_lifetime")
    if said:
        number = next(line for line, name, _ in reversed(lines.options) if name == "max_lifetime")
        if not said.isdecimal() or not int(said[:9]):
            raise lines.bad(number, "max_lifetime", cause("not-in-range", first=1, last=_LONGEST))
        usual = replace(usual, longest=min(int(said[:9]), _LONGEST))
        notices.append(tell.longest())
    notices.append(tell.quota())
    return usual


def _read_rule(lines: _Lines, number: int, text: str, usual: Permission) -> Permission | None:
    """One line; None where it is about port 0 only, which nothing has.

    Raises:
        Problem: `bad-config`.
    """
    found = _RULE.fullmatch(text)
    if found is None:
        raise lines.bad(number, cause("at-line"), cause("miniupnpd-rule"))
    try:
        outside, inside = _read_ports(found["outside"]), _read_ports(found["inside"])
        network = _read_network(found["address"], found["mask"])
        description = _read_pattern(found["rest"] or "")
    except Unreadable as error:
        raise lines.bad(number, cause("at-line"), error.why) from None
    if outside is None or inside is None:
        return None
    base = usual if found["verdict"] == "allow" else Permission(allow=False)
    return replace(base, who=(network,), outside=outside, inside=inside, description=description)


def _read_ports(text: str) -> PortRange | None:
    first, _, last = text.partition("-")
    low, high = int(first[:6]), int((last or first)[:6])
    if not low <= high <= HIGHEST_PORT:
        raise Unreadable("miniupnpd-ports", text=text)
    return PortRange(max(1, low), high) if high else None


def _read_network(address: str, mask: str | None) -> ipaddress.IPv4Network:
    """A prefix; unlike elsewhere, bits beyond its length may be set: miniupnpd masks them away."""
    try:
        host = ipaddress.IPv4Address(address)
        length = 32 if mask is None else int(mask) if mask.isdecimal() else _length_of(mask)
        return ipaddress.IPv4Network((host, length), strict=False)
    except ValueError:
        raise Unreadable("miniupnpd-prefix", text=address if mask is None else f"{address}/{mask}") from None


def _length_of(mask: str) -> int:
    """The length of a mask of dots; `ipaddress` would read an inverted one as well."""
    bits = f"{int(ipaddress.IPv4Address(mask)):032b}"
    if "01" in bits:
        raise ValueError(mask)
    return bits.count("1")


def _read_pattern(rest: str) -> str | None:
    """The pattern of the descriptions: anywhere in them, whatever the case (`regcomp` with REG_ICASE)."""
    if not rest or rest.startswith("#"):
        return None
    found = _PATTERN.match(rest)
    if found is None:
        raise Unreadable("miniupnpd-rule")
    text = found["bare"] or (found["quoted"] or "").replace('\\"', '"')
    # A rule's pattern stands between double quotes and cannot hold one.
    return f"(?is).*(?:{from_posix(text)}).*".replace('"', r"\x22") if text else None


def _is_for_everybody(rule: Permission) -> bool:
    """Whether no IPv4 request gets past it."""
    whole = (rule.outside, rule.inside) == (EVERY, EVERY)
    return whole and rule.who == (_EVERYBODY,) and rule.description is None
