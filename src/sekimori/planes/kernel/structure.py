"""The table's structure as nftables text: sets, chains, and rules; everything but the elements of mappings.

The text is idempotent: sets that are there keep their elements, chains are filled anew in the same
transaction. So the same text makes the table, brings it to other facts, and mends one that was damaged.

A hook costs every packet of the machine 40 ns, a rule 25 and a look-up that counts 60 (Linux 6.18), and
packets of flows that stand are nearly all there are. So a chain is hooked only while it has something to do;
what is done for new flows is behind one question; and what there is one of (address, interface) is compared,
not looked up.

Why it has this shape, by hooks in the order a packet from outside meets them:

- `guard`, before conntrack: banned sources cost one look-up.
- `inbound`, before DNAT, where the destination is still the outside address and port: flows that stand are
  counted and leave; a first packet is asked for who may, then counted. A flow that a mapping admits gets a
  label, which the firewall goes by: a permit is thereby bound to exactly its mapping, however the packet is
  rewritten later.
- `dstnat`: the WAN address picks a chain (one rule, or `natw4`), so no mapping has the address in it and
  transit traffic is never caught; hairpin needs no rule of its own, for packets from the LAN take the same
  way.
- `forward`, `input`: the firewall, where it is enabled.
- `srcnat`: hairpin, symmetric outbound, masquerade.
- `outbound`, after NAT was undone: what is counted the other way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from sekimori.model.address import IPAddress, IPNetwork
from sekimori.planes.kernel.bans import keep_apart
from sekimori.planes.kernel.firewall import FORWARD_RULES, INPUT_RULES
from sekimori.planes.kernel.frame import DMZ_LABEL, FORWARD_LABEL, PERMIT_LABEL, TABLE, Frame, Scope
from sekimori.planes.kernel.holes import HOLE_CHAINS
from sekimori.planes.kernel.killing import ENDED_CHAIN, ENDED_SETS, TO_ENDED
from sekimori.planes.kernel.lines import mark_flows, mark_replies
from sekimori.planes.kernel.policies import FIRST
from sekimori.planes.kernel.sets import all_sets
from sekimori.planes.kernel.thrift import in_use

__all__ = ["GATEWAY_CHAIN", "HOOKS", "chain_names", "hooked", "keeper_text", "structure_text"]

GATEWAY_CHAIN = "gateway"
"""An empty chain that is there while the gateway is enabled: so an interrupted disable is seen later."""

_T = f"inet {TABLE}"

HOOKS: Final = {
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
"""Chains with a hook, by name; those of type nat are there as long as the table, for established flows need
theirs, the others while they have something to do (`hooked`)."""

_WAN_MAPS: Final = ("gatew", "inw", "standw", "natw", "outw")
"""Maps from a WAN address to the chain that looks packets to (or from) it up, each for IPv4 and IPv6."""

_ENTER: Final = {name: "jump" if name == "gatew" else "goto" for name in _WAN_MAPS}
"""Who may is asked first, and returns; behind a `goto` nothing more of the calling chain is read."""


def structure_text(frame: Frame) -> str:
    """All of the table but the elements of mappings, as one transaction."""
    bases = hooked(frame)
    lines = [f"add table {_T}", *_declarations(frame, bases)]
    plain = ((name, in_use(rules, frame.used)) for name, rules in _plain_chains(frame))
    for name, rules in (*plain, *bases.items()):
        lines.append(f"flush chain {_T} {name}")
        lines += (f"add rule {_T} {name} {rule}" for rule in rules)
    lines += _facts(frame)
    return "\n".join(lines) + "\n"


def chain_names(frame: Frame) -> tuple[str, ...]:
    """The chains that `structure_text` makes."""
    return (*hooked(frame), *(name for name, _ in _plain_chains(frame)), *_filled_elsewhere(frame))


def hooked(frame: Frame) -> Mapping[str, tuple[str, ...]]:
    """The chains with a hook that have something to do, each with its rules."""
    found: dict[str, tuple[str, ...]] = {}
    for name, rules in _base_chains(frame):
        kept = tuple(in_use(rules, frame.used))
        if kept or HOOKS[name].startswith("nat "):
            found[name] = kept
    return found


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


def _declarations(frame: Frame, bases: Iterable[str]) -> Iterator[str]:
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
    for name in bases:
        yield f"add chain {_T} {name} {{ type {HOOKS[name]} ; policy accept ; }}"
    for name, _ in _plain_chains(frame):
        yield f"add chain {_T} {name}"
    for name in _filled_elsewhere(frame):
        yield f"add chain {_T} {name}"


def _base_chains(frame: Frame) -> Iterator[tuple[str, tuple[str, ...]]]:
    lan, wan = _interfaces(frame)
    to_lead = tuple(_by_wan(frame, "natw", "daddr"))
    yield "guard", tuple(_refuse_banned(frame))
    yield "wanmark", tuple(mark_flows(frame))
    # The control connection names the GRE call (RFC 2637), so conntrack must read it to translate that.
    yield "helpers", ('ct state new tcp dport 1723 ct helper set "pptp"',) if frame.pptp else ()
    yield "wanmark_out", tuple(mark_replies(frame))
    yield (
        "inbound",
        (
            "ct direction reply accept",
            *_by_wan(frame, "standw", "daddr", "ct status confirmed "),
            f"{FIRST} jump newcomers",
            f"ip6 daddr @lan6 iifname != {lan} goto holes",
        ),
    )
    yield "ended_out", ("ct direction reply accept", TO_ENDED)
    yield "dstnat", to_lead
    yield "dstnat_out", to_lead
    yield (
        "forward",
        (f"iifname {lan} oifname {wan} jump triggers", *(FORWARD_RULES if frame.firewall else ())),
    )
    yield "input", INPUT_RULES if frame.firewall else ()
    yield "srcnat", tuple(_translate(frame))
    yield "outbound", tuple(_count_out(frame))


def _newcomers(frame: Frame) -> Iterator[str]:
    """What is done with the first packet of a flow only."""
    yield TO_ENDED
    yield from _by_wan(frame, "gatew", "daddr")
    yield f"ip6 daddr @lan6 iifname != {_interfaces(frame)[0]} jump holegates"
    yield from _by_wan(frame, "inw", "daddr")


def _count_out(frame: Frame) -> Iterator[str]:
    rules = tuple(in_use((*_by_wan(frame, "outw", "saddr"), "ip6 saddr @lan6 goto holesout"), frame.used))
    if len(rules) == 1:
        yield f"ct direction reply {rules[0]}"
    elif rules:
        yield "ct direction original accept"
        yield from rules


def _by_wan(frame: Frame, name: str, side: str, condition: str = "") -> Iterator[str]:
    """The rules that send packets from or to a WAN address to the chain of that address."""
    for version, word in ((4, "ip"), (6, "ip6")):
        found = {address: scopes for _, address, scopes in frame.outside() if address.version == version}
        if len(found) == 1:
            [(address, scopes)] = found.items()
            # The address first: most of what is not for it leaves there.
            leads_to = f"{_ENTER[name]} {_address_chain(name, address, scopes)}"
            yield f"{word} {side} {address} {condition}{leads_to}"
        elif found:
            yield f"{condition}{word} {side} vmap @{name}{version}"


def _interfaces(frame: Frame) -> tuple[str, str]:
    """How rules name the interfaces of the LANs and of the WANs."""
    network = frame.network
    lans, wans = ({each.interface for each in places} for places in (network.lans, network.wans))
    return (
        f'"{min(lans)}"' if len(lans) == 1 else "@lan",
        f'"{min(wans)}"' if len(wans) == 1 else "@wan",
    )


def _refuse_banned(frame: Frame) -> Iterator[str]:
    # Every packet of the machine passes here, so that nobody is banned costs nothing.
    for family, word in ((4, "ip"), (6, "ip6")):
        if any(ban.prefix.version == family for ban in frame.bans):
            yield f"{word} saddr @bans{family} counter drop"


def _plain_chains(frame: Frame) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Chains without a hook."""
    # Packets of flows that stand come to pinholes too.
    yield "admit", ("ct status confirmed accept", f"ct label set {FORWARD_LABEL} accept")
    yield "admit_own", (f"ct label set {PERMIT_LABEL} accept",)
    yield "admit_dmz", (f"ct label set {DMZ_LABEL} accept",)
    yield "newcomers", tuple(_newcomers(frame))
    for scope in frame.all_scopes:
        yield from _scope_gates(scope)
        yield from _scope_leads(scope)
    yield from HOLE_CHAINS
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
    """Who may come in; what is counted and labelled of new flows; what is counted of flows that stand."""
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
            f"jump fresh_{s}",
            f"{here} @in_{s} goto admit",
            f"{here} @own_{s} goto admit_own",
            f"{here} @inr_{s} goto admit",
            f"{here} @ownr_{s} goto admit_own",
            f"meta l4proto @inp_{s} goto admit",
            f"meta l4proto @ownp_{s} goto admit_own",
            f"meta nfproto ipv4 meta l4proto != icmp iifname != @lan goto dmz_{s}",
        ),
    )
    yield (
        f"standw_{s}",
        (
            f"{here} @in_{s} accept",
            f"{here} @own_{s} accept",
            f"{here} @inr_{s} accept",
            f"{here} @ownr_{s} accept",
            f"meta l4proto @inp_{s} accept",
            f"meta l4proto @ownp_{s} accept",
            f"ct label {DMZ_LABEL} meta nfproto @dmzin_{s} accept",
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
            f"jump dmzpol_{s}",
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


def _translate(frame: Frame) -> Iterator[str]:
    lan, wan = _interfaces(frame)
    for each in frame.network.lans:
        # A host that reaches its own LAN by the outside address must see the answer come from there.
        yield f'iifname "{each.interface}" oifname "{each.interface}" ct status dnat masquerade'
    yield (
        f"oifname {wan} meta l4proto {{ tcp, udp, sctp }} "
        "masquerade to : meta l4proto . ip saddr . th sport map @sym4"
    )
    if frame.masquerade:
        yield f"meta nfproto ipv4 oifname {wan} iifname {lan} masquerade"


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
