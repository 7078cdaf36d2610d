"""What the line lets in, held against what is asked for. Pure."""

from __future__ import annotations

import ipaddress

from sekimori.model.address import PortRange
from sekimori.model.decision import Notice
from sekimori.model.line import Answer, Line
from sekimori.model.mapping import Mapping, MappingKind
from sekimori.policy.rules import Rules

__all__ = ["line_has", "line_notice"]


def line_has(outside: PortRange, rules: Rules) -> bool:
    """Whether the line lets IPv4 packets to these outside ports in at all."""
    line = rules.line()
    return line is None or line.has_ports(outside)


def line_notice(mapping: Mapping, rules: Rules) -> Notice | None:
    """Word that nothing can come in from the internet as asked, and what would.

    It is no refusal: hosts nearer than the internet may still come, and IPv6 may get through.
    """
    line = rules.line()
    if line is None or mapping.sources.is_lan or not _is_met_by_ipv4(mapping):
        return None
    if line.inbound4.answer is Answer.NO:
        return _no_way_in(mapping, line)
    missing = [pair.outside for pair in mapping.ports if not line.has_ports(pair.outside)]
    return _not_ours(mapping, missing[0], line) if missing else None


def _is_met_by_ipv4(mapping: Mapping) -> bool:
    """Whether it is meant to be reached by IPv4 too."""
    if mapping.at is not None or mapping.kind is MappingKind.PINHOLE:
        return False
    if not mapping.ports[0].protocol.has_ports:
        return False
    return not isinstance(mapping.on, ipaddress.IPv6Address)


def _no_way_in(mapping: Mapping, line: Line) -> Notice:
    why = line.inbound4.why
    if line.inbound6.answer is Answer.NO:
        en, ja = "Only a link to a machine outside can", "外のマシンへのリンクでだけ届きます"
    else:
        en = "Clients with IPv6 can reach it at this machine's IPv6 address, or open an IPv6 pinhole"
        ja = "IPv6 のクライアントは IPv6 アドレスで届きます（ピンホールも開けられます）"
    return Notice(
        "no-inbound4",
        f"Nobody can reach '{mapping.name}' from the internet by IPv4: {why['en']}. {en}.",
        f"インターネットから IPv4 で「{mapping.name}」には届きません: {why['ja']}。{ja}。",
    )


def _not_ours(mapping: Mapping, outside: PortRange, line: Line) -> Notice:
    ports = line.outside_ports
    assert ports is not None
    near = ports.next_free(outside.first, lambda _port: True, outside.size)
    en = "" if near is None else f" The next of its ports is {near}."
    ja = "" if near is None else f"次に使えるのは {near} です。"
    return Notice(
        "port-not-ours",
        f"Nobody can reach port {outside} of '{mapping.name}' from the internet by IPv4: this line shares "
        f"its address and has other ports ('sekimori status' lists them).{en}",
        f"インターネットから IPv4 では「{mapping.name}」のポート {outside} に届きません: "
        "この回線はアドレスを共有していて、別のポートが割り当てられています"
        f"（sekimori status で見られます）。{ja}",
    )
