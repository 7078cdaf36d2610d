"""The firewall of an enabled gateway: rules after which nothing is left that no mapping admits. Pure."""

from __future__ import annotations

from typing import Final

from sekimori.planes.kernel.frame import DMZ_LABEL, FORWARD_LABEL, PERMIT_LABEL

__all__ = ["FORWARD_RULES", "INPUT_RULES"]

FORWARD_RULES: Final = (
    "ct state established,related accept",
    f"ct label {FORWARD_LABEL} accept",
    f"ct label {DMZ_LABEL} accept",
    "ct state invalid drop",
    "iifname @lan accept",
    # RFC 4890 §4.3.1: errors that must not be dropped, and the echo request.
    "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request } "
    "accept",
    "counter drop",
)
"""Of what goes through the machine."""

INPUT_RULES: Final = (
    'iifname "lo" accept',
    "ct state established,related accept",
    f"ct label {PERMIT_LABEL} accept",
    # Connections that are older than the table are not known to conntrack, so their next packet is new to it.
    "tcp flags & (fin | syn | rst | ack) == ack socket wildcard 0 accept",
    "ct state invalid drop",
    "iifname @lan accept",
    "icmp type { destination-unreachable, time-exceeded, parameter-problem, echo-request } accept",
    "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, "
    "nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query, "
    "mld-listener-report, mld-listener-done, mld2-listener-report } accept",
    # What gives this machine its address (RFC 2131 §4.1, RFC 8415 §7.2).
    "udp sport 67 udp dport 68 accept",
    "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept",
    "counter drop",
)
"""Of what is for the machine itself."""
