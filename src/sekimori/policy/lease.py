"""What a device may open by itself: by the permission rules, for itself, on a port that is free."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Final

from sekimori.model.address import HIGHEST_PORT, PortPair, PortRange
from sekimori.model.causes import cause
from sekimori.model.claim import Claim
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.lease import Adopt, LeaseProtocol, NonceRule, Obtain, Release
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.permission import USUAL, Permission, allowed_outside, first_fit, rule_text
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import Sources
from sekimori.model.target import Target, TargetKind
from sekimori.policy.allocate import choose_name, choose_path
from sekimori.policy.case import Case, refuse_foreign, refuse_own_only
from sekimori.policy.line import line_has

__all__ = ["decide_adopt", "decide_obtain", "decide_release", "lease_for"]

_ANYONE: Final = Sources(anyone=True)
_TRIES: Final = 4096
"""Places that are tried for one ask: where all of so many, spread over a range, are taken, it is as good as
full, and a device that asks again and again must not cost more than that."""
_STRIDE: Final = 7919
"""A prime: steps of it visit every port of a range once before any of them twice, unless the range holds a
multiple of it, and neighbours that are all taken are left at the first step."""

_SPARED: Final = 16
"""A renewal within the first so-manieth of what would be granted is not written. Clients renew at half their
time, and later again and again until the last sixteenth (RFC 6887 §11.2.1): none of these is ever spared."""
_SPARED_UNTOLD: Final = 10
"""Seconds, at most, where the device is not told what is left."""


def lease_for(ask: Obtain, device: Owner, snapshot: Snapshot) -> Mapping | None:
    """The mapping that already is what a device asks for: its lease, or one of somebody else that leads to
    the very same place, which then needs nothing. None where there is none yet.
    """
    if ask.by_outside and ask.outside is not None:
        found = snapshot.claiming(ask.protocol, ask.outside)
        held = [each for each in found if not each.place[1]]
        mine = next((each for each in held if each.owner == device and each.lease), None)
        return mine or next((each for each in held if _leads_there(each, ask)), None)
    for mapping in snapshot.leases_at(ask.protocol, str(ask.inside), ask.ports.first):
        if mapping.owner == device and mapping.ports[0].inside == ask.ports:
            return mapping
    wished = ask.outside or ask.ports.first
    return next((each for each in snapshot.claiming(ask.protocol, wished) if _leads_there(each, ask)), None)


def decide_obtain(ask: Obtain, case: Case) -> Made | None:
    """Open a lease, or renew the one that stands; None where somebody else's mapping is just that.

    Raises:
        Problem: `lease-refused`, `lease-quota`, `lease-nonce`, `lease-paused`, `port-taken`, `no-free-port`,
            `not-permitted`.
    """
    device = case.context.actor
    if device.kind is not OwnerKind.DEVICE:
        raise Problem("not-permitted", what=cause("do-lease"), who=device.label)
    before = lease_for(ask, device, case.draft)
    if before is not None and before.owner != device:
        return None
    if before is None:
        return Made(Verb.OPEN, None, _opened(ask, case))
    after = _renewed(ask, before, case)
    if after == before or _is_as_good(before, after, case):
        return None
    same_but_time = replace(after, lifetime=before.lifetime, lease=before.lease) == before
    return Made(Verb.EXTEND if same_but_time else Verb.CHANGE, before, after)


def decide_release(ask: Release, case: Case) -> Made:
    """End a lease.

    Raises:
        Problem: `no-such-mapping`, `not-permitted`, `lease-nonce`.
    """
    before = case.draft.find(ask.ref)
    refuse_foreign(before, "do-close", case)
    if before.lease is None:
        raise Problem("no-such-mapping", ref=ask.ref, near="")
    _hold_nonce(before, ask.nonce, ask.rule, case)
    return Made(Verb.CLOSE, before, None, cut=True)


def decide_adopt(ask: Adopt, case: Case) -> Made:
    """Make a lease the actor's own.

    Raises:
        Problem: `no-such-mapping`, `not-permitted`, `not-a-lease`, `not-adoptable`.
    """
    before = case.draft.find(ask.ref)
    refuse_own_only(cause("do-adopt", name=before.name), case)
    if before.lease is None:
        raise Problem("not-a-lease", name=before.name, owner=before.owner.label)
    if before.target.kind is TargetKind.CLIENT:
        raise Problem("not-adoptable", name=before.name, owner=before.owner.label)
    lifetime = ask.lifetime or Lifetime.lasting(case.rules.lifetime, case.now)
    after = replace(before, owner=case.context.actor, lease=None, lifetime=lifetime)
    return Made(Verb.ADOPT, before, after)


def _leads_there(mapping: Mapping, ask: Obtain) -> bool:
    """Whether a mapping leads to the inside ports that are asked for, by outside ports that would do."""
    if mapping.target.address != ask.inside or mapping.paused:
        return False
    return any(
        pair.protocol is ask.protocol
        and pair.inside == ask.ports
        and (ask.outside in (None, pair.outside.first) or not ask.exact)
        for pair in mapping.ports
    )


def _opened(ask: Obtain, case: Case) -> Mapping:
    device = case.context.actor
    elsewhere = _goes_elsewhere(ask, case)
    rule, outside = _choose_outside(ask, _spaces(ask, case, others=elsewhere), case)
    _refuse_beyond(rule, device, case.draft)
    mapping = Mapping(
        id=case.rules.new_id(),
        name="",
        owner=device,
        ports=(PortPair(ask.protocol, outside, ask.ports),),
        target=Target.parse_host(str(ask.inside)),
        sources=ask.sources or _ANYONE,
        lifetime=_lifetime(ask, rule, case),
        created_at=int(case.now),
        lease=replace(ask.terms, third_party=elsewhere),
    )
    mapping = replace(mapping, name=choose_name(mapping, case.draft))
    return replace(mapping, path=choose_path(mapping, case.draft, case.rules))


def _renewed(ask: Obtain, before: Mapping, case: Case) -> Mapping:
    assert before.lease is not None
    if before.paused:
        raise Problem("lease-paused", name=before.name)
    _hold_nonce(before, ask.terms.nonce or None, ask.nonce_rule, case)
    elsewhere = _goes_elsewhere(ask, case)
    outside = before.ports[0].outside
    if ask.by_outside and ask.outside is not None:
        outside = PortRange(ask.outside, ask.outside + ask.ports.size - 1)
    rule = _rule(ask, outside, case)
    if not rule.allow:  # the rules have changed since
        raise Problem("lease-refused", ports=ask.wish, why=rule_text(rule, ask.ports, _wished(ask)))
    if elsewhere and not rule.others:
        raise _not_there(ask, case)
    description = ask.terms.description or before.lease.description
    terms = replace(ask.terms, description=description, third_party=elsewhere)
    after = replace(
        before,
        ports=(PortPair(ask.protocol, outside, ask.ports),),
        target=Target.parse_host(str(ask.inside)),
        sources=before.sources if ask.sources is None else ask.sources,
        lifetime=_lifetime(ask, rule, case),
        lease=terms,
    )
    if (after.ports, after.target, after.sources) == (before.ports, before.target, before.sources):
        return after
    return replace(after, path=choose_path(after, case.draft, case.rules))


def _is_as_good(before: Mapping, after: Mapping, case: Case) -> bool:
    """Whether a renewal would only make a lease end a little later, so that what stands will do.

    A device that asks every second would else write a revision every second. What is left is told by PCP and
    NAT-PMP. UPnP tells nothing: who asked there for an hour counts on an hour, unless without an end.
    """
    ends, later, lease = before.lifetime.expires_at, after.lifetime.expires_at, after.lease
    if ends is None or later is None or lease is None or replace(after, lifetime=before.lifetime) != before:
        return False
    spared = (later - int(case.now)) // _SPARED
    if lease.protocol is LeaseProtocol.IGD and not lease.lasting:
        spared = min(spared, _SPARED_UNTOLD)
    return 0 <= later - ends < spared


def _rule(ask: Obtain, outside: PortRange, case: Case) -> Permission:
    """The rule that decides about the ask on these outside ports; where none fits, one that denies."""
    found = _find_rule(ask, outside, case)
    if found is None:
        raise Problem("lease-refused", ports=ask.wish, why=rule_text(None, ask.ports, _wished(ask)))
    return found


def _find_rule(ask: Obtain, outside: PortRange, case: Case) -> Permission | None:
    device, description = case.context.actor, ask.terms.description
    return first_fit(_rules(case), ask.protocol, outside, ask.ports, device, ask.asker, description)


def _goes_elsewhere(ask: Obtain, case: Case) -> bool:
    """Whether the ask leads to another host than the asker, for which a rule must allow others.

    Such a rule still does not reach beyond the LAN, nor to this machine.
    """
    device = case.context.actor
    # That the source is the device's is what the door has proved before it asked.
    if ask.inside == ask.asker.address or ask.inside in case.rules.owned(device):
        return False
    network = case.rules.machine.network()
    if network.lan_of(ask.inside) is None or network.is_own(ask.inside):
        raise _not_there(ask, case)
    return True


def _not_there(ask: Obtain, case: Case) -> Problem:
    what = cause("do-open-to", target=str(ask.inside))
    return Problem("not-permitted", what=what, who=case.context.actor.label)


def _rules(case: Case) -> tuple[Permission, ...]:
    written = case.draft.permissions
    return (USUAL,) if written is None else written.rules


def _refuse_beyond(rule: Permission, device: Owner, snapshot: Snapshot) -> None:
    if rule.most is not None and len(snapshot.leases_of(device)) >= rule.most:
        raise Problem("lease-quota", who=device.label, most=rule.most)


def _choose_outside(
    ask: Obtain, spaces: list[tuple[Permission, PortRange]], case: Case
) -> tuple[Permission, PortRange]:
    """The outside ports of a new lease: those wished for, or others that are free and in one of `spaces`."""
    taken: Mapping | None = None
    tried = 0
    for rule, first in islice(_candidates(ask, spaces, case), _TRIES):
        tried += 1
        outside = PortRange(first, first + ask.ports.size - 1)
        if not ask.avoid.isdisjoint(outside) or not _can_come_in(ask, outside, case):
            continue
        holder = _holder(ask, outside, case)
        if holder is None:
            return rule, outside
        taken = taken or holder
    if not tried:
        wished = _wished(ask)
        denied = _find_rule(ask, wished, case) if wished.last <= HIGHEST_PORT else None
        raise Problem("lease-refused", ports=ask.wish, why=rule_text(denied, ask.ports, _wished(ask)))
    if taken is not None and ask.exact:
        name, owner, theirs = taken.name, taken.owner.label, str(taken.claims[0])
        raise Problem(
            "port-taken", claim=f"{ask.protocol}/{_wished(ask)}", name=name, owner=owner, theirs=theirs
        )
    raise Problem("no-free-port", ports=ask.wish)


def _wished(ask: Obtain) -> PortRange:
    first = ask.outside or ask.ports.first
    return PortRange(first, first + ask.ports.size - 1)


def _spaces(ask: Obtain, case: Case, *, others: bool) -> list[tuple[Permission, PortRange]]:
    """The outside ports that the rules let this ask have, each with the rule that says so.

    `others` wants rules that let a device open ports to other hosts, and refuses the ask where none does.
    """
    device, description = case.context.actor, ask.terms.description
    found = allowed_outside(_rules(case), ask.protocol, ask.ports, device, ask.asker, description)
    if not others:
        return found
    reaching = [(rule, ports) for rule, ports in found if rule.others]
    if not reaching:
        raise _not_there(ask, case)
    return reaching


def _candidates(
    ask: Obtain, spaces: list[tuple[Permission, PortRange]], case: Case
) -> Iterator[tuple[Permission, int]]:
    """First outside ports in the order in which they are tried, and the rule of each; some more than once.

    A pinhole has the port of its host and no other.
    """
    hole = isinstance(ask.inside, ipaddress.IPv6Address)
    wished = ask.ports.first if hole else _wished(ask).first
    firsts: Iterable[int] = (wished,)
    if not hole and not ask.exact:
        firsts = chain(firsts, _others(wished, ask.ports.size, spaces, case))
    for first in firsts:
        for rule, space in spaces:
            if space.first <= first and first + ask.ports.size - 1 <= space.last:
                yield rule, first


def _others(wished: int, size: int, spaces: list[tuple[Permission, PortRange]], case: Case) -> Iterator[int]:
    """What is tried after the wish."""
    line = case.rules.line()  # worked out anew each time: not before the wish has failed
    if line is not None and line.outside_ports is not None:  # a few hundred, far apart
        ports = line.outside_ports
        start = ports.place_of(wished)
        yield from (ports.nth((start + step) % ports.size) for step in range(ports.size))
    else:
        yield from chain.from_iterable(_spread(space, wished, size) for _, space in spaces)


def _spread(allowed: PortRange, wished: int, size: int) -> Iterator[int]:
    """Every place in a range, in strides that begin at the wish; those of its parity first, for RTP has even
    ports and RTCP odd ones (RFC 4787 §4.2.2).
    """
    count = allowed.size - size + 1
    if count <= 0:
        return
    stride = _STRIDE if count % _STRIDE else 1
    start = (wished - allowed.first) % count
    for parity in (0, 1):
        for step in range(1, count + 1):
            port = allowed.first + (start + step * stride) % count
            if (port - wished) % 2 == parity:
                yield port


def _holder(ask: Obtain, outside: PortRange, case: Case) -> Mapping | None:
    """Who holds one of these outside ports already."""
    hole = isinstance(ask.inside, ipaddress.IPv6Address)
    ours = Claim(PortPair(ask.protocol, outside, ask.ports), ask.inside if hole else None, hole)
    for port in outside:
        for other in case.draft.claiming(ask.protocol, port):
            if any(ours.overlaps(theirs) for theirs in other.claims):
                return other
    return None


def _can_come_in(ask: Obtain, outside: PortRange, case: Case) -> bool:
    return isinstance(ask.inside, ipaddress.IPv6Address) or line_has(outside, case.rules)


def _lifetime(ask: Obtain, rule: Permission, case: Case) -> Lifetime:
    longest = min(rule.longest, case.rules.longest or rule.longest)
    return Lifetime.lasting(max(1, min(ask.lifetime, longest)), case.now)


def _hold_nonce(before: Mapping, nonce: str | None, rule: NonceRule, case: Case) -> None:
    """Refuse another nonce, where the rule is strict. Who asks has the lease either way."""
    assert before.lease is not None
    if nonce is None or not before.lease.nonce or nonce == before.lease.nonce:
        return
    if rule is NonceRule.STRICT:
        raise Problem("lease-nonce", name=before.name, who=case.context.actor.label)
