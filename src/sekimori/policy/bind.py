"""What a session of the SSH door may open: ports of its user's grant, which stay the user's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, count
from math import inf
from typing import Final

from sekimori.model.address import IPAddress, PortPair, PortRange, parse_address
from sekimori.model.causes import Text, cause
from sekimori.model.claim import Claim
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.grantwords import format_size
from sekimori.model.lease import LeaseProtocol, LeaseTerms
from sekimori.model.lifetime import Lifetime, format_duration, tell_instant
from sekimori.model.link import SSH_DOOR
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind, check_name
from sekimori.model.source import LAN, Sources
from sekimori.model.target import Target, TargetKind
from sekimori.model.user import Bind, Grant, Unbind
from sekimori.policy.allocate import choose_name
from sekimori.policy.case import Case, refuse_foreign
from sekimori.policy.line import line_has
from sekimori.wire.authorizedkeys import permits_listen

__all__ = ["decide_bind", "decide_unbind", "rejudged"]

_UNNAMED: Final = frozenset({"", "localhost", "*", "0.0.0.0", "::"})
"""Addresses that name none: ssh(1) sends `localhost` where its user wrote nothing, and `""` for `*`."""

_TO_THE_CLIENT: Final = Target(TargetKind.CLIENT, "client")
_PATH: Final = (Hop("relay"), Hop("link", SSH_DOOR))
_PRIVILEGED: Final = 1024
_Place = IPAddress | None


def decide_bind(ask: Bind, case: Case) -> Made:
    """Open a port for a session, or let it take the one that its user has.

    Raises:
        Problem: `not-permitted`, `bind-refused`, `bind-most`, `bind-none-free`, `quota-used`, `lease-paused`,
            `port-taken`.
    """
    actor = case.context.actor
    if actor.kind is not OwnerKind.KEY:
        raise Problem("not-permitted", what=cause("do-bind"), who=actor.label)
    user = case.draft.users.get(actor.id)
    if user is not None:  # it may have changed since it was asked
        ask = replace(ask, grant=user.grant)
    _refuse_ungranted(ask, case)
    places = _places(ask, case)
    before = _standing(ask, places, case)
    if before is None:
        return Made(Verb.OPEN, None, _opened(ask, places, case))
    after = _taken(ask, before, places, case)
    same_but_time = replace(after, lifetime=before.lifetime, lease=before.lease) == before
    return Made(Verb.EXTEND if same_but_time else Verb.CHANGE, before, after)


def decide_unbind(ask: Unbind, case: Case) -> Made | None:
    """Keep a port for its user for a while, or close it; None where nothing is left to do.

    Raises:
        Problem: `not-permitted`, or `no-such-mapping` where it is no port of a session.
    """
    before = case.draft.get(ask.ref)
    if before is None:
        return None
    refuse_foreign(before, "do-close", case)
    if not _is_of_a_session(before):
        raise Problem("no-such-mapping", ref=ask.ref, near="")
    if ask.generation and _generation(before) != ask.generation:
        return None
    if ask.keep <= 0:
        return Made(Verb.CLOSE, before, None, cut=True)
    after = replace(before, lifetime=_no_longer_than(before.lifetime, int(case.now) + ask.keep))
    return None if after == before else Made(Verb.EXTEND, before, after)


def rejudged(owner: Owner, was: Grant, grant: Grant, expires_at: int | None, case: Case) -> Iterator[Made]:
    """What another grant makes of the ports that a user has: they close, or go on by what is new in it.

    What somebody gave one of them by hand, and the grants do not differ in, stays.
    """
    for mapping in tuple(case.draft.leases_of(owner)):
        if not _is_of_a_session(mapping):
            continue
        placed = grant.on is None or mapping.on in grant.on
        if not placed or not any(mapping.ports[0].outside.first in ports for ports in grant.ports):
            yield Made(Verb.CLOSE, mapping, None, cut=True)
            continue
        after = _on_new_terms(mapping, was, grant, case)
        if expires_at is not None:
            after = replace(after, lifetime=_no_longer_than(after.lifetime, expires_at))
        if after != mapping:
            yield Made(Verb.CHANGE, mapping, after)


def _refuse_ungranted(ask: Bind, case: Case) -> None:
    actor, grant = case.context.actor, ask.grant
    user = case.draft.users.get(actor.id)
    if user is not None and user.expires_at is not None and user.expires_at <= case.now:
        raise _refused(ask, cause("user-ended", when=tell_instant(user.expires_at)), case)
    if not permits_listen(ask.permitted, ask.host, ask.port):
        raise _refused(ask, cause("bind-not-permitted", place=f"{ask.host or '*'}:{ask.port}"), case)
    if not grant.ports:
        raise _refused(ask, cause("bind-no-ports"), case)
    if ask.port and not any(ask.port in ports for ports in grant.ports):
        raise _refused(ask, cause("bind-not-granted", ports=_told(grant)), case)
    if grant.quota is not None and case.rules.used(actor.id) >= grant.quota:
        quota, every = format_size(grant.quota), format_duration(grant.quota_every)
        raise Problem("quota-used", who=actor.label, quota=quota, every=every)


def _places(ask: Bind, case: Case) -> tuple[_Place, ...]:
    """Where the port may be opened, the first that is free; None is every address of this machine."""
    granted = ask.grant.on
    if ask.host.strip().lower() in _UNNAMED:
        return (None,) if granted is None else granted
    try:
        address = parse_address(ask.host)
    except Problem as problem:
        raise _refused(ask, problem.titles, case) from None
    if granted is not None and address not in granted:
        on = ", ".join(map(str, granted))
        raise _refused(ask, cause("bind-not-on", address=str(address), on=on), case)
    network = case.rules.machine.network()
    if network.own and not network.is_own(address):  # where none is known, the plane finds out
        raise _refused(ask, cause("bind-not-ours", address=str(address)), case)
    return (address,)


def _standing(ask: Bind, places: tuple[_Place, ...], case: Case) -> Mapping | None:
    """The lease that the ask is for already."""
    leases = [
        each
        for each in case.draft.leases_of(case.context.actor)
        if _is_of_a_session(each) and each.ports[0].protocol is ask.protocol
    ]
    if ask.port:
        mine = [each for each in leases if each.ports[0].outside.first == ask.port]
        same = next((each for each in mine if each.on in places), None)
        return same or _left_behind(ask, mine, places)
    free = [each for each in leases if _may_be_any(each, ask, places)]
    # Of several, those that were held last; and of those in the order in which they were opened, as a
    # client that comes back asks for them in that order again.
    return min(free, key=lambda each: (-_end(each), each.created_at, each.revision), default=None)


def _left_behind(ask: Bind, mine: list[Mapping], places: tuple[_Place, ...]) -> Mapping | None:
    """The user's own lease that stands in the way on another address, and no session holds."""
    claims = [_claim(ask, ask.port, place) for place in places]
    return next(
        (
            each
            for each in mine
            if each.id not in ask.held and any(claim.overlaps(own) for claim in claims for own in each.claims)
        ),
        None,
    )


def _may_be_any(mapping: Mapping, ask: Bind, places: tuple[_Place, ...]) -> bool:
    """Whether a lease may be given for port 0 again."""
    assert mapping.lease is not None
    port = mapping.ports[0].outside.first
    return (
        mapping.lease.any_port
        and mapping.id not in ask.held
        and port not in ask.avoid
        and mapping.on in places
        and not mapping.paused
        and any(port in ports for ports in ask.grant.ports)
    )


def _opened(ask: Bind, places: tuple[_Place, ...], case: Case) -> Mapping:
    actor, grant = case.context.actor, ask.grant
    held = case.draft.leases_of(actor)
    if len(held) >= grant.most:
        names = ", ".join(sorted(each.name for each in held))
        raise Problem("bind-most", who=actor.label, most=grant.most, names=names)
    port, on = _choose(ask, places, case)
    outside = PortRange(port, port)
    mapping = Mapping(
        id=case.rules.new_id(),
        name="",
        owner=actor,
        ports=(PortPair(ask.protocol, outside, outside),),
        target=_TO_THE_CLIENT,
        sources=_sources(grant),
        lifetime=_lifetime(grant, case),
        on=on,
        limits=grant.limits,
        accepted_risks=grant.accepted_risks,
        path=_PATH,
        created_at=int(case.now),
        lease=LeaseTerms(
            protocol=LeaseProtocol.SSH,
            description=ask.description,
            generation=1,
            any_port=not ask.port,
        ),
    )
    return replace(mapping, name=_name(mapping, case))


def _taken(ask: Bind, before: Mapping, places: tuple[_Place, ...], case: Case) -> Mapping:
    """The lease once a session has it (again), on the terms of the grant as it is now."""
    assert before.lease is not None
    if before.paused:
        raise Problem("lease-paused", name=before.name)
    lease = replace(
        before.lease,
        description=ask.description or before.lease.description,
        generation=before.lease.generation + 1,
    )
    return replace(
        _on_terms(before, ask.grant),
        on=before.on if before.on in places else places[0],
        target=_TO_THE_CLIENT,
        path=_PATH,
        lifetime=_lifetime(ask.grant, case),
        lease=lease,
    )


def _choose(ask: Bind, places: tuple[_Place, ...], case: Case) -> tuple[int, _Place]:
    """A port that nobody has, and where."""
    taken: tuple[Claim, Mapping] | None = None
    for port in (ask.port,) if ask.port else _candidates(ask, case):
        for place in places:
            holder = _holder(_claim(ask, port, place), case)
            if holder is None:
                return port, place
            taken = taken or (_claim(ask, port, place), holder)
    if taken is None or not ask.port:
        raise Problem("bind-none-free", who=case.context.actor.label, ports=_told(ask.grant))
    claim, other = taken
    raise Problem(
        "port-taken",
        claim=str(claim),
        name=other.name,
        owner=other.owner.label,
        theirs=str(other.claims[0]),
    )


def _candidates(ask: Bind, case: Case) -> Iterator[int]:
    """The ports that may be given for port 0, in order; those that only services of the system have, last."""
    ports = ask.grant.ports
    high = (port for each in ports for port in each if port >= _PRIVILEGED)
    low = (port for each in ports for port in each if port < _PRIVILEGED)
    for port in chain(high, low):
        if port not in ask.avoid and _would_do(port, ask, case):
            yield port


def _would_do(port: int, ask: Bind, case: Case) -> bool:
    """Whether the line lets a port in, and it would not be refused for what usually listens there."""
    grant, sources = ask.grant, _sources(ask.grant)
    if not sources.is_lan and not line_has(PortRange(port, port), case.rules):
        return False
    danger = case.rules.danger_for(str(ask.protocol), port)
    if danger is None or danger.danger in grant.accepted_risks:
        return True
    return not sources.is_wide(case.draft.lists)


def _holder(claim: Claim, case: Case) -> Mapping | None:
    port = claim.pair.outside.first
    for other in case.draft.claiming(claim.pair.protocol, port):
        if any(claim.overlaps(theirs) for theirs in other.claims):
            return other
    return None


def _claim(ask: Bind, port: int, place: _Place) -> Claim:
    ports = PortRange(port, port)
    return Claim(PortPair(ask.protocol, ports, ports), place)


def _name(mapping: Mapping, case: Case) -> str:
    """`USER-PORT`, or what any mapping would be called where the user's name makes no such name."""
    base = f"{mapping.owner.id}-{mapping.ports[0].outside}"
    try:
        check_name(base)
    except Problem:  # `_backup-8080` begins with what no name of a mapping begins with
        return choose_name(mapping, case.draft)
    names = chain((base,), (f"{base}-{number}" for number in count(2)))
    return next(name for name in names if case.draft.named(name) is None)


def _on_terms(mapping: Mapping, grant: Grant) -> Mapping:
    return replace(mapping, sources=_sources(grant), limits=grant.limits, accepted_risks=grant.accepted_risks)


def _on_new_terms(mapping: Mapping, was: Grant, grant: Grant, case: Case) -> Mapping:
    """The mapping with those terms of a grant that another did not have."""
    granted = _on_terms(mapping, grant)
    lasting = int(case.now) + grant.lifetime
    return replace(
        mapping,
        sources=mapping.sources if grant.sources == was.sources else granted.sources,
        limits=mapping.limits if grant.limits == was.limits else granted.limits,
        accepted_risks=(
            mapping.accepted_risks if grant.accepted_risks == was.accepted_risks else granted.accepted_risks
        ),
        lifetime=(
            _no_longer_than(mapping.lifetime, lasting) if grant.lifetime < was.lifetime else mapping.lifetime
        ),
    )


def _sources(grant: Grant) -> Sources:
    return grant.sources or Sources.parse(LAN)


def _lifetime(grant: Grant, case: Case) -> Lifetime:
    seconds = min(grant.lifetime, case.rules.longest or grant.lifetime)
    lifetime = Lifetime.lasting(max(1, seconds), case.now)
    user = case.draft.users.get(case.context.actor.id)
    if user is None or user.expires_at is None:
        return lifetime
    return _no_longer_than(lifetime, user.expires_at)


def _no_longer_than(lifetime: Lifetime, instant: int) -> Lifetime:
    """The same lifetime with its end no later than `instant`."""
    if lifetime.expires_at is not None and lifetime.expires_at <= instant:
        return lifetime
    return Lifetime.until(instant) if lifetime.expires_at is None else replace(lifetime, expires_at=instant)


def _end(mapping: Mapping) -> float:
    return inf if mapping.lifetime.expires_at is None else mapping.lifetime.expires_at


def _is_of_a_session(mapping: Mapping) -> bool:
    return mapping.lease is not None and mapping.lease.protocol is LeaseProtocol.SSH


def _generation(mapping: Mapping) -> int:
    return 0 if mapping.lease is None else mapping.lease.generation


def _told(grant: Grant) -> str:
    return ", ".join(map(str, grant.ports))


def _refused(ask: Bind, why: Text, case: Case) -> Problem:
    return Problem("bind-refused", port=ask.port or "0", who=case.context.actor.label, why=why)
