"""The table's structure as nftables text: sets, chains, and rules; everything but the elements of mappings.

The text is idempotent: sets that are there keep their elements, chains are filled anew in the same
transaction. So the same text makes the table, brings it to other facts, and mends one that was damaged.

Why it has this shape, by hooks in the order a packet from outside meets them:

- `guard`, before conntrack: banned sources cost one look-up.
- `inbound`, before DNAT, where the destination is still the outside address and port: who may (new flows
  only), then what is counted. A flow that a mapping admits gets a label, which the firewall goes by: a
  permit is thereby bound to exactly its mapping, however the packet is rewritten later.
- `dstnat`: the WAN address picks a chain (`natw4`), so a changed address is one element and transit traffic
  is never caught; hairpin needs no rule of its own, for packets from the LAN take the same way.
- `forward`, `input`: the firewall, where it is enabled.
- `srcnat`: hairpin, symmetric outbound, masquerade.
- `outbound`, after NAT was undone: what is counted the other way.
"""

from __future__ import annotations

from collections.abc import Iterator

from sekimori.model.address import IPAddress, IPNetwork
from sekimori.model.network import MARK_MASK, wan_mark
from sekimori.planes.kernel.bans import keep_apart
from sekimori.planes.kernel.frame import DMZ_LABEL, FORWARD_LABEL, PERMIT_LABEL, TABLE, Frame, Scope
from sekimori.planes.kernel.killing import ENDED_CHAIN, ENDED_SETS, TO_ENDED
from sekimori.planes.kernel.sets import all_sets
from sekimori.planes.kernel.thrift import in_use

__all__ = ["GATEWAY_CHAIN", "chain_names", "keeper_text", "structure_text"]

GATEWAY_CHAIN = "gateway"
"""An empty chain that is there while the gateway is enabled: so an interrupted disable is seen later."""

_T = f"inet {TABLE}"
_FIRST = "ct status ! confirmed"
"""The first packet of a flow. `ct state new` are all until one is answered: each datagram of a stream that
only goes in would count as a flow."""
_ROUTED = "::ffff:ffff:ffff:ffff"
"""The bits of an IPv6 address that are not its /64."""

_BASE_CHAINS = {
    "guard": "filter hook prerouting priority -301",
    "wanmark": "filter hook prerouting priority -151",
    "helpers": "filter hook prerouting priority -110",
    "inbound": "filter hook prerouting priority -105",
    "dstnat": "nat hook prerouting priority -101",
    "wanmark_out": "route hook output priority -151",
    "ended_out": "filter hook output priority -105",
    "dstnat_out": "nat hook output priority -101",
    "forward": "filter hook forward priority -10",
    "input": "filter hook input priority -10",
    "srcnat": "nat hook postrouting priority 99",
    "outbound": "filter hook postrouting priority 110",
}
_WAN_MAPS = ("gatew", "inw", "natw", "outw")
"""Maps from a WAN address to the chain that looks packets to (or from) it up, each for IPv4 and IPv6."""

_ENTER = {"gatew": "jump", "inw": "goto", "natw": "goto", "outw": "goto"}
"""Who may is asked first, and returns; behind a `goto` nothing more of the calling chain is read."""


def structure_text(frame: Frame) -> str:
    """All of the table but the elements of mappings, as one transaction."""
    lines = [f"add table {_T}", *_declarations(frame)]
    for name, rules in _chains(frame):
        lines.append(f"flush chain {_T} {name}")
        lines += (f"add rule {_T} {name} {rule}" for rule in in_use(rules, frame.used))
    lines += _facts(frame)
    return "\n".join(lines) + "\n"


def chain_names(frame: Frame) -> tuple[str, ...]:
    """The chains that `structure_text` makes."""
    return (*_BASE_CHAINS, *(name for name, _ in _plain_chains(frame)), *_filled_elsewhere(frame))


def keeper_text(table: str) -> str:
    """A table of empty NAT chains, and a rule that nothing leads to.

    The kernel unhooks NAT when the last NAT chain goes, and stops tracking connections when the last rule
    that asks for their state does. A foreign `flush ruleset` would so strip the translation from established
    flows for as long as ours is away, and the first packet of each would be answered with a reset. A table
    with an owner (Linux 5.12) is not flushed by others, and goes with us.
    """
    hooks = (
        ("prerouting", "dstnat"),
        ("input", "100"),
        ("output", "-100"),
        ("postrouting", "srcnat"),
    )
    lines = [f"add table inet {table} {{ flags owner ; }}"]
    lines += (
        f"add chain inet {table} {hook} {{ type nat hook {hook} priority {priority} ; policy accept ; }}"
        for hook, priority in hooks
    )
    lines += (f"add chain inet {table} tracked", f"add rule inet {table} tracked ct state established accept")
    return "\n".join(lines) + "\n"


def _declarations(frame: Frame) -> Iterator[str]:
    if frame.pptp:
        yield f'add ct helper {_T} pptp {{ type "pptp" protocol tcp ; l3proto ip ; }}'
    yield f"add set {_T} lan {{ type ifname ; }}"
    yield f"add set {_T} wan {{ type ifname ; }}"
    yield f"add set {_T} lan6 {{ type ipv6_addr ; flags interval ; }}"
    yield f"add set {_T} bans4 {{ type ipv4_addr ; flags interval, timeout ; }}"
    yield f"add set {_T} bans6 {{ type ipv6_addr ; flags interval, timeout ; }}"
    for name, key in ENDED_SETS.items():
        yield f"add set {_T} {name} {{ type {key} ; flags timeout ; }}"
    for name in _WAN_MAPS:
        yield f"add map {_T} {name}4 {{ type ipv4_addr : verdict ; }}"
        yield f"add map {_T} {name}6 {{ type ipv6_addr : verdict ; }}"
    for name, kind in all_sets(tuple(scope.name for scope in frame.all_scopes)):
        yield kind.declare(name)
    for name, hook in _BASE_CHAINS.items():
        yield f"add chain {_T} {name} {{ type {hook} ; policy accept ; }}"
    for name, _ in _plain_chains(frame):
        yield f"add chain {_T} {name}"
    for name in _filled_elsewhere(frame):
        yield f"add chain {_T} {name}"


def _chains(frame: Frame) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield from _plain_chains(frame)
    yield "guard", tuple(_refuse_banned(frame))
    yield "wanmark", tuple(_mark_flows(frame))
    # The control connection names the GRE call (RFC 2637), so conntrack must read it to translate that.
    yield "helpers", ('ct state new tcp dport 1723 ct helper set "pptp"',) if frame.pptp else ()
    yield "wanmark_out", tuple(_mark_replies(frame))
    yield (
        "inbound",
        (
            "ct direction reply accept",
            TO_ENDED,
            f"{_FIRST} ip daddr vmap @gatew4",
            f"{_FIRST} ip6 daddr vmap @gatew6",
            f"{_FIRST} iifname != @lan ip6 daddr @lan6 jump holegates",
            "ip daddr vmap @inw4",
            "ip6 daddr vmap @inw6",
            "iifname != @lan ip6 daddr @lan6 goto holes",
        ),
    )
    yield "ended_out", ("ct direction reply accept", TO_ENDED)
    yield "dstnat", ("ip daddr vmap @natw4", "ip6 daddr vmap @natw6")
    yield "dstnat_out", ("ip daddr vmap @natw4", "ip6 daddr vmap @natw6")
    yield "forward", ("iifname @lan oifname @wan jump triggers", *(_FORWARD_RULES if frame.firewall else ()))
    yield "input", _INPUT_RULES if frame.firewall else ()
    yield "srcnat", tuple(_translate(frame))
    yield (
        "outbound",
        (
            "ct direction original accept",
            "ip saddr vmap @outw4",
            "ip6 saddr vmap @outw6",
            "ip6 saddr @lan6 goto holesout",
        ),
    )


def _refuse_banned(frame: Frame) -> Iterator[str]:
    # Every packet of the machine passes here, so that nobody is banned costs nothing.
    for family, word in ((4, "ip"), (6, "ip6")):
        if any(ban.prefix.version == family for ban in frame.bans):
            yield f"{word} saddr @bans{family} counter drop"


def _plain_chains(frame: Frame) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Chains without a hook."""
    for label, name in ((FORWARD_LABEL, "admit"), (PERMIT_LABEL, "admit_own"), (DMZ_LABEL, "admit_dmz")):
        yield name, (f"ct state new ct label set {label}", "accept")
    for scope in frame.all_scopes:
        yield from _scope_gates(scope)
        yield from _scope_leads(scope)
    yield from _HOLE_CHAINS
    yield ENDED_CHAIN
    for _, address, scopes in frame.outside():
        for name in _WAN_MAPS if len(scopes) > 1 else ():
            yield _address_chain(name, address, scopes), tuple(f"jump {name}_{each.name}" for each in scopes)


def _filled_elsewhere(frame: Frame) -> Iterator[str]:
    """Chains that follow from mappings (`stock`), and the one that stands for the gateway."""
    if frame.gateway is not None:
        yield GATEWAY_CHAIN
    yield "triggers"
    yield from (f"dmzpol_{scope.name}" for scope in frame.all_scopes)


def _scope_gates(scope: Scope) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Who may come in, and what is counted."""
    s, here = scope.name, "meta l4proto . th dport"
    yield (
        f"gatew_{s}",
        (
            f"{here} @lan_{s} goto src_lan",
            f"{here} @lanr_{s} goto src_lan",
            f"{here} vmap @gate_{s}",
            f"{here} vmap @gater_{s}",
            f"meta l4proto vmap @gatep_{s}",
        ),
    )
    yield (
        f"inw_{s}",
        (
            f"{_FIRST} jump fresh_{s}",
            f"{here} @in_{s} goto admit",
            f"{here} @own_{s} goto admit_own",
            f"{here} @inr_{s} goto admit",
            f"{here} @ownr_{s} goto admit_own",
            f"meta l4proto @inp_{s} goto admit",
            f"meta l4proto @ownp_{s} goto admit_own",
            f"meta nfproto ipv4 meta l4proto != icmp iifname != @lan goto dmz_{s}",
        ),
    )
    yield f"fresh_{s}", (f"{here} @fresh_{s}", f"{here} @freshr_{s}", f"meta l4proto @freshp_{s}")
    yield (
        f"dmz_{s}",
        (
            f"{here} @dmzx_{s} return",
            # What a service of this machine listens for stays with it.
            "meta l4proto { tcp, udp } socket wildcard 0 return",
            "meta l4proto { tcp, udp } socket wildcard 1 return",
            "udp dport 68 return",
            f"{_FIRST} jump dmzpol_{s}",
            f"meta nfproto @dmzin_{s} goto admit_dmz",
        ),
    )


def _scope_leads(scope: Scope) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where what was admitted goes, and what comes back."""
    s = scope.name
    here, there = "meta l4proto . th dport", "meta l4proto . th sport"
    yield (
        f"natw_{s}",
        (
            f"dnat ip to {here} map @fwd4_{s}",
            f"dnat ip6 to {here} map @fwd6_{s}",
            # The kernel wants the protocol's ports checked before an address may come with one.
            f"meta l4proto {{ tcp, udp, sctp }} dnat ip to {here} map @fwdr4_{s}",
            f"meta l4proto {{ tcp, udp, sctp }} dnat ip6 to {here} map @fwdr6_{s}",
            f"dnat ip to meta l4proto map @fwdp4_{s}",
            f"dnat ip6 to meta l4proto map @fwdp6_{s}",
            f"{here} vmap @trig_{s}",
            f"ct label {DMZ_LABEL} dnat ip to meta nfproto map @dmz_{s}",
        ),
    )
    yield (
        f"outw_{s}",
        (
            f"{there} @out_{s} accept",
            f"{there} @outr_{s} accept",
            f"meta l4proto @outp_{s} accept",
            f"ct label {DMZ_LABEL} meta nfproto @dmzout_{s} accept",
        ),
    )


def _hole_keys(side: str, port: str) -> tuple[tuple[str, str], ...]:
    """Suffixes of the pinhole sets with the key each is looked up by."""
    exact = f"meta l4proto . ip6 {side} . th {port}"
    suffix = f"meta l4proto . ip6 {side} & {_ROUTED} . th {port}"
    portless = f"meta l4proto . ip6 {side}"
    return (("", exact), ("r", exact), ("s", suffix), ("sr", suffix), ("p", portless), ("a", f"ip6 {side}"))


_HOLE_CHAINS = (
    ("holegates", tuple(f"{key} vmap @holegate{end}" for end, key in _hole_keys("daddr", "dport"))),
    (
        "holes",
        (
            f"{_FIRST} jump holefresh",
            *(f"{key} @hole{end} goto admit" for end, key in _hole_keys("daddr", "dport")[:-1]),
            "meta l4proto . th dport vmap @trig6",
            "meta l4proto . ip6 daddr . th dport @holex return",
            "ip6 daddr @holea goto admit",
        ),
    ),
    ("holefresh", tuple(f"{key} @holefresh{end}" for end, key in _hole_keys("daddr", "dport"))),
    (
        "holesout",
        (
            *(f"{key} @holeout{end} accept" for end, key in _hole_keys("saddr", "sport")),
            f"ct label {FORWARD_LABEL} meta l4proto . th sport @trigout6 accept",
        ),
    ),
)

_FORWARD_RULES = (
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

_INPUT_RULES = (
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


def _translate(frame: Frame) -> Iterator[str]:
    for lan in frame.network.lans:
        # A host that reaches its own LAN by the outside address must see the answer come from there.
        yield f'iifname "{lan.interface}" oifname "{lan.interface}" ct status dnat masquerade'
    yield (
        "oifname @wan meta l4proto { tcp, udp, sctp } "
        "masquerade to : meta l4proto . ip saddr . th sport map @sym4"
    )
    if frame.masquerade:
        yield "meta nfproto ipv4 iifname @lan oifname @wan masquerade"


def _mark_flows(frame: Frame) -> Iterator[str]:
    if len(frame.network.wans) < 2:
        return
    for wan, index in frame.numbered:
        mark = f"ct mark set ct mark and {~MARK_MASK & 0xFFFFFFFF:#x} or {wan_mark(index):#x}"
        yield f'ct direction original ct state new iifname "{wan.interface}" {mark}'
    yield from _mark_replies(frame)


def _mark_replies(frame: Frame) -> Iterator[str]:
    """Replies leave by the WAN that the flow came in by (`host.policyroute` has the routes)."""
    if len(frame.network.wans) < 2:
        return
    for _, index in frame.numbered:
        yield (
            f"ct direction reply ct mark and {MARK_MASK:#x} == {wan_mark(index):#x} "
            f"meta mark set meta mark and {~MARK_MASK & 0xFFFFFFFF:#x} or {wan_mark(index):#x}"
        )


def _facts(frame: Frame) -> Iterator[str]:
    """The elements that follow from the network and the bans."""
    network = frame.network
    yield from _fill("lan", (f'"{lan.interface}"' for lan in network.lans))
    yield from _fill("wan", (f'"{wan.interface}"' for wan in network.wans))
    yield from _fill("lan6", (str(p) for lan in network.lans for p in lan.prefixes if p.version == 6))
    for family in (4, 6):
        yield from _fill(f"bans{family}", (_ban_element(*kept) for kept in keep_apart(frame.bans, family)))
        for name in _WAN_MAPS:
            yield from _fill(
                f"{name}{family}",
                (
                    f"{address} : {_ENTER[name]} {_address_chain(name, address, scopes)}"
                    for _, address, scopes in frame.outside()
                    if address.version == family
                ),
            )


def _ban_element(prefix: IPNetwork, expires_at: int | None) -> str:
    # Seconds from now are filled in by the plane: what is written here must not change by itself.
    return f"{prefix}" if expires_at is None else f"{prefix} timeout @{expires_at}@"


def _fill(name: str, elements: Iterator[str]) -> Iterator[str]:
    yield f"flush set {_T} {name}" if name in _PLAIN_SETS else f"flush map {_T} {name}"
    text = ", ".join(dict.fromkeys(elements))
    if text:
        yield f"add element {_T} {name} {{ {text} }}"


_PLAIN_SETS = frozenset({"lan", "wan", "lan6", "bans4", "bans6"})


def _address_chain(name: str, address: IPAddress, scopes: tuple[Scope, ...]) -> str:
    """The chain that an address is looked up in: one of its own where it is in several scopes."""
    if len(scopes) == 1:
        return f"{name}_{scopes[0].name}"
    return f"{name}_{str(address).replace('.', '_').replace(':', '_')}"
