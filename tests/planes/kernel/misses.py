"""Mappings of every kind on one gateway, what flows each has, and what only looks like it."""

from __future__ import annotations

from sekimori.wire.conntrack import Entry

from .tracked import (
    ESP,
    GATEWAY,
    GRE,
    ICMP,
    OTHER,
    SCTP,
    STRANGER,
    TCP,
    TOO,
    UDP,
    VISITOR,
    VISITOR6,
    WAN,
    WAN6,
    flow,
    wanted,
)

WEB = wanted("web", "tcp/443", "192.168.1.10")
GAME = wanted("game", "tcp+udp/5136", "192.168.1.11 25565")
RANGE = wanted("range", "udp/7000-7100", "192.168.1.10")
SHIFT = wanted("shift", "tcp/9000-9020", "192.168.1.11 19000-19020")
STREAM = wanted("stream", "sctp/3868", "192.168.1.10")
SHELL = wanted("shell", "tcp/22", "self")
HIDDEN = wanted("hidden", "tcp/2222", "self 22")
TUNNEL = wanted("tunnel", "gre", "192.168.1.10")
IPSEC = wanted("ipsec", "udp/500,esp", "192.168.1.10")
HOLE = wanted("hole", "tcp/8443", "2001:db8:3::10")
SUFFIX = wanted("suffix", "udp/4433", "::10/-64")
TOO_ONLY = wanted("too", "tcp/8080", "192.168.1.10 80", on=TOO)
LINE = wanted("line", "udp/1194", "192.168.1.11", on="wan1")
BOTH = wanted("both", "tcp/6000", "nas.home", targets=("192.168.1.12", "2001:db8:3::12"))
NAT66 = wanted("nat66", "tcp/7443", "2001:db8:3::13 443")
DMZ = wanted("dmz", "dmz", "192.168.1.50", excepted="tcp/8888,gre")
TRIGGER = wanted("trigger", "tcp/113", "trigger")

MAPPINGS = (
    *(WEB, GAME, RANGE, SHIFT, STREAM, SHELL, HIDDEN, TUNNEL, IPSEC, HOLE, SUFFIX, TOO_ONLY, LINE, BOTH),
    *(NAT66, DMZ, TRIGGER),
)

FLOWS: dict[str, tuple[str | None, Entry]] = {
    # What each mapping has.
    "web": ("web", flow(TCP, f"{VISITOR} 40000", f"{WAN} 443", to="192.168.1.10 443")),
    "web, other address": ("web", flow(TCP, f"{VISITOR} 40001", f"{TOO} 443", to="192.168.1.10 443")),
    "web, other line": ("web", flow(TCP, f"{VISITOR} 40002", f"{OTHER} 443", to="192.168.1.10 443")),
    "web, just begun": ("web", flow(TCP, f"{VISITOR} 40003", f"{WAN} 443", to="192.168.1.10 443", status=0)),
    "web, ended": ("web", flow(TCP, f"{VISITOR} 40004", f"{WAN} 443", to="192.168.1.10 443", state=7)),
    "web, hairpin": (
        "web",
        flow(TCP, "192.168.1.11 40000", f"{WAN} 443", to="192.168.1.10 443", snat=f"{GATEWAY} 40000"),
    ),
    "web, from here": ("web", flow(TCP, f"{WAN} 40000", f"{WAN} 443", to="192.168.1.10 443", labels=0)),
    "game by tcp": ("game", flow(TCP, f"{VISITOR} 40000", f"{WAN} 5136", to="192.168.1.11 25565")),
    "game by udp": ("game", flow(UDP, f"{VISITOR} 40000", f"{WAN} 5136", to="192.168.1.11 25565")),
    "range, first": ("range", flow(UDP, f"{VISITOR} 40000", f"{WAN} 7000", to="192.168.1.10 7000")),
    "range, last": ("range", flow(UDP, f"{VISITOR} 40000", f"{WAN} 7100", to="192.168.1.10 7100")),
    "shift, first": ("shift", flow(TCP, f"{VISITOR} 40000", f"{WAN} 9000", to="192.168.1.11 19000")),
    "shift, last": ("shift", flow(TCP, f"{VISITOR} 40000", f"{WAN} 9020", to="192.168.1.11 19020")),
    "stream": ("stream", flow(SCTP, f"{VISITOR} 40000", f"{WAN} 3868", to="192.168.1.10 3868")),
    "shell": ("shell", flow(TCP, f"{VISITOR} 40000", f"{WAN} 22")),
    "shell by v6": ("shell", flow(TCP, f"{VISITOR6} 40000", f"{WAN6} 22")),
    "hidden": ("hidden", flow(TCP, f"{VISITOR} 40000", f"{WAN} 2222", to=f"{GATEWAY} 22")),
    "hidden, loopback": ("hidden", flow(TCP, f"{VISITOR} 40001", f"{WAN} 2222", to="127.0.0.1 22")),
    "tunnel": ("tunnel", flow(GRE, f"{VISITOR} 0", f"{WAN} 0", to="192.168.1.10 0")),
    "tunnel with a key": ("tunnel", flow(GRE, f"{VISITOR} 7", f"{WAN} 9", to="192.168.1.10 12")),
    "ipsec, keys": ("ipsec", flow(UDP, f"{VISITOR} 500", f"{WAN} 500", to="192.168.1.10 500")),
    "ipsec, data": ("ipsec", flow(ESP, VISITOR, WAN, to="192.168.1.10")),
    "hole": ("hole", flow(TCP, f"{VISITOR6} 40000", "2001:db8:3::10 8443")),
    "suffix": ("suffix", flow(UDP, f"{VISITOR6} 40000", "2001:db8:3::10 4433")),
    "suffix, other prefix": ("suffix", flow(UDP, f"{VISITOR6} 40000", "2001:db8:4:7::10 4433")),
    "too": ("too", flow(TCP, f"{VISITOR} 40000", f"{TOO} 8080", to="192.168.1.10 80")),
    "line": ("line", flow(UDP, f"{VISITOR} 40000", f"{OTHER} 1194", to="192.168.1.11 1194")),
    "both, v4": ("both", flow(TCP, f"{VISITOR} 40000", f"{WAN} 6000", to="192.168.1.12 6000")),
    "both, v6": ("both", flow(TCP, f"{VISITOR6} 40000", "2001:db8:3::12 6000")),
    "nat66": ("nat66", flow(TCP, f"{VISITOR6} 40000", f"{WAN6} 7443", to="2001:db8:3::13 443")),
    "dmz, tcp": ("dmz", flow(TCP, f"{VISITOR} 40000", f"{WAN} 12345", to="192.168.1.50 12345")),
    "dmz, its own 443": ("dmz", flow(TCP, f"{VISITOR} 40010", f"{WAN} 443", to="192.168.1.50 443")),
    "dmz, esp": ("dmz", flow(ESP, STRANGER, WAN, to="192.168.1.50")),
    "trigger": ("trigger", flow(TCP, f"{VISITOR} 40000", f"{WAN} 113", to="192.168.1.77 113")),
    "trigger by v6": ("trigger", flow(TCP, f"{VISITOR6} 40000", "2001:db8:3::77 113")),
    # What only looks like it.
    "web, the other protocol": (None, flow(UDP, f"{VISITOR} 40000", f"{WAN} 443", to="192.168.1.10 443")),
    "web, port beside": (None, flow(TCP, f"{VISITOR} 40000", f"{WAN} 444", to="192.168.1.10 443")),
    "web, host beside": (None, flow(TCP, f"{VISITOR} 40000", f"{WAN} 443", to="192.168.1.100 443")),
    "web, inside port beside": (None, flow(TCP, f"{VISITOR} 40000", f"{WAN} 443", to="192.168.1.10 8443")),
    "web, answered here": (None, flow(TCP, f"{VISITOR} 40005", f"{WAN} 443", labels=0)),
    "web, address of nobody": (None, flow(TCP, f"{VISITOR} 40000", "203.0.113.4 443", to="192.168.1.10 443")),
    "to the server directly": (None, flow(TCP, "192.168.2.5 40000", "192.168.1.10 443", labels=0)),
    "browsing from the server": (
        None,
        flow(TCP, "192.168.1.10 40000", f"{VISITOR} 443", snat=f"{WAN} 40000", labels=0),
    ),
    "out from the inside port": (
        None,
        flow(TCP, "192.168.1.10 443", f"{VISITOR} 40000", snat=f"{WAN} 443", labels=0),
    ),
    "out from the shifted port": (
        None,
        flow(UDP, "192.168.1.11 25565", f"{VISITOR} 40000", snat=f"{WAN} 5136", labels=0),
    ),
    "out from here": (None, flow(UDP, f"{WAN} 7000", f"{VISITOR} 7000", labels=0)),
    "transit to the port": (None, flow(TCP, "192.168.1.11 443", "9.9.9.9 443", snat=f"{WAN} 443", labels=0)),
    "range, below": (None, flow(UDP, f"{VISITOR} 40000", f"{WAN} 6999", to="192.168.1.10 6999")),
    "range, above": (None, flow(UDP, f"{VISITOR} 40000", f"{WAN} 7101", to="192.168.1.10 7101")),
    "shift, all to the first": (None, flow(TCP, f"{VISITOR} 40000", f"{WAN} 9007", to="192.168.1.11 19000")),
    "shift, unshifted": (None, flow(TCP, f"{VISITOR} 40000", f"{WAN} 9000", to="192.168.1.11 9000")),
    "shell of the LAN address": (None, flow(TCP, "192.168.1.11 40000", f"{GATEWAY} 22", labels=0)),
    "shell of another": (None, flow(TCP, "192.168.1.11 40000", f"{VISITOR} 22", labels=0)),
    "shell, translated": (None, flow(TCP, f"{VISITOR} 40000", f"{WAN} 22", to="192.168.1.10 22")),
    "shell from here": (None, flow(TCP, f"{WAN} 40000", f"{WAN} 22", labels=0)),
    "tunnel to elsewhere": (None, flow(GRE, f"{VISITOR} 0", f"{WAN} 0", to="192.168.1.11 0")),
    "tunnel of the LAN": (None, flow(GRE, "192.168.1.10 0", f"{VISITOR} 0", snat=f"{WAN} 0", labels=0)),
    "hole, LAN to LAN": (None, flow(TCP, "2001:db8:4::5 40000", "2001:db8:3::10 8443")),
    "hole, from here": (None, flow(TCP, "2001:db8:3::1 40000", "2001:db8:3::10 8443", labels=0)),
    "hole, neighbour": (None, flow(TCP, f"{VISITOR6} 40000", "2001:db8:3::11 8443")),
    "hole, outward": (None, flow(TCP, "2001:db8:3::10 8443", f"{VISITOR6} 40000", labels=0)),
    "suffix, no prefix of ours": (None, flow(UDP, f"{VISITOR6} 40000", "2001:db8:5::10 4433")),
    "suffix, longer": (None, flow(UDP, f"{VISITOR6} 40000", "2001:db8:3::1:10 4433")),
    "too, first address": (None, flow(TCP, f"{VISITOR} 40000", f"{WAN} 8080", to="192.168.1.10 80")),
    "line, other line": (None, flow(UDP, f"{VISITOR} 40000", f"{WAN} 1194", to="192.168.1.11 1194")),
    "both, at the gateway": (
        None,
        flow(TCP, f"{VISITOR6} 40000", f"{WAN6} 6000", to="2001:db8:3::12 6000"),
    ),
    "nat66, not translated": (None, flow(TCP, f"{VISITOR6} 40000", "2001:db8:3::13 443")),
    "dmz, excepted": (None, flow(TCP, f"{VISITOR} 40000", f"{WAN} 8888", to="192.168.1.50 8888")),
    "dmz, excepted protocol": (None, flow(GRE, f"{STRANGER} 0", f"{WAN} 0", to="192.168.1.50 0")),
    "dmz, another port": (None, flow(TCP, f"{VISITOR} 40000", f"{WAN} 12345", to="192.168.1.50 80")),
    "dmz, browsing": (None, flow(TCP, "192.168.1.50 40000", "9.9.9.9 443", snat=f"{WAN} 40000", labels=0)),
    "dmz, from the LAN": (
        None,
        flow(TCP, "192.168.1.11 40000", f"{WAN} 12345", to="192.168.1.50 12345", snat=f"{GATEWAY} 40000"),
    ),
    "echo of here": (None, flow(ICMP, VISITOR, WAN, labels=0)),
    "trigger, outside the LAN": (None, flow(TCP, f"{VISITOR} 40000", f"{WAN} 113", to="10.0.0.7 113")),
    "trigger, other port": (None, flow(TCP, f"{VISITOR} 40000", f"{WAN} 113", to="192.168.1.77 114")),
}
ENTRIES = [entry for _, entry in FLOWS.values()]
