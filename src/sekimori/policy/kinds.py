"""What the kinds of mappings ask of each other's words: ports, target, trigger and exceptions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sekimori.model.address import (
    WHOLE,
    Interface,
    IpProtocol,
    PortPair,
    UnixPath,
    format_ports,
    format_spans,
)
from sekimori.model.causes import Text, cause
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping
from sekimori.model.target import TargetKind

__all__ = ["check_kind", "check_link"]

_PINHOLED: Final = (IpProtocol.TCP, IpProtocol.UDP, IpProtocol.SCTP, IpProtocol.ESP)
"""What a pinhole passes: ports, and the ESP that IPsec over IPv6 uses without NAT (RFC 4303)."""


def check_kind(mapping: Mapping) -> None:
    """Refuse words that do not fit the kind of mapping they make together, whatever plane makes it.

    Raises:
        Problem: `kinds-mixed`, `not-a-dmz`, `bad-value`, `trigger-without-ports`, `same-port-only`,
            `target-unfit`, `exclusive`, `bad-ports`, `bad-target` or `way-unfit`; the first that holds.
    """
    protocols = {pair.protocol for pair in mapping.ports}
    if IpProtocol.DMZ in protocols:
        _check_dmz(mapping)
    elif mapping.excepted:
        ports, excepted = format_ports(mapping.ports), format_spans(mapping.excepted)
        raise Problem("not-a-dmz", excepted=excepted, ports=ports)
    if mapping.trigger is not None:
        _check_trigger(mapping)
    if mapping.target.kind is TargetKind.SUFFIX:
        _check_pinhole(mapping)
    if IpProtocol.UNIX in protocols or isinstance(mapping.on, UnixPath):
        _check_path(mapping)
    if mapping.target.kind is TargetKind.SOCKS:
        _check_socks(mapping)
    if mapping.target.kind is TargetKind.UNIX:
        _refuse_others(mapping, (IpProtocol.TCP, IpProtocol.UNIX), cause("to-unix"), cause("unix-streams"))
    if not mapping.target.kind.has_ports and not mapping.is_straight:
        raise Problem("bad-target", text=str(mapping.target), why=cause("target-portless"))
    address = mapping.target.address
    if IpProtocol.SIX_IN_FOUR in protocols and address is not None and address.version == 6:
        why = cause("carried-by-ipv4", name=str(IpProtocol.SIX_IN_FOUR))
        raise _unfit(mapping, why, "192.168.1.5")


def check_link(mapping: Mapping, how: Text) -> None:
    """Refuse what no link carries, on whichever side it is; `how` names the link and the side.

    Raises:
        Problem: `way-unfit` or `exclusive`.
    """
    carried = (IpProtocol.TCP, IpProtocol.UDP, IpProtocol.UNIX)
    _refuse_others(mapping, carried, how, cause("link-carries"))
    if mapping.trigger is not None:
        raise Problem("exclusive", first="--trigger", second="--via" if mapping.at is None else "--at")
    if mapping.target.kind is TargetKind.SUFFIX:
        raise _way_unfit(mapping, how, cause("link-suffix"), cause("do-name-address"))
    if mapping.at is None and mapping.target.kind is TargetKind.DEVICE:
        raise _way_unfit(mapping, how, cause("link-device"), cause("do-name-address"))
    if mapping.at is not None and mapping.target.kind is TargetKind.SOCKS:
        raise _way_unfit(mapping, how, cause("link-socks"), cause("do-socks-via", link=mapping.at))
    if isinstance(mapping.on, Interface):
        raise _way_unfit(mapping, how, cause("ends-at-address"), cause("do-on-address"))
    if mapping.log:
        raise _way_unfit(mapping, how, cause("link-log"), cause("do-without", word="--log"))


def _check_path(mapping: Mapping) -> None:
    """A unix socket outside: alone, by its path, and led to a port where the target has ports."""
    if len(mapping.ports) > 1:
        raise Problem("kinds-mixed", ports=format_ports(mapping.ports), why=cause("unix-alone"))
    pair = mapping.ports[0]
    if pair.protocol is not IpProtocol.UNIX or not isinstance(mapping.on, UnixPath):
        raise Problem("bad-ports", text=format_ports(mapping.ports), why=cause("unix-or-port"))
    if mapping.target.kind.has_ports and pair.inside == WHOLE:
        raise Problem("bad-target", text=str(mapping.target), why=cause("unix-needs-port"))


def _check_socks(mapping: Mapping) -> None:
    how = cause("as-socks")
    _refuse_others(mapping, (IpProtocol.TCP,), how, cause("socks-streams"))
    if mapping.proxy_protocol:
        raise _way_unfit(mapping, how, cause("socks-proxied"), cause("do-without", word="--proxy-protocol"))


def _check_dmz(mapping: Mapping) -> None:
    if len(mapping.ports) > 1:
        raise Problem("kinds-mixed", ports=format_ports(mapping.ports), why=cause("dmz-alone"))
    if mapping.target.kind is TargetKind.SELF:
        raise _unfit(mapping, cause("dmz-self"), "192.168.1.5")
    if any(span.protocol in (IpProtocol.DMZ, IpProtocol.UNIX) for span in mapping.excepted):
        text = format_spans(mapping.excepted)
        raise Problem("bad-value", key="except", text=text, why=cause("excepts-all"))


def _check_trigger(mapping: Mapping) -> None:
    assert mapping.trigger is not None
    opened = [pair.protocol for pair in mapping.ports]
    for protocol in (*opened, *(span.protocol for span in mapping.trigger.ports)):
        if not protocol.has_ports:
            raise Problem("trigger-without-ports", name=str(protocol))
    _refuse_shift(mapping, mapping.ports, cause("trigger-straight"))


def _check_pinhole(mapping: Mapping) -> None:
    for pair in mapping.ports:
        if pair.protocol not in _PINHOLED:
            why = cause("pinhole-protocols", names=", ".join(map(str, _PINHOLED)))
            raise _unfit(mapping, why, "192.168.1.5")
    _refuse_shift(mapping, mapping.ports, cause("pinhole-straight"))
    if mapping.on is not None and not isinstance(mapping.on, Interface):
        raise Problem("exclusive", first="--on", second=str(mapping.target))


def _refuse_shift(mapping: Mapping, pairs: Iterable[PortPair], why: Text) -> None:
    for pair in pairs:
        if pair.outside != pair.inside:
            raise Problem(
                "same-port-only",
                outside=f"{pair.protocol}/{pair.outside}",
                inside=str(pair.inside),
                target=str(mapping.target),
                why=why,
                example=f"{pair.protocol}/{pair.inside}",
            )


def _refuse_others(mapping: Mapping, fit: tuple[IpProtocol, ...], how: Text, why: Text) -> None:
    if any(pair.protocol not in fit for pair in mapping.ports):
        names = ", ".join(str(each) for each in fit)
        raise _way_unfit(mapping, how, why, cause("do-protocols", names=names))


def _way_unfit(mapping: Mapping, how: Text, why: Text, do: Text) -> Problem:
    return Problem("way-unfit", ports=mapping.ports_text, how=how, why=why, do=do)


def _unfit(mapping: Mapping, why: Text, example: str) -> Problem:
    ports = format_ports(mapping.ports)
    return Problem("target-unfit", ports=ports, target=str(mapping.target), why=why, example=example)
