"""The doctor: what would drop, steal or bypass the packets of a mapping on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from sekimori.model.address import IPAddress, IPNetwork
from sekimori.model.mapping import Mapping as Opening
from sekimori.model.network import Network
from sekimori.observe.diagnose.findings import Confidence, Finding, Severity, finding, judge
from sekimori.observe.diagnose.machine import Machine
from sekimori.observe.diagnose.passage import Verdict
from sekimori.observe.diagnose.probe import Probe, Way
from sekimori.observe.diagnose.probes import ends_here, is_outside, probes_of
from sekimori.observe.diagnose.walk import walk

__all__ = ["BRIDGE_NF", "diagnose", "diagnose_probes"]

_FORWARDING: Final = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
BRIDGE_NF: Final = "bridge-nf"
"""The code of a finding about the machine, not about the mapping that it is seen by."""

_BRIDGE_NF: Final = {4: "net.bridge.bridge-nf-call-iptables", 6: "net.bridge.bridge-nf-call-ip6tables"}
_STRICT: Final = 1
_ORDER: Final = (Severity.ERROR, Severity.WARNING, Severity.NOTICE)


def diagnose(
    mapping: Opening,
    targets: Sequence[IPAddress],
    network: Network,
    machine: Machine,
    named: Mapping[str, tuple[IPNetwork, ...]] | None = None,
) -> list[Finding]:
    """Everything on this machine that keeps a mapping from working, the worst first.

    Args:
        mapping: as in the ledger; whether it is open now plays no part.
        targets: the numeric addresses it leads to now.
        network: the machine's place in the network.
        machine: its rulesets and settings (`facts.read_machine`).
        named: the lists of sources.
    """
    probes = list(probes_of(mapping, targets, network, named or {}))
    found = [*_missing(mapping, targets, network), *diagnose_probes(probes, network, machine)]
    return sorted(found, key=lambda each: _ORDER.index(each.severity))


def diagnose_probes(probes: Iterable[tuple[str, Probe]], network: Network, machine: Machine) -> list[Finding]:
    """The same for packets given one by one, each with what it is called."""
    found: dict[tuple[object, ...], Finding] = {}
    for subject, probe in probes:
        for each in (*_settings(subject, probe, network, machine), *_rules(subject, probe, machine)):
            place = each.evidence and (each.evidence.table, each.evidence.chain, each.evidence.handle)
            found.setdefault((each.code, each.subject, place, each.title["en"]), each)
    return list(found.values())


def _rules(subject: str, probe: Probe, machine: Machine) -> Iterator[Finding]:
    passage = walk(machine.ruleset, probe)
    yield from judge(passage, machine.ruleset, subject)
    if passage.verdict in (Verdict.PASSES, Verdict.MAY_DROP):
        back = walk(machine.ruleset, replace(probe, reply=True))
        yield from judge(back, machine.ruleset, subject)
    if machine.hidden:
        yield finding("fw-hidden", Severity.WARNING, Confidence.POSSIBLE, subject)


def _settings(subject: str, probe: Probe, network: Network, machine: Machine) -> Iterator[Finding]:
    version = probe.destination.version
    if probe.way is Way.FORWARD:
        if not (network.forwarding4 if version == 4 else network.forwarding6):
            name = _FORWARDING[version]
            yield finding(
                "forwarding-off", Severity.ERROR, Confidence.CERTAIN, subject, version=version, name=name
            )
        hairpin = probe.nat is not None and probe.oif in machine.bridges
        if hairpin and machine.sysctls.get(_BRIDGE_NF[version]) == "1":
            setting = _BRIDGE_NF[version]
            # It is about the bridge, whichever of the mappings it is seen by.
            yield finding(BRIDGE_NF, Severity.WARNING, Confidence.LIKELY, probe.oif, name=setting)
    yield from _reverse_path(subject, probe, network, machine.sysctls)


def _reverse_path(
    subject: str, probe: Probe, network: Network, sysctls: Mapping[str, str]
) -> Iterator[Finding]:
    """Strict filtering on a WAN that the way back does not leave by; the kernel takes the greater of the
    interface's value and that of `all` (Documentation/networking/ip-sysctl.rst).
    """
    other = bool(network.wans) and probe.iif != network.wans[0].interface
    if probe.destination.version != 4 or not other:
        return
    name = f"net.ipv4.conf.{probe.iif}.rp_filter"
    if max(int(sysctls.get(each, 0)) for each in (name, "net.ipv4.conf.all.rp_filter")) == _STRICT:
        yield finding(
            "rp-filter-strict", Severity.ERROR, Confidence.LIKELY, subject, interface=probe.iif, name=name
        )


def _missing(mapping: Opening, targets: Sequence[IPAddress], network: Network) -> Iterator[Finding]:
    """Families that the mapping leads to and that have no address outside.

    It is an error where none has; a target of both families is reached by the other one. What is open on
    an address inside only is not meant to be reached from outside.
    """
    outside = {address.version for wan in network.wans for address in wan.addresses}
    if ends_here(mapping):
        versions = set() if outside else {4}
    else:
        versions = {each.version for each in targets} if targets else {4}
    if not is_outside(mapping.on, network):
        return
    # A pinhole needs a line with IPv6, which may have a link-local address only.
    outside |= {6} if any(wan.has6 for wan in network.wans) else set()
    lacking = versions - outside
    for version in sorted(lacking):
        severity = Severity.ERROR if lacking == versions else Severity.NOTICE
        subject = ",".join(map(str, mapping.claims))
        yield finding("no-wan-address", severity, Confidence.CERTAIN, subject, version=version)
