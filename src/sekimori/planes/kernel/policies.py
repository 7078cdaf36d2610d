"""Who may come in by a mapping, how much, and what sets one off: chains as nftables text.

A policy chain is asked for new flows only, before DNAT. It drops, or it returns. Mappings that admit the
same sources and limit nothing share one chain.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from sekimori.model.address import IPNetwork
from sekimori.model.limits import Limits, Rate
from sekimori.model.mapping import Mapping, Trigger
from sekimori.model.source import LAN, LAN_PREFIXES
from sekimori.planes.kernel.frame import TABLE
from sekimori.reconcile.ports import Wanted

__all__ = [
    "FIRST",
    "LAN_POLICY",
    "MOST_SOURCES",
    "Policy",
    "chain_of",
    "name_sources",
    "policy_of",
    "sources_policy",
    "trigger_rules",
    "trigger_text",
]

_T = f"inet {TABLE}"
FIRST = "ct status ! confirmed"
"""The first packet of a flow. `ct state new` are all until one is answered: each datagram of a stream that
only goes in would count as a flow."""
LAN_POLICY = "src_lan"
"""The chain that admits `model.source.LAN_PREFIXES`; it is always there."""

_LAN_ONLY = (LAN,)
MOST_SOURCES = 65_536
"""Sources that a per-source rate remembers. One that finds no room is dropped: full is closed, not open."""
_LOG = "limit rate 5/second burst 10 packets log"
_UNITS = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}


@dataclass(frozen=True, slots=True)
class Policy:
    """The chain of one mapping's policy.

    Attributes:
        chain: its name.
        text: the commands that make it, all idempotent.
        chains: itself and those it leads to.
        sets: the sets it brings with it.
    """

    chain: str
    text: str
    chains: tuple[str, ...]
    sets: tuple[str, ...]


def chain_of(wanted: Wanted) -> str | None:
    """The name of the chain that `policy_of` makes; asked for with every element of every mapping."""
    mapping, sources = wanted.mapping, wanted.sources
    limits = mapping.limits
    if mapping.log or limits.per_source or limits.total or limits.connections:
        return f"pol_{mapping.id}"
    if sources is None:
        return None
    if mapping.sources.lists == _LAN_ONLY and not mapping.sources.prefixes:
        return LAN_POLICY
    return f"src_{name_sources(sources)}"


def policy_of(wanted: Wanted) -> Policy | None:
    """The policy that a mapping's terms ask for; None where anyone may come in, as often as they like."""
    chain = chain_of(wanted)
    if chain is None:
        return None
    if chain.startswith("pol_"):
        return _own_policy(wanted.mapping, wanted.sources)
    assert wanted.sources is not None
    return sources_policy(LAN_PREFIXES if chain == LAN_POLICY else wanted.sources)


_known: dict[int, tuple[tuple[IPNetwork, ...], str]] = {}
_MOST_KNOWN = 4096


def name_sources(sources: tuple[IPNetwork, ...]) -> str:
    """A short name for a list of prefixes, the same for the same ones.

    It is asked for with every element. Few tuples serve all mappings (`Desired`), and to hash one of ten
    prefixes takes 6 µs: so a value is known by where it is, and kept, so that no other gets there.
    """
    found = _known.get(id(sources))
    if found is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        found = _known[id(sources)] = sources, _stem_of(sources)
    return found[1]


@lru_cache(maxsize=4096)
def _stem_of(sources: tuple[IPNetwork, ...]) -> str:
    if sources == LAN_PREFIXES:
        return "lan"
    joined = ",".join(sorted(map(str, sources)))
    return hashlib.blake2s(joined.encode(), digest_size=8).hexdigest()


@lru_cache(maxsize=4096)
def sources_policy(sources: tuple[IPNetwork, ...]) -> Policy:
    """The shared chain that admits these prefixes and drops everybody else."""
    chain = f"src_{name_sources(sources)}"
    lines = [f"add chain {_T} {chain}", f"flush chain {_T} {chain}"]
    sets: list[str] = []
    for family, word in ((4, "ip"), (6, "ip6")):
        prefixes = _collapse(each for each in sources if each.version == family)
        if prefixes:
            name = f"{chain}_{family}"
            sets.append(name)
            kind = "ipv4_addr" if family == 4 else "ipv6_addr"
            lines += (
                f"add set {_T} {name} {{ type {kind} ; flags interval ; }}",
                f"flush set {_T} {name}",
                f"add element {_T} {name} {{ {', '.join(prefixes)} }}",
                f"add rule {_T} {chain} {word} saddr @{name} return",
            )
    lines.append(f"add rule {_T} {chain} counter drop")
    return Policy(chain, "\n".join(lines) + "\n", (chain,), tuple(sets))


def _collapse(prefixes: Iterable[IPNetwork]) -> list[str]:
    """Elements of an interval set may not overlap."""
    return [str(each) for each in ipaddress.collapse_addresses(list(prefixes))]  # type: ignore[type-var]


def _own_policy(mapping: Mapping, sources: tuple[IPNetwork, ...] | None) -> Policy:
    chain = f"pol_{mapping.id}"
    lines: list[str] = []
    rules: list[str] = []
    sets: list[str] = []
    chains = [chain]
    if sources is not None:
        shared = sources_policy(sources)
        chains.append(shared.chain)
        lines.append(shared.text)
        sets += shared.sets
        rules.append(f"jump {shared.chain}")
    limits = mapping.limits
    if limits.per_source is not None:
        for family in (4, 6):
            name = f"{chain}_{family}_{limits.per_source.count}_{limits.per_source.seconds}"
            sets.append(name)
            lines.append(_meter_set(name, family, limits.per_source))
            rules += _meter_rules(name, family, limits.per_source)
    for what, limit in _limits_of_all(limits):
        name = f"{chain}_{what}"
        sets.append(name)
        lines.append(f"add set {_T} {name} {{ type ct_dir ; flags dynamic ; size 2 ; }}")
        rules.append(f"add @{name} {{ ct direction {limit} }} counter drop")
    if mapping.log:
        rules.append(f'{_LOG} prefix "sekimori {mapping.name}: "')
    lines += (f"add chain {_T} {chain}", f"flush chain {_T} {chain}")
    lines += (f"add rule {_T} {chain} {rule}" for rule in rules)
    return Policy(chain, "\n".join(lines) + "\n", tuple(chains), tuple(sets))


def _limits_of_all(limits: Limits) -> Iterator[tuple[str, str]]:
    """What the set of a limit on all sources together is called, and the limit.

    What a limit remembers must outlive the rule, which is made anew with every change of the terms and after
    others changed the ruleset; so it stands in a set, under the one key that every newcomer has. A changed
    limit has a set of its own, for an element keeps the limit that it was made with.
    """
    if limits.connections is not None:
        yield f"open_{limits.connections}", f"ct count over {limits.connections}"
    if limits.total is not None:
        yield (
            f"all_{limits.total.count}_{limits.total.seconds}",
            f"limit rate over {_rate(limits.total)}",
        )


def _meter_set(name: str, family: int, rate: Rate) -> str:
    kind = "ipv4_addr" if family == 4 else "ipv6_addr"
    # What was not seen for two periods has its whole burst again, so it may be forgotten.
    flags = f"flags dynamic,timeout ; timeout {2 * rate.seconds}s ; size {MOST_SOURCES}"
    return f"add set {_T} {name} {{ type {kind} ; {flags} ; }}"


def _meter_rules(name: str, family: int, rate: Rate) -> Iterator[str]:
    # One host of IPv6 has a /64 to choose its addresses from (RFC 6177), so a /64 is one source.
    source = "ip saddr" if family == 4 else "ip6 saddr and ffff:ffff:ffff:ffff::"
    yield f"update @{name} {{ {source} limit rate over {_rate(rate)} }} counter drop"
    yield f"{source} != @{name} counter drop"


def _rate(rate: Rate) -> str:
    """A token bucket that holds what may come at once, and fills at the rate (nft(8), LIMIT STATEMENT)."""
    return f"{rate.count}/{_UNITS[rate.seconds]} burst {rate.count} packets"


def trigger_text(mapping_id: str, trigger: Trigger, policy: str | None) -> str:
    """The sets and chains of one trigger; `policy` is the chain of who may come in (`chain_of`).

    In IPv4 the first host that sets it off owns it, until `hold` seconds passed without an outbound packet
    of its own: an owner renews, others are not even added. In IPv6 each host has an address of its own, so
    each has its opening.
    """
    hold = f"timeout {trigger.hold}s ; size 64"
    town, mine, busy, six = (f"{stem}_{mapping_id}" for stem in ("town", "tmine", "tbusy", "tsix"))
    learn, send, admit = (f"{stem}_{mapping_id}" for stem in ("tlearn", "tsend", "tadmit"))
    flags = "flags dynamic,timeout"
    lines = [
        f"add map {_T} {town} {{ type nf_proto : ipv4_addr ; {flags} ; {hold} ; }}",
        f"add set {_T} {mine} {{ type ipv4_addr ; {flags} ; {hold} ; }}",
        f"add set {_T} {busy} {{ type nf_proto ; {flags} ; {hold} ; }}",
        f"add set {_T} {six} {{ type ipv6_addr ; {flags} ; timeout {trigger.hold}s ; size 4096 ; }}",
    ]
    for chain in (learn, send, admit):
        lines += (f"add chain {_T} {chain}", f"flush chain {_T} {chain}")
    # A set keeps the timeout it was made with, so elements bring theirs: the hold may change.
    lasting = f"timeout {trigger.hold}s"
    protocol, host = f"meta nfproto {lasting}", f"ip saddr {lasting}"
    own = f"{protocol} : ip saddr"
    lines += (
        f"add rule {_T} {learn} ip saddr @{mine} update @{busy} {{ {protocol} }} "
        f"update @{town} {{ {own} }} update @{mine} {{ {host} }} return",
        f"add rule {_T} {learn} meta nfproto ipv4 meta nfproto != @{busy} add @{busy} {{ {protocol} }} "
        f"add @{town} {{ {own} }} add @{mine} {{ {host} }}",
        f"add rule {_T} {learn} meta nfproto ipv6 update @{six} {{ ip6 saddr {lasting} }}",
        f"add rule {_T} {send} meta nfproto @{busy} meta l4proto . th dport @trigfresh",
        f"add rule {_T} {send} dnat ip to meta nfproto map @{town}",
        # In IPv6 only this chain knows whether a packet is for the mapping, so it asks who may itself.
        f"add rule {_T} {admit} ip6 daddr != @{six} return",
    )
    if policy is not None:
        lines += (
            f"add chain {_T} {policy}",
            f"add rule {_T} {admit} {FIRST} jump {policy}",
        )
    lines += (
        f"add rule {_T} {admit} {FIRST} meta l4proto . th dport @trigfresh",
        f"add rule {_T} {admit} meta l4proto . th dport @trigin6 goto admit",
    )
    return "\n".join(lines) + "\n"


def trigger_rules(mapping_id: str, trigger: Trigger) -> Iterator[str]:
    """The rules of the chain `triggers` that one trigger listens by."""
    for span in trigger.ports:
        yield f"meta l4proto {span.protocol} th dport {span.ports} jump tlearn_{mapping_id}"
