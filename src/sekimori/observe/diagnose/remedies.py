"""The supported way through each firewall, as a remedy.

Each accepts no more than what destination NAT has sent inside (conntrack status `dnat`), from the WAN to
the LAN at hand, and the answers; a pinhole of IPv6, which has no NAT, is accepted by its address and port.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sekimori.observe.diagnose.owners import Owner, is_iptables
from sekimori.observe.diagnose.passage import Place
from sekimori.observe.diagnose.probe import Probe, Way
from sekimori.observe.diagnose.remedies_words import EXPLAINS
from sekimori.observe.diagnose.remedy import Command, Edit, Remedy
from sekimori.observe.diagnose.ruleset import LEGACY, Chain, Ruleset

__all__ = ["find_remedy"]

_POLICY: Final = {Way.FORWARD: "sekimori-forward", Way.INPUT: "sekimori-input"}
_WITH_PORTS: Final = frozenset({"tcp", "udp", "sctp"})


def find_remedy(owner: Owner, place: Place, probe: Probe, ruleset: Ruleset) -> Remedy | None:
    """How to have the packets of `probe` pass where `place` keeps them back; None when no way is known."""
    build = _BUILDERS.get(owner)
    return None if build is None else build(place, probe, ruleset)


def _docker(place: Place, probe: Probe, ruleset: Ruleset) -> Remedy | None:
    """DOCKER-USER, the administrator's (docs.docker.com/engine/network/packet-filtering-firewalls)."""
    table = ruleset.table(place.family, place.table)
    chain = table.chains.get("DOCKER-USER") if table is not None else None
    if chain is None or probe.way is not Way.FORWARD:
        return None
    return Remedy(Owner.DOCKER, _iptables_rules(place, chain, _end_of(chain), probe), EXPLAINS["docker"])


def _iptables(place: Place, probe: Probe, ruleset: Ruleset) -> Remedy | None:
    """A rule right before the one that keeps the packet back, or at the end of a chain whose policy does."""
    table = ruleset.table(place.family, place.table)
    chain = table.chains.get(place.chain) if table is not None else None
    if (
        table is None
        or chain is None
        or not is_iptables(table)
        or table.name.removesuffix(LEGACY) != "filter"
    ):
        return None
    handles = [each.handle for each in chain.rules]
    position = handles.index(place.handle) + 1 if place.handle in handles else len(handles) + 1
    return Remedy(Owner.IPTABLES, _iptables_rules(place, chain, position, probe), EXPLAINS["iptables"])


def _end_of(chain: Chain) -> int:
    """The number a rule gets at the end, before a RETURN for all: after whatever the administrator drops."""
    last = chain.rules[-1] if chain.rules else None
    kinds = {each.kind for each in last.statements} - {"counter"} if last is not None else set()
    return len(chain.rules) + (0 if kinds == {"return"} else 1)


def _iptables_rules(place: Place, chain: Chain, position: int, probe: Probe) -> tuple[Command, ...]:
    tool = "iptables" if probe.destination.version == 4 else "ip6tables"
    tool += "-legacy" if place.table.endswith(LEGACY) else ""
    commands = []
    for match in _iptables_matches(probe):
        rule = (*match, "-m", "comment", "--comment", "sekimori", "-j", "ACCEPT")
        do, undo, done = (
            (tool, "-w", "5", *action, *rule)
            for action in (("-I", chain.name, str(position)), ("-D", chain.name), ("-C", chain.name))
        )
        commands.append(Command(do, undo, done))
    return tuple(commands)


def _iptables_matches(probe: Probe) -> list[tuple[str, ...]]:
    """The way in and the way back."""
    if probe.way is Way.INPUT:
        return [("-i", probe.iif, "-p", probe.protocol, *_port("--dport", probe))]
    there, back = ("-i", probe.iif, "-o", probe.oif), ("-i", probe.oif, "-o", probe.iif)
    if probe.nat is not None:
        dnat = ("-m", "conntrack", "--ctstate", "DNAT")
        return [(*there, *dnat), (*back, *dnat, "--ctdir", "REPLY")]
    address, reply = str(probe.target), ("-m", "conntrack", "--ctstate", "ESTABLISHED", "--ctdir", "REPLY")
    return [
        (*there, "-d", address, "-p", probe.protocol, *_port("--dport", probe)),
        (*back, "-s", address, "-p", probe.protocol, *_port("--sport", probe), *reply),
    ]


def _port(option: str, probe: Probe) -> tuple[str, ...]:
    return (option, str(probe.target_port)) if _has_port(probe) else ()


def _has_port(probe: Probe) -> bool:
    return probe.protocol in _WITH_PORTS and probe.target_port is not None


def _ufw(_place: Place, probe: Probe, _ruleset: Ruleset) -> Remedy | None:
    """after.rules (ufw-framework(8)) knows `ctstate DNAT`; for one exact port the command line does."""
    if probe.way is Way.FORWARD and probe.nat is not None:
        text = (
            f"-A ufw-after-forward -i {probe.iif} -o {probe.oif} -m conntrack --ctstate DNAT "
            "-m comment --comment sekimori -j ACCEPT"
        )
        tag = f"{probe.iif} {probe.oif}"
        path = f"/etc/ufw/after{'' if probe.destination.version == 4 else '6'}.rules"
        edit = Edit(path, text, tag, section="*filter")
        return Remedy(
            Owner.UFW, (Command(("ufw", "reload"), ("ufw", "reload")),), EXPLAINS["ufw-dnat"], (edit,)
        )
    if not _has_port(probe) or probe.protocol not in ("tcp", "udp"):
        return None
    port = ("proto", probe.protocol, "to", str(probe.target), "port", str(probe.target_port))
    if probe.way is Way.INPUT:
        rule: tuple[str, ...] = ("allow", "in", "on", probe.iif, *port)
        forms = [("ufw", *rule, "comment", "sekimori"), ("ufw", "delete", *rule)]
    else:
        rule = ("allow", "in", "on", probe.iif, "out", "on", probe.oif, *port)
        forms = [("ufw", "route", *rule, "comment", "sekimori"), ("ufw", "route", "delete", *rule)]
    return Remedy(Owner.UFW, (Command(*forms),), EXPLAINS["ufw-port"])


def _firewalld(_place: Place, probe: Probe, _ruleset: Ruleset) -> Remedy | None:
    """A policy (firewalld.policies(5)) between zones; rules in it are by address and port."""
    if not _has_port(probe):
        return None
    policy, egress = _POLICY[probe.way], "ANY" if probe.way is Way.FORWARD else "HOST"
    permanent = ("firewall-cmd", "--permanent")
    rule = (
        f'rule family="ipv{probe.destination.version}" destination address="{probe.target}" '
        f'port port="{probe.target_port}" protocol="{probe.protocol}" accept'
    )
    change = (*permanent, f"--policy={policy}")
    listing = (*change, "--list-rich-rules")
    known = ("firewall-cmd", f"--info-policy={policy}")
    return Remedy(
        Owner.FIREWALLD,
        (
            Command(
                (*permanent, f"--new-policy={policy}"),
                (*permanent, f"--delete-policy={policy}"),
                (*permanent, f"--info-policy={policy}"),
                spare=listing,
            ),
            Command((*change, "--add-ingress-zone=ANY"), (), (*change, "--query-ingress-zone=ANY")),
            Command((*change, f"--add-egress-zone={egress}"), (), (*change, f"--query-egress-zone={egress}")),
            *_firewalld_rule(change, rule),
            # A policy is there only after a reload; a rule in one that is there needs none.
            Command(("firewall-cmd", "--reload"), (), known),
            *_firewalld_rule(("firewall-cmd", f"--policy={policy}"), rule),
        ),
        EXPLAINS["firewalld"],
    )


def _firewalld_rule(change: tuple[str, ...], rule: str) -> tuple[Command]:
    do, undo, done = ((*change, f"--{action}-rich-rule={rule}") for action in ("add", "remove", "query"))
    return (Command(do, undo, done),)


def _fw4(_place: Place, probe: Probe, _ruleset: Ruleset) -> Remedy | None:
    """An include of OpenWrt's fw4 (root/usr/share/nftables.d/README there): the head of a chain."""
    if probe.way is Way.FORWARD and probe.nat is not None:
        name, match = "sekimori", f'iifname "{probe.iif}" oifname "{probe.oif}" ct status dnat'
        name += f"-{probe.iif}-{probe.oif}"
    else:
        if not _has_port(probe):
            return None
        family = "ip" if probe.destination.version == 4 else "ip6"
        match = (
            f'iifname "{probe.iif}" {family} daddr {probe.target} {probe.protocol} dport {probe.target_port}'
        )
        name = f"sekimori-{probe.protocol}-{probe.target_port}-{str(probe.target).replace(':', '_')}"
    chain = "forward" if probe.way is Way.FORWARD else "input"
    text = f'{match} accept comment "sekimori"'
    edit = Edit(f"/usr/share/nftables.d/chain-pre/{chain}/{name}.nft", text, "include")
    return Remedy(Owner.FW4, (Command(("fw4", "reload"), ("fw4", "reload")),), EXPLAINS["fw4"], (edit,))


_BUILDERS: Final[dict[Owner, Callable[[Place, Probe, Ruleset], Remedy | None]]] = {
    Owner.DOCKER: _docker,
    Owner.IPTABLES: _iptables,
    Owner.UFW: _ufw,
    Owner.FIREWALLD: _firewalld,
    Owner.FW4: _fw4,
}
