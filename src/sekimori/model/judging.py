"""What the facts at hand say of a line. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from sekimori.model.address import IPAddress
from sekimori.model.addresskind import AddressKind, kind_of
from sekimori.model.behaviour import Behaviour, FilteringBehaviour, MappingBehaviour, Seen
from sekimori.model.causes import Text, cause
from sekimori.model.finding import Confidence
from sekimori.model.line import Answer, Fact, FactName, Inbound, Inputs, Line, Look, main_address4
from sekimori.model.linesettings import Firewall6
from sekimori.model.mapset import PortSet, find_share

__all__ = ["judge"]

_CERTAIN, _LIKELY, _POSSIBLE = Confidence.CERTAIN, Confidence.LIKELY, Confidence.POSSIBLE
_ARRIVAL_COUNTS: Final = 86400.0
"""Seconds after which a line may have changed since something came in."""


def judge(inputs: Inputs) -> Line:
    """The line that these inputs show. Every sentence is a clause by language."""
    case = _Case(inputs)
    inbound4, inbound6 = _inbound4(case), _inbound6(case)
    facts = (
        _wan4(case),
        _own_nat(case),
        _second_router(case),
        _cgnat(case),
        _public4(case),
        _public6(case),
        *_behaviour(case),
        _port_set(case),
        _ds_lite(case),
        _global6(case),
        Fact(FactName.INBOUND4, inbound4.answer, inbound4.why, inbound4.confidence, inputs.now),
        Fact(FactName.INBOUND6, inbound6.answer, inbound6.why, inbound6.confidence, inputs.now),
    )
    wan, public = inputs.wan4 or inputs.wan6, case.public4
    return Line(
        interface=wan.interface if wan else None,
        facts=tuple(each for each in facts if each is not None),
        inbound4=inbound4,
        inbound6=inbound6,
        public4=public[0] if public else None,
        outside_ports=case.ports if case.shared and case.misfit is None else None,
    )


@dataclass(frozen=True, slots=True)
class _Shared:
    """A part of an IPv4 address that the line has, or an address for itself (`ports` None)."""

    network: IPv4Network | None
    ports: PortSet | None
    evidence: Text


class _Case:
    """What several judgements need of the inputs."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.now = inputs.now
        self.settings = inputs.settings

    @cached_property
    def address4(self) -> IPv4Address | None:
        """Our own, a public one before the others."""
        return main_address4(self.inputs.wan4) if self.inputs.wan4 else None

    @cached_property
    def kind4(self) -> AddressKind:
        return kind_of(self.address4)

    @cached_property
    def above4(self) -> IPv4Address | None:
        """The outside address of the router above."""
        address = self.inputs.above.address if self.inputs.above else None
        return address if isinstance(address, IPv4Address) and not address.is_unspecified else None

    @cached_property
    def outermost4(self) -> IPv4Address | None:
        """The outermost address that is known by itself, without a look from outside."""
        return self.above4 or self.address4

    @cached_property
    def look4(self) -> tuple[Look, Behaviour, Seen] | None:
        return self._look(self.address4)

    @cached_property
    def look6(self) -> tuple[Look, Behaviour, Seen] | None:
        addresses = self.inputs.wan6.addresses6 if self.inputs.wan6 else ()
        return next(filter(None, map(self._look, addresses)), None)

    def _look(self, local: IPAddress | None) -> tuple[Look, Behaviour, Seen] | None:
        """The look from this address that came to something, and what the first server saw."""
        for look in self.inputs.looks:
            if look.local == local and look.behaviour is not None:
                for seen in look.behaviour.seen:
                    if seen.mapped is not None:
                        return look, look.behaviour, seen
        return None

    @cached_property
    def seen4(self) -> IPv4Address | None:
        """The address that the internet sees."""
        mapped = self.look4[2].mapped if self.look4 else None
        return mapped.address if mapped and isinstance(mapped.address, IPv4Address) else None

    @cached_property
    def tunnelled(self) -> Text | None:
        """Why its IPv4 is known to be behind the carrier's NAT at the end of a tunnel."""
        for address in (self.address4, self.above4):
            if kind_of(address) is AddressKind.DS_LITE:
                return cause("line-dslite-address", address=address)
        return cause("line-dslite-said") if self.settings.ds_lite else None

    @cached_property
    def public4(self) -> tuple[IPv4Address, Text, Confidence, float] | None:
        """The address to be told to others, and how it is known."""
        if self.look4 and self.seen4:
            look, _, seen = self.look4
            return (
                self.seen4,
                cause("line-public-seen", server=seen.server, address=self.seen4),
                _CERTAIN,
                look.at,
            )
        if self.inputs.above and self.above4 and kind_of(self.above4).is_public:
            told = cause("line-public-above", protocol=self.inputs.above.protocol, address=self.above4)
            return self.above4, told, _LIKELY, self.inputs.above.at
        if self.address4 and self.kind4.is_public:
            return self.address4, cause("line-public-own", address=self.address4), _LIKELY, self.now
        network = self.shared.network if self.shared and not self.misfit and not self.tunnelled else None
        if self.shared and network is not None:
            return network.network_address, self.shared.evidence, _LIKELY, self.now
        return None

    @property
    def ports(self) -> PortSet | None:
        return self.shared.ports if self.shared else None

    @cached_property
    def shared(self) -> _Shared | None:
        """What a rule or the settings give the line."""
        found = find_share(self.settings.map_rules, self.inputs.prefixes6)
        if found is not None:
            prefix, share = found
            facts = {"prefix": prefix, "rule": share.rule.ipv6, "address": share.network}
            if share.ports is None:
                return _Shared(share.network, None, cause("line-share-whole", **facts))
            evidence = cause("line-share", **facts, psid=f"0x{share.ports.psid:x}", ports=share.ports)
            return _Shared(share.network, share.ports, evidence)
        ports = self.settings.ports
        return _Shared(None, ports, cause("line-share-said", ports=ports)) if ports else None

    @cached_property
    def misfit(self) -> Text | None:
        """What shows that the line has not what the rule gives."""
        if self.shared is None:
            return None
        network = self.shared.network
        if network is not None:
            own = self.inputs.wan4.addresses4 if self.inputs.wan4 else ()
            known = [each for each in (*own, self.above4) if each and kind_of(each).is_public]
            # One of several addresses is enough; but what the internet sees must be one of the rule's.
            wrong = next(iter(known), None) if not any(each in network for each in known) else None
            if self.seen4 is not None and self.seen4 not in network:
                wrong = self.seen4
            if wrong is not None:
                return cause("line-misfit-address", address=wrong, expected=network)
        mapped = self.look4[2].mapped if self.look4 else None
        if mapped is not None and self.shared.ports is not None and mapped.port not in self.shared.ports:
            return cause("line-misfit-port", port=mapped.port, ports=self.shared.ports)
        return None


def _wan4(case: _Case) -> Fact | None:
    wan = case.inputs.wan4
    if wan is None:
        return None
    evidence = cause(f"line-wan-{case.kind4}", interface=wan.interface, address=case.address4)
    return Fact(FactName.WAN4, case.kind4, evidence, _CERTAIN, case.now)


def _own_nat(case: _Case) -> Fact | None:
    if case.inputs.translates is None:
        return None
    if case.inputs.translates:
        return Fact(FactName.OWN_NAT, Answer.YES, cause("line-nat-own"), _CERTAIN, case.now)
    return Fact(FactName.OWN_NAT, Answer.NO, cause("line-nat-none"), _CERTAIN, case.now)


def _second_router(case: _Case) -> Fact | None:
    above, name = case.inputs.above, FactName.SECOND_ROUTER
    if case.inputs.wan4 is None:
        return None
    if above is not None:
        facts = {"protocol": above.protocol, "address": above.address or cause("line-untold")}
        return Fact(name, Answer.YES, cause("line-router-answered", **facts), _CERTAIN, above.at)
    if case.kind4 is AddressKind.PRIVATE:
        return Fact(name, Answer.YES, cause("line-router-private", address=case.address4), _LIKELY, case.now)
    if case.kind4.is_public:
        return Fact(name, Answer.NO, cause("line-router-none", address=case.address4), _LIKELY, case.now)
    return Fact(name, Answer.UNKNOWN, cause("line-router-silent"), _POSSIBLE, case.now)


def _cgnat(case: _Case) -> Fact | None:
    name, outermost, seen = FactName.CGNAT, case.outermost4, case.seen4
    if case.inputs.wan4 is None:
        return None
    if case.tunnelled is not None:
        return Fact(name, Answer.YES, case.tunnelled, _CERTAIN, case.now)
    if case.shared is not None and case.misfit is None and seen is not None:
        return Fact(name, Answer.NO, case.shared.evidence, _LIKELY, case.now)
    if kind_of(outermost) is AddressKind.SHARED:
        return Fact(name, Answer.YES, cause("line-cgnat-address", address=outermost), _LIKELY, case.now)
    if seen is None or case.look4 is None or outermost is None:
        return Fact(name, Answer.UNKNOWN, cause("line-cgnat-unasked"), _POSSIBLE, case.now)
    at, facts = case.look4[0].at, {"address": outermost, "seen": seen}
    if seen == outermost:
        return Fact(name, Answer.NO, cause("line-cgnat-same", **facts), _LIKELY, at)
    if kind_of(outermost).is_public:
        return Fact(name, Answer.YES, cause("line-cgnat-differs", **facts), _POSSIBLE, at)
    if case.above4 is None:
        # The NAT that was seen may be one's own, which does not answer.
        return Fact(name, Answer.UNKNOWN, cause("line-cgnat-untold", **facts), _POSSIBLE, at)
    return Fact(name, Answer.YES, cause("line-cgnat-beyond", **facts), _LIKELY, at)


def _public4(case: _Case) -> Fact | None:
    if case.public4 is None:
        return None
    address, evidence, confidence, at = case.public4
    return Fact(FactName.PUBLIC4, str(address), evidence, confidence, at)


def _public6(case: _Case) -> Fact | None:
    if case.look6 is None:
        return None
    look, _, seen = case.look6
    if seen.mapped is None:
        return None
    address = seen.mapped.address
    evidence = cause("line-public-seen", server=seen.server, address=address)
    return Fact(FactName.PUBLIC6, str(address), evidence, _CERTAIN, look.at)


def _behaviour(case: _Case) -> tuple[Fact, ...]:
    if case.look4 is None:
        return ()
    look, behaviour, seen = case.look4
    facts = []
    if behaviour.mapping is not MappingBehaviour.UNKNOWN:
        evidence = cause(f"line-mapping-{behaviour.mapping}", local=look.local, mapped=seen.mapped)
        facts.append(Fact(FactName.NAT_MAPPING, behaviour.mapping, evidence, _CERTAIN, look.at))
    if behaviour.filtering is not FilteringBehaviour.UNKNOWN:
        evidence = cause(f"line-filtering-{behaviour.filtering}", server=seen.server)
        facts.append(Fact(FactName.NAT_FILTERING, behaviour.filtering, evidence, _CERTAIN, look.at))
    return tuple(facts)


def _port_set(case: _Case) -> Fact | None:
    if case.shared is None or case.shared.ports is None:
        return None
    if case.misfit is not None:
        return Fact(FactName.PORT_SET, "misfit", case.misfit, _LIKELY, case.now)
    confidence = _LIKELY if case.seen4 is None else _CERTAIN
    return Fact(FactName.PORT_SET, str(case.shared.ports), case.shared.evidence, confidence, case.now)


def _ds_lite(case: _Case) -> Fact | None:
    if case.tunnelled is None:
        return None
    return Fact(FactName.DS_LITE, Answer.YES, case.tunnelled, _CERTAIN, case.now)


def _global6(case: _Case) -> Fact | None:
    if case.inputs.wan6 is None:
        return None
    own = [str(each) for each in case.inputs.wan6.addresses6 if kind_of(each).is_public]
    found = next(iter((*own, *map(str, case.inputs.prefixes6))), None)
    if found is None:
        return Fact(FactName.GLOBAL6, "none", cause("line-no-global"), _CERTAIN, case.now)
    return Fact(FactName.GLOBAL6, found, cause("line-global", address=found), _CERTAIN, case.now)


def _inbound4(case: _Case) -> Inbound:
    wan = case.inputs.wan4
    if _counts(case.inputs.arrived4, case.now):
        return Inbound(Answer.YES, cause("line-in-proven"), _CERTAIN)
    if wan is None:
        return Inbound(Answer.UNKNOWN, cause("line-in-no-wan"), _POSSIBLE)
    if case.tunnelled is not None:
        return Inbound(Answer.NO, case.tunnelled, _CERTAIN)
    if not wan.addresses4 and not wan.has4:
        return Inbound(Answer.NO, cause("line-in-none", interface=wan.interface), _CERTAIN)
    if case.misfit is not None:
        return Inbound(Answer.UNKNOWN, case.misfit, _POSSIBLE)
    if case.ports is not None and case.kind4.is_public:
        return Inbound(Answer.YES, cause("line-in-ports", ports=case.ports), _LIKELY)
    outermost = case.outermost4
    if outermost is not None and kind_of(outermost).is_public and case.seen4 in (None, outermost):
        key = "line-in-public" if case.above4 is None else "line-in-asked"
        return Inbound(Answer.YES, cause(key, address=outermost), _LIKELY if case.seen4 else _POSSIBLE)
    return _behind(case)


def _behind(case: _Case) -> Inbound:
    """Behind somebody's NAT: nothing but an arrival decides."""
    outermost, seen = case.outermost4, case.seen4
    if case.look4 is not None and case.look4[1].filtering is FilteringBehaviour.ENDPOINT_INDEPENDENT:
        return Inbound(Answer.UNKNOWN, cause("line-in-cone"), _LIKELY)
    if kind_of(outermost) is AddressKind.SHARED:
        return Inbound(Answer.UNKNOWN, cause("line-in-shared", address=outermost), _LIKELY)
    if seen is not None and kind_of(outermost).is_public:
        return Inbound(Answer.UNKNOWN, cause("line-cgnat-differs", address=outermost, seen=seen), _POSSIBLE)
    return Inbound(Answer.UNKNOWN, cause("line-in-behind"), _POSSIBLE)


def _inbound6(case: _Case) -> Inbound:
    known = case.settings.inbound6
    if _counts(case.inputs.arrived6, case.now):
        return Inbound(Answer.YES, cause("line-in-proven"), _CERTAIN)
    if case.inputs.wan6 is None:
        return Inbound(Answer.UNKNOWN, cause("line-in-no-wan"), _POSSIBLE)
    if not case.inputs.prefixes6:
        return Inbound(Answer.NO, cause("line-no-global"), _CERTAIN)
    if known is not Firewall6.UNKNOWN:
        answer = Answer.YES if known is Firewall6.OPEN else Answer.NO
        return Inbound(answer, cause(f"line-in-said-{known}"), _LIKELY)
    narrow = (FilteringBehaviour.ADDRESS_DEPENDENT, FilteringBehaviour.ADDRESS_AND_PORT_DEPENDENT)
    if case.look6 is not None and case.look6[1].filtering in narrow:
        return Inbound(Answer.UNKNOWN, cause("line-in-filtered"), _LIKELY)
    return Inbound(Answer.UNKNOWN, cause("line-in-untested"), _POSSIBLE)


def _counts(arrived: float | None, now: float) -> bool:
    return arrived is not None and now - arrived < _ARRIVAL_COUNTS
