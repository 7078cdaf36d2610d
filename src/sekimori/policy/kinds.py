"""What the kinds of mappings ask of each other's words: ports, target, trigger and exceptions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sekimori.model.address import Interface, IpProtocol, PortPair, format_ports, format_spans
from sekimori.model.causes import Text, cause
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping
from sekimori.model.target import TargetKind

__all__ = ["check_kind"]

_PINHOLED: Final = (IpProtocol.TCP, IpProtocol.UDP, IpProtocol.SCTP, IpProtocol.ESP)
"""What a pinhole passes: ports, and the ESP that IPsec over IPv6 uses without NAT (RFC 4303)."""


def check_kind(mapping: Mapping) -> None:
    """Refuse words that do not fit the kind of mapping they make together, whatever plane makes it.

    Raises:
        Problem: `kinds-mixed`, `not-a-dmz`, `bad-value`, `trigger-without-ports`, `same-port-only`,
            `target-unfit` or `exclusive`; the first that holds.
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
    address = mapping.target.address
    if IpProtocol.SIX_IN_FOUR in protocols and address is not None and address.version == 6:
        why = cause("carried-by-ipv4", name=str(IpProtocol.SIX_IN_FOUR))
        raise _unfit(mapping, why, "192.168.1.5")


def _check_dmz(mapping: Mapping) -> None:
    if len(mapping.ports) > 1:
        raise Problem("kinds-mixed", ports=format_ports(mapping.ports), why=cause("dmz-alone"))
    if mapping.target.kind is TargetKind.SELF:
        raise _unfit(mapping, cause("dmz-self"), "192.168.1.5")
    if any(span.protocol is IpProtocol.DMZ for span in mapping.excepted):
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


def _unfit(mapping: Mapping, why: Text, example: str) -> Problem:
    ports = format_ports(mapping.ports)
    return Problem("target-unfit", ports=ports, target=str(mapping.target), why=why, example=example)
