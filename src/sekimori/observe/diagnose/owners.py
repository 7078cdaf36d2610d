"""Whose rules these are: the program that made a chain, by the names it gives."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from sekimori.observe.diagnose.passage import Place
from sekimori.observe.diagnose.ruleset import LEGACY, Ruleset, Table

__all__ = ["Owner", "is_iptables", "recognise"]


class Owner(StrEnum):
    """A program that keeps rules of its own; the value is its name as people write it."""

    DOCKER = "Docker"
    UFW = "ufw"
    FIREWALLD = "firewalld"
    FW4 = "fw4"
    LIBVIRT = "libvirt"
    NETAVARK = "podman (netavark)"
    KUBERNETES = "Kubernetes"
    TAILSCALE = "Tailscale"
    FAIL2BAN = "fail2ban"
    CROWDSEC = "CrowdSec"
    MINIUPNPD = "miniupnpd"
    IPTABLES = "iptables"
    """Nobody in particular: rules that were made with iptables."""
    NFT = "nftables"
    """Nobody in particular: rules that were made with nft."""


_TABLES: Final = (
    (re.compile(r"firewalld$"), Owner.FIREWALLD),
    (re.compile(r"fw4$"), Owner.FW4),
    (re.compile(r"libvirt_network$"), Owner.LIBVIRT),
    (re.compile(r"netavark$"), Owner.NETAVARK),
    (re.compile(r"docker-bridges$"), Owner.DOCKER),
    (re.compile(r"kube-proxy$"), Owner.KUBERNETES),
    (re.compile(r"f2b-table$"), Owner.FAIL2BAN),
    (re.compile(r"crowdsec"), Owner.CROWDSEC),
    (re.compile(r"miniupnpd$"), Owner.MINIUPNPD),
)
"""Tables that one program has to itself."""

_CHAINS: Final = (
    (re.compile(r"ufw6?-"), Owner.UFW),
    (re.compile(r"DOCKER(-|$)"), Owner.DOCKER),
    (re.compile(r"LIBVIRT_"), Owner.LIBVIRT),
    (re.compile(r"NETAVARK[-_]"), Owner.NETAVARK),
    (re.compile(r"CNI-"), Owner.NETAVARK),
    (re.compile(r"(KUBE|CALI|cali|FLANNEL)-"), Owner.KUBERNETES),
    (re.compile(r"ts-(input|forward|postrouting)$"), Owner.TAILSCALE),
    (re.compile(r"f2b-"), Owner.FAIL2BAN),
    (re.compile(r"CROWDSEC"), Owner.CROWDSEC),
    (re.compile(r"MINIUPNPD"), Owner.MINIUPNPD),
)
"""Chains that programs put into the tables that all users of iptables share."""

_MAKE_POLICY: Final = (
    ("FORWARD", re.compile(r"ufw6?-before-"), Owner.UFW),
    ("INPUT", re.compile(r"ufw6?-before-"), Owner.UFW),
    ("FORWARD", re.compile(r"DOCKER-USER$"), Owner.DOCKER),
)
"""Built-in chains, and the chains whose owner sets the policy there; with both, ufw's comes back at boot."""

_IPTABLES_TABLES: Final = frozenset({"filter", "nat", "mangle", "raw", "security"})
_BUILT_IN: Final = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})


def recognise(ruleset: Ruleset, place: Place) -> Owner:
    """Who made the rule, or who set the policy."""
    for pattern, owner in _TABLES:
        if pattern.match(place.table):
            return owner
    for pattern, owner in _CHAINS:
        if pattern.match(place.chain):
            return owner
    table = ruleset.table(place.family, place.table)
    if table is None or not is_iptables(table):
        return Owner.NFT
    for chain, pattern, owner in _MAKE_POLICY if place.handle == 0 else ():
        if place.chain == chain and any(pattern.match(name) for name in table.chains):
            return owner
    return Owner.IPTABLES


def is_iptables(table: Table) -> bool:
    """Whether iptables keeps the table: its names are those that x_tables gives, in capitals."""
    bases = {chain.name for chain in table.bases}
    return (
        table.family in ("ip", "ip6")
        and table.name.removesuffix(LEGACY) in _IPTABLES_TABLES
        and bases <= _BUILT_IN
    )
